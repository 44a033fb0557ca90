package client

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// FuzzSession lets a server say anything after a login: the session survives it
// with bounded memory, and what it tells fits together.
func FuzzSession(f *testing.F) {
	f.Add([]byte(page + "\n" + created(6) + "\n" + created(9)))
	f.Add([]byte(page + "\n" + created(9) + "\n" + `{"type":"DataResponse","id":3,"op":"changes.list","result":{"messages":[` + message(7, 8, "x") + `],"participants":[{"user_id":"u_1","role":"member","joined_seq":6,"updated_seq":7}],"chat":{"chat_id":"c_1","kind":"group","created_at":"","updated_seq":9},"next":9,"has_more":true}}`))
	f.Add([]byte(page + "\n" + `{"type":"BroadcastResponse","event":"participant.removed","chat_id":"c_1","seq":6,"participant":{"user_id":"u_1","role":"m","joined_seq":2,"left_seq":6,"updated_seq":6}}` + "\n" + created(8)))
	f.Add([]byte(page + "\n" + `{"type":"BroadcastResponse","event":"read","chat_id":"c_1","user_id":"u_1","read_seq":9007199254740993}` + "\n" + `{"type":"DataResponse","id":3,"op":"chats.get","result":{"chat":{"chat_id":"c_1","last_seq":5,"membership":"joined"}}}`))
	f.Add([]byte(`{"type":"BroadcastResponse","event":"typing","chat_id":"c_1","user_id":"u_2","expires_ms":-1}` + "\n" + `{"type":"Goodbye","code":"x","reconnect":true,"reconnect_after_ms":-5}`))
	f.Fuzz(func(t *testing.T, said []byte) {
		now := time.Unix(1e9, 0)
		s := NewSession(Config{Token: "gt_x", Buffer: 1, MaxCatchUp: 1000}, State{})
		s.Connected(now)
		for _, line := range []string{hello, started} {
			if err := s.Line(now, []byte(line)); err != nil {
				t.Fatal(err)
			}
		}
		it, err := s.Draft(now, Draft{ID: "k", ChatID: "c_1", Content: "x"})
		if err := errors.Join(err, s.Queue(now, it)); err != nil {
			t.Fatal(err)
		}
		pos := map[string]int64{}
		check := func() {
			for _, ev := range s.Take(7) {
				switch ev.Kind {
				case Reset:
					clear(pos)
				case ChatAdded:
					if _, there := pos[ev.ChatID]; there {
						t.Fatalf("%s is added twice", ev.ChatID)
					}
					pos[ev.ChatID] = ev.State.Pos
				case ChatRemoved:
					if _, there := pos[ev.ChatID]; !there {
						t.Fatalf("%s is removed, and was not there", ev.ChatID)
					}
					delete(pos, ev.ChatID)
				default:
					if ev.Seq == 0 {
						continue
					}
					if ev.PrevSeq != pos[ev.ChatID] || ev.Seq <= ev.PrevSeq {
						t.Fatalf("%+v follows %d", ev, pos[ev.ChatID])
					}
					pos[ev.ChatID] = ev.Seq
				}
			}
		}
		for line := range bytes.Lines(said) {
			if err = s.Line(now, bytes.TrimSuffix(line, []byte("\n"))); err != nil {
				break
			}
			check()
			now = now.Add(time.Second)
			if err = s.Tick(now); err != nil {
				break
			}
			s.Output(nil)
		}
		s.Lost(now, err)
		if at := s.Connection().Retry; s.Stopped() == nil && (at.Before(now) || at.After(now.Add(longestWait+time.Minute))) {
			t.Fatalf("it comes back at %v", at.Sub(now))
		}
		for s.Waiting() > 0 {
			check()
		}
		if !s.Deadline().IsZero() {
			t.Fatal("something is due without a connection")
		}
	})
}

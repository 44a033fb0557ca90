package stream_test

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/stream"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

func TestRevokedSessionLosesItsConnections(t *testing.T) {
	srv := testserver.Start(t)
	user := srv.User("ana")

	// within says that what follows from a change takes less than the promised
	// second, beyond the change itself, which takes what a disk takes.
	within := func(t *testing.T, c *testserver.Client, change func()) {
		t.Helper()
		change()
		began := time.Now()
		c.ExpectGoodbye(protocol.GoodbyeSessionRevoked)
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	}
	t.Run("by another device", func(t *testing.T) {
		phone, laptop := user.Connect(), user.Connect()
		var list protocol.SessionsListResult
		phone.Do(protocol.OpSessionsList, protocol.Empty{}, &list)
		for _, s := range list.Sessions {
			if s.Current {
				within(t, phone, func() { laptop.Do(protocol.OpSessionsRevoke, protocol.SessionParams{SessionID: s.SessionID}, nil) })
			}
		}
		laptop.Do(protocol.OpUsersMe, protocol.Empty{}, nil)
		again := srv.Dial()
		again.Want(`{"type":"Hello"}`)
		again.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: phone.Token}))
		again.Want(`{"id":1,"error":{"code":"*"}}`)
	})
	t.Run("without a subscription too", func(t *testing.T) {
		phone := user.Connect()
		no := false
		silent := srv.Dial()
		silent.Want(`{"type":"Hello"}`)
		silent.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: phone.Token, Subscribe: &no}))
		silent.Want(`{"id":1,"result":{}}`)
		phone.Do(protocol.OpSessionEnd, protocol.Empty{}, nil)
		phone.ExpectGoodbye(protocol.GoodbyeSessionRevoked)
		silent.Want(`{"type":"Goodbye","code":"session_revoked","reconnect":false}`)
		silent.WantEnd()
	})
	t.Run("by a new password, all but the asking one", func(t *testing.T) {
		phone, laptop := user.Connect(), user.Connect()
		fresh := "another password"
		within(t, phone, func() {
			laptop.Do(protocol.OpUsersUpdate, protocol.UsersUpdateParams{Password: &fresh, CurrentPassword: &user.Password}, nil)
		})
		user.Password = fresh
		laptop.Do(protocol.OpUsersMe, protocol.Empty{}, nil)
	})
}

// A reader that does not read for a while hurts nobody else, and misses nothing.
func TestSlowReaderHurtsNobody(t *testing.T) {
	srv := testserver.Start(t, testserver.Options{Stream: func(c *stream.Config) { c.Outbox = 32 << 10 }})
	ana, cem := srv.User("ana").Connect(), srv.User("cem").Connect()
	bob := srv.User("bob").Connect()
	port := ana.Group("Port", bob, cem)

	const n = 400
	var readers sync.WaitGroup
	readers.Go(func() {
		for i := range n {
			cem.ExpectPrefix(fmt.Sprintf("%d ", i))
		}
	})
	for i := range n {
		ana.Send(port, fmt.Sprintf("%d %s", i, strings.Repeat("x", 16_000)))
	}
	readers.Wait()
	srv.Hub.Settle() // cem may have been behind, too
	if s := srv.Hub.Stats(); s.Refused == 0 || s.Dirty != 1 {
		t.Errorf("the slow reader is not behind: %+v", s)
	}
	for i := range n {
		bob.ExpectPrefix(fmt.Sprintf("%d ", i))
	}
	bob.ExpectNothing()
	if s := srv.Hub.Stats(); s.CaughtUp == 0 || s.Dirty != 0 || s.Gaps != 0 {
		t.Errorf("the slow reader has not caught up: %+v", s)
	}
}

// A reader that stops reading loses its connection and nothing else: the others
// hear everything.
func TestSlowReaderIsSentAway(t *testing.T) {
	var slow <-chan struct{}
	srv := testserver.Start(t, testserver.Options{Stream: func(c *stream.Config) {
		c.Outbox, c.WriteTimeout = 32<<10, time.Second
		_, slow = testserver.SlowConsumers(c)
	}})
	ana, cem := srv.User("ana").Connect(), srv.User("cem").Connect()
	bob := srv.User("bob").Connect()
	port := ana.Group("Port", bob, cem)

	const n = 400
	var readers sync.WaitGroup
	readers.Go(func() {
		for i := range n {
			cem.ExpectPrefix(fmt.Sprintf("%d ", i))
		}
	})
	for i := range n {
		ana.Send(port, fmt.Sprintf("%d %s", i, strings.Repeat("x", 16_000)))
	}
	readers.Wait()
	<-slow

	heard := 0
	for {
		line, err := bob.TryNext()
		if err != nil {
			break
		}
		if json.Valid([]byte(line)) { // the last one may be cut off
			heard++
		}
	}
	if heard >= n {
		t.Fatalf("the slow reader got %d lines", heard)
	}
	again := bob.User.Connect()
	var page protocol.MessagesListResult
	again.Do(protocol.OpMessagesList, protocol.MessagesListParams{ChatID: port, Limit: 1}, &page)
	if page.LastSeq != n+3 {
		t.Errorf("after coming back: %+v", page.LastSeq)
	}
}

// Whoever does not read their answers is not read from: their requests wait,
// and nothing is lost once they read.
func TestUnreadAnswersHoldUpRequests(t *testing.T) {
	srv := testserver.Start(t, testserver.Options{Stream: func(c *stream.Config) { c.Outbox = 8 << 10 }})
	ana := srv.User("ana").Connect()
	port := ana.Group("Port")
	for range 50 {
		ana.Send(port, strings.Repeat("x", 10_000))
		ana.Hear() // one event fits the outbox, two may not
	}
	const n = 40
	for i := range n {
		ana.Line(testserver.Request(fmt.Sprint(i), "messages.list", protocol.MessagesListParams{ChatID: port, Limit: 50}))
	}
	for i := range n {
		if got := ana.Next(); !strings.HasPrefix(between(got, `"id":`, `"op"`), fmt.Sprint(i)) {
			t.Fatalf("want the answer to %d, got %.100s", i, got)
		}
	}
	ana.WantSilence()
}

// Nobody's send is in limbo: what was answered is stored, once, and what was
// not can be sent again under its key.
func TestStopUnderLoad(t *testing.T) {
	srv := testserver.Start(t)
	const people, each = 5, 1000
	ana := srv.User("ana").Connect()
	port := ana.Group("Port")
	type sender struct {
		*testserver.Client

		acked int
	}
	var senders []*sender
	for i := range people {
		s := &sender{Client: srv.User(fmt.Sprintf("sender%d", i)).Connect()}
		ana.Add(port, s.User)
		senders = append(senders, s)
	}

	underway := make(chan struct{}, people*each)
	var work sync.WaitGroup
	for _, s := range senders {
		work.Go(func() {
			for i := range each {
				line := testserver.Request(fmt.Sprint(i), "message.send", protocol.MessageSendParams{
					ChatID: port, Content: fmt.Sprint(s.Name, i), ClientMsgID: fmt.Sprint(i),
				})
				if _, err := io.WriteString(s.Conn, line+"\n"); err != nil {
					return // the server is gone
				}
			}
		})
		work.Go(func() {
			goodbye := false
			for {
				line, err := s.Conn.TryNext()
				if err != nil {
					if !goodbye {
						t.Errorf("%s heard no Goodbye: %v", s.Name, err)
					}
					return
				}
				switch {
				case strings.Contains(line, `"event":`):
				case strings.Contains(line, `"type":"Goodbye"`):
					goodbye = true
					if why := testserver.Differs(`{"code":"shutdown","reconnect":true}`, line); why != "" || !strings.Contains(line, "reconnect_after_ms") {
						t.Errorf("%s: %s", why, line)
					}
				case testserver.Differs(fmt.Sprintf(`{"id":%d,"result":{}}`, s.acked), line) == "":
					s.acked++
					underway <- struct{}{}
				default:
					t.Errorf("%s got %s", s.Name, line)
				}
			}
		})
	}
	for range people * each / 10 {
		<-underway
	}
	must(t, ana.Close())
	srv.Restart()
	work.Wait()

	stored := map[string]int{}
	reader := ana.User.Connect()
	for after := int64(0); ; {
		var page protocol.MessagesListResult
		reader.Do(protocol.OpMessagesList, protocol.MessagesListParams{ChatID: port, After: &after, Limit: 200}, &page)
		for _, m := range page.Messages {
			stored[m.Content]++
			after = m.Seq
		}
		if !page.HasMoreAfter {
			break
		}
	}
	total := 0
	for _, s := range senders {
		total += s.acked
		for i := range s.acked {
			if n := stored[fmt.Sprint(s.Name, i)]; n != 1 {
				t.Errorf("%s's message %d was acknowledged and is there %d times", s.Name, i, n)
			}
		}
		again := s.User.Connect()
		for i := s.acked; i < min(s.acked+20, each); i++ {
			again.Do(protocol.OpMessageSend, protocol.MessageSendParams{ChatID: port, Content: fmt.Sprint(s.Name, i), ClientMsgID: fmt.Sprint(i)}, nil)
			if n := stored[fmt.Sprint(s.Name, i)]; n > 1 {
				t.Errorf("%s's message %d is there %d times", s.Name, i, n)
			}
		}
	}
	if total == people*each {
		t.Log("everything was answered before the stop; the test showed little")
	}
}

// While somebody is added and removed again and again, their connections hear
// exactly what lies within their memberships.
func TestVisibilityUnderRaces(t *testing.T) {
	srv := testserver.Start(t)
	ana, cem := srv.User("ana").Connect(), srv.User("cem").Connect()
	bob := srv.User("bob")
	port := ana.Group("Port", cem)

	stop := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() { // somebody who talks all the time
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				cem.Send(port, fmt.Sprint("blah ", i))
			}
		}
	})
	type span struct{ from, to int64 }
	var in []span
	heardSome := make(chan struct{})
	work.Go(func() { // somebody who cannot make up their mind
		defer close(stop)
		for i := 0; i < 60 || !closed(heardSome); i++ {
			var added protocol.ParticipantsAddResult
			ana.Do(protocol.OpParticipantsAdd, protocol.ParticipantsAddParams{ChatID: port, UserIDs: []string{bob.ID}}, &added)
			var removed protocol.ParticipantResult
			ana.Do(protocol.OpParticipantsRemove, protocol.ParticipantParams{ChatID: port, UserID: bob.ID}, &removed)
			in = append(in, span{added.Participants[0].JoinedSeq, removed.Participant.LeftSeq})
		}
	})
	var heard [][]int64
	for running := true; running; { // devices that come and go
		d := bob.Connect()
		var seqs []int64
		for len(seqs) < 10 && running {
			for _, line := range d.Hear() {
				var e protocol.Event
				if err := json.Unmarshal([]byte(line), &e); err != nil {
					t.Fatal(err)
				}
				seqs = append(seqs, e.Seq)
			}
			if len(seqs) > 0 && !closed(heardSome) {
				close(heardSome)
			}
			running = !closed(stop)
		}
		heard = append(heard, seqs)
		must(t, d.Close())
	}
	work.Wait()

	for _, seqs := range heard {
		previous := int64(0)
		for _, seq := range seqs {
			inside := false
			for _, s := range in {
				inside = inside || s.from <= seq && seq <= s.to
				if previous != 0 && s.from <= previous && seq <= s.to && seq != previous+1 {
					t.Errorf("a hole: %d after %d", seq, previous)
				}
			}
			if !inside {
				t.Errorf("heard %d, which is outside of every membership", seq)
			}
			previous = seq
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

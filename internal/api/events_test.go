package api

import (
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

var at = time.Date(2026, 9, 20, 10, 0, 7, 1_000_000, time.UTC)

// What an event says that it covers is never more than it does. Less it says only
// if it covers all there was, to readers who have nothing of that: 0 is not
// written, and the event seems to begin at its own number.
func TestEventsClaimNoMoreThanTheyCover(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := chat.Event{Chat: 1, Seq: rapid.Int64Range(1, 1<<53-1).Draw(t, "seq"), Kind: chat.Gap}
		e.PrevSeq = rapid.OneOf(rapid.Int64Range(0, e.Seq-1), rapid.Just(e.Seq-1), rapid.Just(int64(0))).Draw(t, "prev")
		if rapid.Bool().Draw(t, "message") {
			e.Kind, e.Message = chat.MessageUpdated, &chat.Message{Chat: 1, Seq: e.Seq, UpdatedSeq: e.Seq, Sender: 2, CreatedAt: at}
		}
		var got protocol.Event
		if err := json.Unmarshal(AppendEvent(nil, e), &got); err != nil {
			t.Fatal(err)
		}
		claimed := got.PrevSeq // as clients read it
		if claimed == 0 {
			claimed = got.Seq - 1
		}
		want := e.PrevSeq
		if want == 0 {
			want = e.Seq - 1
		}
		if claimed != want || claimed < e.PrevSeq {
			t.Errorf("(%d, %d] reads as (%d, %d]", e.PrevSeq, e.Seq, claimed, got.Seq)
		}
	})
}

func TestEventLines(t *testing.T) {
	msg := chat.Message{Chat: 1, Seq: 43, UpdatedSeq: 43, Sender: 2, Content: "hello <b>&\u2028\"", ReplyTo: 42, Mentions: []chat.UserID{3, 4}, CreatedAt: at}
	edited := chat.Message{Chat: 1, Seq: 42, UpdatedSeq: 49, Sender: 2, Content: "hi all", MentionAll: true, CreatedAt: at, EditedAt: at.Add(time.Minute)}
	deleted := chat.Message{Chat: 1, Seq: 43, UpdatedSeq: 45, Sender: 2, CreatedAt: at, DeletedAt: at}
	member := chat.Participant{Chat: 1, User: 3, Role: chat.RoleMember, JoinedSeq: 5, ReadSeq: 4, UpdatedSeq: 5}
	group := chat.Chat{ID: 1, Kind: chat.KindGroup, Title: "Port", History: chat.HistoryAll, CreatedBy: 2, CreatedAt: at, LastSeq: 1, UpdatedSeq: 1, Stamp: 99}
	pair := chat.Chat{ID: 7, Kind: chat.KindPrivate, Pair: [2]chat.UserID{2, 3}, CreatedBy: 2, CreatedAt: at, UpdatedSeq: 1}

	for _, c := range []struct {
		name, want string
		event      chat.Event
	}{
		{
			"a message", `{"type":"BroadcastResponse","event":"message.created","chat_id":"c_1","seq":43,"message":{"chat_id":"c_1","seq":43,"updated_seq":43,"sender_id":"u_2","content":"hello <b>&` + "\u2028" + `\"","reply_to":42,"mentions":["u_3","u_4"],"created_at":"2026-09-20T10:00:07.001Z"}}`,
			chat.Event{Kind: chat.MessageCreated, Chat: 1, Seq: 43, PrevSeq: 42, Actor: 2, Message: &msg},
		},
		{
			"merged changes of one row", `{"type":"BroadcastResponse","event":"message.updated","chat_id":"c_1","seq":49,"prev_seq":46,"message":{"chat_id":"c_1","seq":42,"updated_seq":49,"sender_id":"u_2","content":"hi all","mention_all":true,"created_at":"2026-09-20T10:00:07.001Z","edited_at":"2026-09-20T10:01:07.001Z"}}`,
			chat.Event{Kind: chat.MessageUpdated, Chat: 1, Seq: 49, PrevSeq: 46, Actor: 2, Message: &edited},
		},
		{
			"a message deleted by an admin", `{"type":"BroadcastResponse","event":"message.deleted","chat_id":"c_1","seq":45,"message":{"chat_id":"c_1","seq":43,"updated_seq":45,"sender_id":"u_2","created_at":"2026-09-20T10:00:07.001Z","deleted":true},"actor_id":"u_9"}`,
			chat.Event{Kind: chat.MessageDeleted, Chat: 1, Seq: 45, PrevSeq: 44, Actor: 9, Message: &deleted},
		},
		{
			"somebody added, without their read mark", `{"type":"BroadcastResponse","event":"participant.added","chat_id":"c_1","seq":5,"participant":{"user_id":"u_3","role":"member","joined_seq":5,"updated_seq":5},"actor_id":"u_2"}`,
			chat.Event{Kind: chat.ParticipantAdded, Chat: 1, Seq: 5, PrevSeq: 4, Actor: 2, Participant: &member},
		},
		{
			"a chat with its creator", `{"type":"BroadcastResponse","event":"chat.created","chat_id":"c_1","seq":1,"participant":{"user_id":"u_3","role":"member","joined_seq":5,"updated_seq":5},"chat":{"chat_id":"c_1","kind":"group","title":"Port","history":"all","created_by":"u_2","created_at":"2026-09-20T10:00:07.001Z","updated_seq":1}}`,
			chat.Event{Kind: chat.ChatCreated, Chat: 1, Seq: 1, Actor: 3, Participant: &member, ChatRow: &group},
		},
		{
			"a chat changed", `{"type":"BroadcastResponse","event":"chat.updated","chat_id":"c_7","seq":2,"chat":{"chat_id":"c_7","kind":"private","user_ids":["u_2","u_3"],"created_by":"u_2","created_at":"2026-09-20T10:00:07.001Z","updated_seq":1},"actor_id":"u_2"}`,
			chat.Event{Kind: chat.ChatUpdated, Chat: 7, Seq: 2, PrevSeq: 1, Actor: 2, ChatRow: &pair},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(AppendEvent([]byte("before"), c.event)); got != "before"+c.want+"\n" {
				t.Errorf("got  %swant %s", strings.TrimPrefix(got, "before"), c.want)
			}
		})
	}
	for want, got := range map[string][]byte{
		`{"type":"BroadcastResponse","event":"read","chat_id":"c_1","user_id":"u_2","read_seq":7}`:                AppendRead(nil, 1, 2, 7),
		`{"type":"BroadcastResponse","event":"read","chat_id":"c_1","user_id":"u_2","read_seq":7,"notify":"all"}`: AppendPlace(nil, chat.Participant{Chat: 1, User: 2, ReadSeq: 7, Role: chat.RoleOwner}),
		`{"type":"BroadcastResponse","event":"read","chat_id":"c_1","user_id":"u_2","notify":"none"}`:             AppendPlace(nil, chat.Participant{Chat: 1, User: 2, Notify: chat.NotifyNone}),
		`{"type":"BroadcastResponse","event":"typing","chat_id":"c_1","user_id":"u_2","expires_ms":10000}`:        AppendTyping(nil, 1, 2, false),
		`{"type":"BroadcastResponse","event":"typing","chat_id":"c_1","user_id":"u_2","stopped":true}`:            AppendTyping(nil, 1, 2, true),
		`{"type":"BroadcastResponse","event":"user","user":{"user_id":"u_2","username":"bob","name":"Bob","role":"member","avatar":"a1","status":"away","created_at":"2026-09-20T10:00:07.001Z"}}`: AppendUser(nil, chat.User{
			ID: 2, Username: "bob", Name: "Bob", Role: chat.RoleMember, Avatar: "a1", Status: "away", CreatedAt: at, PasswordHash: "x", HidesPresence: true,
		}),
	} {
		if string(got) != want+"\n" {
			t.Errorf("got  %swant %s", got, want)
		}
	}
}

// What is written by hand is what marshalling gives, for any message.
func TestHandWrittenIsMarshalled(t *testing.T) {
	times := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "zero") {
			return time.Time{}
		}
		return time.UnixMilli(rapid.Int64Range(1, 1<<45).Draw(t, "ms"))
	})
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.Int64Range(1, protocol.MaxInteger)
		m := chat.Message{
			Chat: chat.ChatID(key.Draw(t, "chat")), Seq: key.Draw(t, "seq"), UpdatedSeq: key.Draw(t, "updated_seq"),
			Sender: chat.UserID(key.Draw(t, "sender")), Content: rapid.String().Draw(t, "content"),
			ReplyTo:    rapid.Int64Range(0, 3).Draw(t, "reply_to"),
			Mentions:   rapid.SliceOfN(rapid.Custom(func(t *rapid.T) chat.UserID { return chat.UserID(key.Draw(t, "user")) }), 0, 3).Draw(t, "mentions"),
			MentionAll: rapid.Bool().Draw(t, "all"),
			CreatedAt:  time.UnixMilli(key.Draw(t, "created") % (1 << 45)), EditedAt: times.Draw(t, "edited"), DeletedAt: times.Draw(t, "deleted"),
		}
		e := chat.Event{
			Kind: chat.MessageCreated, Chat: m.Chat, Seq: rapid.Int64Range(1, 5).Draw(t, "at"), PrevSeq: rapid.Int64Range(0, 4).Draw(t, "prev"),
			Actor: rapid.SampledFrom([]chat.UserID{0, m.Sender, 12}).Draw(t, "actor"), Message: &m,
		}
		if got, want := string(AppendEvent(nil, e)), string(appendJSON(nil, toEvent(e))); got != want {
			t.Fatalf("by hand    %smarshalled %s", got, want)
		}
	})
}

func TestHandWrittenResults(t *testing.T) {
	if got, want := string(appendSendResult(nil, 1, chat.SendResult{Seq: 43, CreatedAt: at, Duplicate: true})),
		`{"chat_id":"c_1","seq":43,"created_at":"2026-09-20T10:00:07.001Z","duplicate":true}`; got != want {
		t.Errorf("got %s want %s", got, want)
	}
	changed(1, 43, func(got []byte, err error) {
		if want := `{"chat_id":"c_1","seq":43,"updated_seq":45}`; string(got) != want || err != nil {
			t.Errorf("got %s, %v want %s", got, err, want)
		}
	})(45, nil)
}

func BenchmarkAppendEvent(b *testing.B) {
	m := chat.Message{Chat: 1, Seq: 43, UpdatedSeq: 43, Sender: 2, Content: strings.Repeat("Ubuntu is fine. ", 5), CreatedAt: at}
	e := chat.Event{Kind: chat.MessageCreated, Chat: 1, Seq: 43, PrevSeq: 42, Actor: 2, Message: &m}
	b.Run("by hand", func(b *testing.B) {
		b.ReportAllocs()
		for dst := []byte(nil); b.Loop(); {
			dst = AppendEvent(dst[:0], e)
		}
	})
	b.Run("marshalled", func(b *testing.B) {
		b.ReportAllocs()
		for dst := []byte(nil); b.Loop(); {
			dst = appendJSON(dst[:0], toEvent(e))
		}
	})
}

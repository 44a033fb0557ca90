package client

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grima-chat/grima/protocol"
)

// talk is a session in a test that is talked to line by line.
type talk struct {
	t   *testing.T
	s   *Session
	now time.Time
}

const (
	hello   = `{"type":"Hello","protocol":1,"server":"x","server_id":"n","epoch":"e","auth":[],"capabilities":[],"limits":{"max_frame":65536,"max_content":16384,"max_page":200,"auth_timeout_ms":60000},"time":""}`
	started = `{"type":"SessionResponse","id":1,"op":"session.start","result":{"session_id":"s_1","user":{"user_id":"u_1","username":"me","name":"Me"},"expires_at":"","epoch":"e","heartbeat_ms":30000}}`
	// One chat, at 5.
	page = `{"type":"DataResponse","id":2,"op":"sync","result":{"chats":[{"chat_id":"c_1","kind":"group","title":"Port","created_at":"t","updated_seq":1,"last_seq":5,"membership":"joined","role":"member","joined_seq":2,"read_seq":4,"unread":1,"mentions":0}],"cursor":"k1","has_more":false}}`
)

func startTalk(t *testing.T, cfg Config) *talk {
	cfg.Token = "gt_x"
	k := &talk{t: t, s: NewSession(cfg, State{}), now: time.Unix(1e9, 0)}
	k.s.jitter = func(d time.Duration) time.Duration { return d }
	return k
}

// online is a session that is synced and knows c_1 at 5.
func online(t *testing.T, cfg Config) *talk {
	t.Helper()
	k := startTalk(t, cfg)
	k.s.Connected(k.now)
	k.says(hello, started, page)
	k.asks("session.start", "sync")
	k.s.Take(1000)
	return k
}

// says lets the server say lines.
func (k *talk) says(lines ...string) {
	k.t.Helper()
	for _, l := range lines {
		if err := k.try(l); err != nil {
			k.t.Fatalf("%v\nat %s", err, l)
		}
	}
}

func (k *talk) try(line string) error { return k.s.Line(k.now, []byte(line)) }

// asks checks which operations were asked since the last call, and gives their
// lines. A Pong is one, too.
func (k *talk) asks(ops ...string) []string {
	k.t.Helper()
	var lines, got []string
	for line := range strings.Lines(string(k.s.Output(nil))) {
		req, bad := protocol.DecodeRequest([]byte(strings.TrimSpace(line)))
		if bad != nil {
			k.t.Fatalf("%v: %s", bad, line)
		}
		if req.Op == "" {
			req.Op = string(req.Type)
		}
		got, lines = append(got, req.Op), append(lines, line)
	}
	if !slices.Equal(got, ops) {
		k.t.Fatalf("asked %v, want %v", got, ops)
	}
	return lines
}

// tells checks the kinds of the events that wait.
func (k *talk) tells(kinds ...Kind) []Event {
	k.t.Helper()
	evs := k.s.Take(1000)
	var got []Kind
	for _, ev := range evs {
		got = append(got, ev.Kind)
	}
	if diff := cmp.Diff(kinds, got); diff != "" {
		k.t.Fatalf("told (-want +got):\n%s", diff)
	}
	if err := k.s.Tick(k.now); err != nil {
		k.t.Fatal(err)
	}
	return evs
}

func message(seq, updated int64, content string) string {
	return fmt.Sprintf(`{"chat_id":"c_1","seq":%d,"updated_seq":%d,"sender_id":"u_2","content":%q,"created_at":"t"}`, seq, updated, content)
}

func created(seq int64) string {
	return fmt.Sprintf(`{"type":"BroadcastResponse","event":"message.created","chat_id":"c_1","seq":%d,"message":%s}`, seq, message(seq, seq, "hi"))
}

func TestHoleIsFilled(t *testing.T) {
	k := online(t, Config{})
	k.says(created(6))
	k.tells(MessageCreated)
	k.says(created(9))
	k.asks("changes.list")
	k.says(created(10)) // still behind the hole
	k.tells()
	// 8 was an edit of 7, so that it comes once; 10 is not in the answer yet.
	k.says(`{"type":"DataResponse","id":3,"op":"changes.list","result":{"messages":[` + message(7, 8, "hi!") + `,` + message(9, 9, "hi") + `],"participants":[],"next":9,"has_more":false}}`)
	evs := k.tells(MessageCreated, MessageCreated)
	if evs[0].PrevSeq != 6 || evs[0].Seq != 8 || evs[1].PrevSeq != 8 || evs[1].Seq != 9 || evs[1].State.Unread != 4 {
		t.Errorf("told %+v", evs)
	}
	k.asks("changes.list")
	k.says(`{"type":"DataResponse","id":4,"op":"changes.list","result":{"messages":[` + message(10, 10, "hi") + `],"participants":[],"next":10,"has_more":false}}`)
	k.tells(MessageCreated)
	k.asks()
	k.says(created(7), created(10)) // late
	k.tells()
	k.says(created(11))
	k.tells(MessageCreated)
}

func TestNewAcrossPages(t *testing.T) {
	k := online(t, Config{})
	k.says(created(20))
	k.asks("changes.list")
	// 6 changed after the first page ended: it is new when it comes.
	k.says(`{"type":"DataResponse","id":3,"op":"changes.list","result":{"messages":[` + message(7, 7, "a") + `],"participants":[],"next":7,"has_more":true}}`)
	evs := k.tells(MessageCreated)
	if !evs[0].State.Unseen.Has(6) {
		t.Errorf("what is unseen: %v", evs[0].State.Unseen)
	}
	k.asks("changes.list")
	k.says(`{"type":"DataResponse","id":4,"op":"changes.list","result":{"messages":[` + message(7, 18, "a!") + `,` + message(6, 19, "b") + `,` + message(20, 20, "hi") + `],"participants":[],"next":20,"has_more":false}}`)
	evs = k.tells(MessageUpdated, MessageCreated, MessageCreated)
	if len(evs[2].State.Unseen) > 5 {
		t.Errorf("what is unseen: %v", evs[2].State.Unseen)
	}
	if c, _ := k.s.Chat("c_1"); len(c.Unseen) != 0 {
		t.Errorf("what is unseen in the end: %v", c.Unseen)
	}
}

func ownRead(seq int, notify string) string {
	return fmt.Sprintf(`{"type":"BroadcastResponse","event":"read","chat_id":"c_1","user_id":"u_1","read_seq":%d,"notify":%q}`, seq, notify)
}

// chatAt is how c_1 stands, at 5 and read up to 4.
func chatAt(notify string) string {
	return fmt.Sprintf(`{"chat_id":"c_1","kind":"group","title":"Port","created_at":"t","updated_seq":1,"last_seq":5,"membership":"joined","role":"member","joined_seq":2,"read_seq":4,"notify":%q,"unread":1,"mentions":0}`, notify)
}

// Of what the user wants to be told, one of their other devices says: at once,
// with a page of sync, and when an answer from before comes after it.
func TestLevels(t *testing.T) {
	k := online(t, Config{})
	level := func(want string) {
		t.Helper()
		if c, _ := k.s.Chat("c_1"); c.Notify != want {
			t.Errorf("told of %q, want %q", c.Notify, want)
		}
	}
	k.says(ownRead(4, "none"))
	if evs := k.tells(ReadMoved); evs[0].State.Notify != "none" || evs[0].State.Unread != 1 {
		t.Errorf("told %+v", evs[0].State)
	}
	k.asks()
	// Others' marks and those of an older server say nothing of it.
	k.says(strings.Replace(ownRead(5, "all"), "u_1", "u_2", 1), strings.Replace(ownRead(4, ""), `,"notify":""`, "", 1))
	k.tells(ReadMoved, ReadMoved)
	level("none")

	// A state that was asked for before may be older.
	e := k.s.chats["c_1"]
	get := func() {
		k.s.recount(e)
		if err := k.s.Tick(k.now); err != nil {
			t.Fatal(err)
		}
		k.asks("chats.get")
	}
	answer := func(notify string) {
		k.says(fmt.Sprintf(`{"type":"DataResponse","id":%d,"op":"chats.get","result":{"chat":%s}}`, k.s.lastID, chatAt(notify)))
	}
	get()
	k.says(ownRead(4, "mentions"))
	k.tells(ReadMoved)
	answer("none")
	k.asks("chats.get")
	level("mentions")
	k.says(ownRead(4, "all"))
	k.tells(ChatState, ReadMoved)
	answer("mentions")
	k.asks("chats.get")
	level("")
	answer("none") // it has the last word
	k.asks()
	level("none")
	k.tells(ChatState, ChatState) // one of them says that it is uncertain

	// Who missed it hears of it by sync.
	k.again()
	k.synced(chatAt("mentions"))
	level("mentions")
}

func TestUnknownEventMovesOn(t *testing.T) {
	k := online(t, Config{})
	k.says(`{"type":"BroadcastResponse","event":"reaction.added","chat_id":"c_1","seq":6,"who":{"knows":1}}`)
	k.tells(Moved)
	k.says(`{"type":"Weather","sunny":true}`, created(7))
	k.tells(MessageCreated)
}

func TestSlowReader(t *testing.T) {
	k := online(t, Config{Buffer: 1})
	for seq := int64(6); seq <= 5000; seq++ {
		k.says(created(seq))
	}
	if n := k.s.Waiting(); n != minBuffer {
		t.Fatalf("%d events wait", n)
	}
	k.asks() // there is no room for what was left out
	if n := len(k.s.Take(100)); n != 100 {
		t.Fatal(n)
	}
	if err := k.s.Tick(k.now); err != nil {
		t.Fatal(err)
	}
	k.asks() // nor now
	k.s.Take(1000)
	if err := k.s.Tick(k.now); err != nil {
		t.Fatal(err)
	}
	if line := k.asks("changes.list")[0]; !strings.Contains(line, fmt.Sprintf(`"after":%d`, 5+minBuffer)) {
		t.Errorf("asked %s", line)
	}
	if !k.s.sync.heard {
		t.Error("the cursor will not move on")
	}
}

func TestLeftChatStaysLeft(t *testing.T) {
	k := online(t, Config{})
	k.says(created(9))
	k.asks("changes.list")
	k.says(`{"type":"BroadcastResponse","event":"participant.removed","chat_id":"c_1","seq":10,"participant":{"user_id":"u_1","role":"member","joined_seq":2,"left_seq":10,"updated_seq":10},"actor_id":"u_2"}`)
	evs := k.tells(ChatRemoved)
	if evs[0].Seq != 10 || evs[0].ActorID != "u_2" {
		t.Errorf("told %+v", evs[0])
	}
	// The answer was asked for before, and so was a state.
	k.says(`{"type":"DataResponse","id":3,"op":"changes.list","result":{"messages":[` + message(7, 7, "a") + `],"participants":[],"next":9,"has_more":false}}`)
	k.tells()
	k.now = k.now.Add(syncAgain)
	k.s.Progress(k.now)
	k.tells()
	k.asks("sync")
	k.says(strings.Replace(strings.Replace(page, `"id":2`, `"id":4`, 1), `"last_seq":5`, `"last_seq":9`, 1))
	k.tells(CursorMoved)
	if len(k.s.Chats()) != 0 {
		t.Errorf("there are %+v", k.s.Chats())
	}
	// Coming back makes another chat of it.
	k.says(`{"type":"BroadcastResponse","event":"participant.added","chat_id":"c_1","seq":12,"participant":{"user_id":"u_1","role":"member","joined_seq":12,"updated_seq":12},"actor_id":"u_2"}`)
	k.asks("chats.get")
	k.says(`{"type":"DataResponse","id":5,"op":"chats.get","result":{"chat":{"chat_id":"c_1","kind":"group","title":"Port","created_at":"t","updated_seq":1,"last_seq":12,"membership":"joined","role":"member","joined_seq":12,"read_seq":12,"unread":0,"mentions":0}}}`)
	if evs := k.tells(ChatAdded); evs[0].State.Pos != 11 {
		t.Errorf("told %+v", evs[0].State)
	}
	k.asks("changes.list")
}

// A page may be quicker than the events before it: the end of a membership that
// it knows the next one of is old. The chat used to be dropped then; and if the
// connection ended before the next event, no sync named it again.
func TestOldRemoval(t *testing.T) {
	k := online(t, Config{})
	k.says(created(6))
	k.tells(MessageCreated)
	k.now = k.now.Add(syncAgain)
	k.s.Progress(k.now)
	k.tells()
	k.asks("sync")
	k.says(strings.NewReplacer(`"id":2`, `"id":3`, `"last_seq":5`, `"last_seq":8`, `"joined_seq":2`, `"joined_seq":8`).Replace(page))
	k.tells(ChatRemoved, ChatAdded, CursorMoved)
	k.says(`{"type":"BroadcastResponse","event":"participant.removed","chat_id":"c_1","seq":7,"participant":{"user_id":"u_1","role":"member","joined_seq":2,"left_seq":7,"updated_seq":7},"actor_id":"u_2"}`)
	k.tells()
	if chats := k.s.Chats(); len(chats) != 1 || chats[0].JoinedSeq != 8 {
		t.Errorf("there are %+v", chats)
	}
	k.says(`{"type":"BroadcastResponse","event":"participant.removed","chat_id":"c_1","seq":9,"participant":{"user_id":"u_1","role":"member","joined_seq":8,"left_seq":9,"updated_seq":9},"actor_id":"u_2"}`)
	k.tells(ChatRemoved)
}

func TestAnotherEpoch(t *testing.T) {
	k := online(t, Config{})
	it, err := k.s.Draft(k.now, Draft{ChatID: "c_1", Content: "hey"})
	if err == nil {
		err = k.s.Queue(k.now, it)
	}
	if err != nil {
		t.Fatal(err)
	}
	k.asks("message.send")
	k.tells(OutboxChanged)
	k.s.Lost(k.now, errors.New("gone"))
	k.tells(ConnectionChanged)
	k.s.Connected(k.now)
	k.asks("session.start")
	k.says(strings.Replace(strings.Replace(started, `"id":1`, `"id":4`, 1), `"epoch":"e"`, `"epoch":"f"`, 1))
	lines := k.asks("message.send", "sync")
	if !strings.Contains(lines[0], it.ID) || strings.Contains(lines[1], "cursor") {
		t.Errorf("asked %s", lines)
	}
	if evs := k.tells(Reset, ConnectionChanged); evs[0].Epoch != "f" {
		t.Errorf("told %+v", evs)
	}
}

func TestCursorInvalidStartsOver(t *testing.T) {
	k := online(t, Config{})
	k.s.Lost(k.now, errors.New("gone"))
	k.s.Connected(k.now)
	k.says(strings.Replace(started, `"id":1`, `"id":3`, 1))
	k.asks("session.start", "sync")
	k.s.Take(100)
	k.says(`{"type":"DataResponse","id":4,"op":"sync","error":{"code":"cursor_invalid","message":"","retryable":false}}`)
	if line := k.asks("sync")[0]; strings.Contains(line, "cursor") {
		t.Errorf("asked %s", line)
	}
	k.tells(Reset, ConnectionChanged)
	err := k.try(`{"type":"DataResponse","id":5,"op":"sync","error":{"code":"cursor_invalid","message":"","retryable":false}}`)
	if !isServerError(err) {
		t.Errorf("a beginning that is refused: %v", err)
	}
}

func TestHistoryWentBack(t *testing.T) {
	k := online(t, Config{})
	k.s.Lost(k.now, errors.New("gone"))
	k.s.Connected(k.now)
	k.says(strings.Replace(started, `"id":1`, `"id":3`, 1))
	k.asks("session.start", "sync")
	back := strings.Replace(page, `"last_seq":5`, `"last_seq":3`, 1)
	k.says(strings.Replace(back, `"id":2`, `"id":4`, 1))
	if line := k.asks("sync")[0]; strings.Contains(line, "cursor") {
		t.Errorf("asked %s", line)
	}
	k.says(strings.Replace(back, `"id":2`, `"id":5`, 1))
	if c, ok := k.s.Chat("c_1"); !ok || c.Pos != 3 {
		t.Errorf("now at %+v", c)
	}
}

// What is in the outbox keeps its order in each chat, whatever the server says
// meanwhile.
func TestOutboxOrder(t *testing.T) {
	k := online(t, Config{})
	queue := func(id, chat string) {
		it, err := k.s.Draft(k.now, Draft{ID: id, ChatID: chat, Content: id})
		if err == nil {
			err = k.s.Queue(k.now, it)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	queue("a1", "c_1")
	queue("a2", "c_1")
	queue("b1", "c_2")
	lines := k.asks("message.send", "message.send")
	if !strings.Contains(lines[0], "a1") || !strings.Contains(lines[1], "b1") {
		t.Fatalf("asked %s", lines)
	}
	k.tells(OutboxChanged, OutboxChanged, OutboxChanged)
	k.says(`{"type":"BroadcastResponse","id":3,"op":"message.send","error":{"code":"rate_limited","message":"","retryable":true,"retry_after_ms":5000}}`)
	k.tells(OutboxChanged)
	k.asks()
	k.says(`{"type":"BroadcastResponse","id":4,"op":"message.send","error":{"code":"not_found","message":"no such chat","retryable":false}}`)
	if evs := k.tells(OutboxChanged); evs[0].Outbox.Progress != Failed || !errors.Is(evs[0].Outbox.Err, evs[0].Outbox.Err) {
		t.Fatalf("told %+v", evs[0].Outbox)
	}
	k.now = k.now.Add(5 * time.Second)
	k.s.Progress(k.now)
	k.tells()
	k.asks() // and some random time
	if d := k.s.Deadline(); d.Sub(k.now) != time.Second {
		t.Errorf("due in %v", d.Sub(k.now))
	}
	k.now = k.now.Add(time.Second)
	k.tells()
	if line := k.asks("message.send")[0]; !strings.Contains(line, "a1") {
		t.Fatalf("asked %s", line)
	}
	// The answer is lost, and so it is asked again, with the same id.
	k.s.Lost(k.now, errors.New("gone"))
	k.s.Connected(k.now)
	k.says(strings.Replace(started, `"id":1`, `"id":6`, 1))
	lines = k.asks("session.start", "message.send", "sync")
	if !strings.Contains(lines[1], `"client_msg_id":"a1"`) {
		t.Fatalf("asked %s", lines[1])
	}
	k.s.Take(100)
	k.says(`{"type":"BroadcastResponse","id":7,"op":"message.send","result":{"chat_id":"c_1","seq":6,"created_at":"t","duplicate":true}}`)
	if evs := k.tells(OutboxChanged); evs[0].Outbox.Progress != Sent || evs[0].Outbox.Seq != 6 {
		t.Fatalf("told %+v", evs[0].Outbox)
	}
	if line := k.asks("message.send")[0]; !strings.Contains(line, "a2") {
		t.Fatalf("asked %s", line)
	}
	k.says(`{"type":"BroadcastResponse","id":9,"op":"message.send","error":{"code":"idempotency_conflict","message":"","retryable":false}}`)
	if box := k.s.Outbox(); len(box) != 2 || box[0].ID != "a2" || box[0].Progress != Failed || box[1].ID != "b1" {
		t.Fatalf("in the outbox: %+v", box)
	}
	if err := k.s.Retry(k.now, "b1"); err != nil {
		t.Fatal(err)
	}
	k.asks("message.send")
	if unsent, err := k.s.Discard("a2"); err != nil || unsent {
		t.Errorf("discarded: %v, %v", unsent, err)
	}
}

// A connection that is of no use is given up, in time, and for the right reason.
func TestEndings(t *testing.T) {
	k := online(t, Config{})
	for _, c := range []struct {
		name  string
		lines []string
		after time.Duration
		want  string // of the error; empty: none
		stops bool
	}{
		{name: "not JSON", lines: []string{`{`}, want: "parse_error"},
		{name: "one name twice", lines: []string{`{"type":"Pong","type":"Pong"}`}, want: "invalid_request"},
		{name: "a seq that is a string", lines: []string{`{"type":"BroadcastResponse","event":"message.created","chat_id":"c_1","seq":"6"}`}, want: "line that is none"},
		{name: "a position backwards", lines: []string{`{"type":"BroadcastResponse","event":"gap","chat_id":"c_1","seq":6,"prev_seq":9}`}, want: "from 9 to 6"},
		{name: "a negative position", lines: []string{`{"type":"BroadcastResponse","event":"gap","chat_id":"c_1","seq":-6}`}, want: "from -7 to -6"},
		{name: "a position without end", lines: []string{`{"type":"BroadcastResponse","event":"gap","chat_id":"c_1","seq":9223372036854775807}`}, want: "from"},
		{name: "a message of another chat", lines: []string{strings.Replace(created(6), `"chat_id":"c_1","seq":6,"m`, `"chat_id":"c_2","seq":6,"m`, 1)}, want: "does not belong"},
		{name: "a message of the future", lines: []string{`{"type":"BroadcastResponse","event":"message.updated","chat_id":"c_1","seq":6,"message":` + message(7, 7, "x") + `}`}, want: "does not belong"},
		{name: "no chat", lines: []string{`{"type":"BroadcastResponse","event":"gap","seq":6}`}, want: "of no chat"},
		{name: "an answer that nobody asked for", lines: []string{`{"type":"DataResponse","id":77,"op":"sync","result":{}}`}, want: "not asked"},
		{name: "an answer without id", lines: []string{`{"type":"DataResponse","op":"sync","result":{}}`}, want: "not asked"},
		{name: "an error of a line of ours", lines: []string{`{"type":"Error","error":{"code":"parse_error","message":"what?","retryable":false}}`}, want: "what?"},
		{name: "changes that do not get on", lines: []string{
			created(9), `{"type":"DataResponse","id":N,"op":"changes.list","result":{"messages":[],"participants":[],"next":5,"has_more":true}}`,
		}, want: "page of changes"},
		{name: "changes that end too early", lines: []string{
			created(9), `{"type":"DataResponse","id":N,"op":"changes.list","result":{"messages":[],"participants":[],"next":5,"has_more":false}}`,
			`{"type":"DataResponse","id":N,"op":"changes.list","result":{"messages":[],"participants":[],"next":5,"has_more":false}}`,
		}, want: "further than its changes"},
		{name: "changes from before", lines: []string{
			created(9), `{"type":"DataResponse","id":N,"op":"changes.list","result":{"messages":[` + message(3, 3, "old") + `],"participants":[],"next":9,"has_more":false}}`,
		}, want: "has one of 3"},
		{name: "changes of the wrong shape", lines: []string{
			created(9), `{"type":"DataResponse","id":N,"op":"changes.list","result":{"messages":7}}`,
		}, want: "wrong shape"},
		{name: "silence", after: 75 * time.Second, want: "nothing was heard"},
		{name: "no answer", lines: []string{created(9)}, after: answerTime, want: "no answer to changes.list"},
		{name: "slow consumer", lines: []string{`{"type":"Goodbye","code":"slow_consumer","message":"read!","reconnect":true}`}, want: "slow_consumer"},
		{name: "a goodbye of a later version", lines: []string{`{"type":"Goodbye","code":"lunch","message":"","reconnect":false}`}, want: "lunch", stops: true},
		{name: "revoked", lines: []string{`{"type":"Goodbye","code":"session_revoked","message":"","reconnect":false}`}, want: "session_revoked", stops: true},
		{name: "another version", lines: []string{strings.Replace(hello, `"protocol":1`, `"protocol":2`, 1)}, want: "version 2", stops: true},
		{name: "a ping", lines: []string{`{"type":"Ping","id":"p1"}`}},
		{name: "members of a later version", lines: []string{`{"type":"Pong","mood":"good"}`, `{"type":"BroadcastResponse","event":"presence","user_id":"u_2","online":true}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k = online(t, Config{})
			err := func() error {
				for _, l := range c.lines {
					l = strings.Replace(l, `"id":N`, fmt.Sprintf(`"id":%d`, k.s.lastID), 1)
					if err := k.try(l); err != nil {
						return err
					}
				}
				if c.after > 0 {
					if c.name != "silence" {
						k.s.heard = k.now.Add(c.after)
					}
					if err := k.s.Tick(k.now.Add(c.after - time.Millisecond)); err != nil {
						t.Fatalf("too early: %v", err)
					}
				}
				return k.s.Tick(k.now.Add(c.after))
			}()
			switch {
			case c.want == "" && err == nil:
				return
			case err == nil || c.want == "" || !strings.Contains(err.Error(), c.want):
				t.Fatalf("%v, want %q", err, c.want)
			}
			k.s.Lost(k.now, err)
			link := k.s.Connection()
			if (k.s.Stopped() != nil) != c.stops || (link.Link == Stopped) != c.stops || !c.stops && !link.Retry.After(k.now) {
				t.Errorf("after it: %+v", link)
			}
		})
	}
}

func TestComingBack(t *testing.T) {
	k := online(t, Config{})
	wait := func(err error) time.Duration {
		k.s.Lost(k.now, err)
		return k.s.Connection().Retry.Sub(k.now)
	}
	bye := func(ms int) error {
		return k.try(fmt.Sprintf(`{"type":"Goodbye","code":"shutdown","message":"","reconnect":true,"reconnect_after_ms":%d}`, ms))
	}
	if d := wait(bye(2740)); d != 2740*time.Millisecond {
		t.Errorf("told to wait 2.74 s, it waits %v", d)
	}
	// From there on the bound doubles.
	for _, want := range []time.Duration{2, 4, 8, 16, 32, 60, 60} {
		if d := wait(errors.New("refused")); d != want*time.Second {
			t.Errorf("waits %v, not %v s", d, want)
		}
	}
	// A connection that lasts is a new beginning.
	k.s.Connected(k.now)
	k.says(hello, strings.Replace(started, `"id":1`, fmt.Sprintf(`"id":%d`, k.s.lastID), 1))
	k.now = k.now.Add(steady)
	if d := wait(errors.New("gone")); d != time.Second {
		t.Errorf("waits %v, not 1 s", d)
	}
	k.s.Connected(k.now)
	k.says(hello, strings.Replace(started, `"id":1`, fmt.Sprintf(`"id":%d`, k.s.lastID), 1))
	k.now = k.now.Add(steady)
	if d := wait(bye(1 << 50)); d != longestWait {
		t.Errorf("waits %v", d)
	}
}

// However far MinBackoff and MaxBackoff are apart, the bound gets from one to the other.
func TestWaitsForAsLongAsConfigured(t *testing.T) {
	k := startTalk(t, Config{MinBackoff: time.Millisecond, MaxBackoff: time.Hour})
	var waited []time.Duration
	for range 24 {
		k.s.Lost(k.now, errors.New("refused"))
		waited = append(waited, k.s.Connection().Retry.Sub(k.now))
	}
	if waited[9] != 512*time.Millisecond || waited[23] != time.Hour || !slices.IsSorted(waited) {
		t.Errorf("waits %v", waited)
	}
}

// A sync that does not come to its end is ended.
func TestEndlessSync(t *testing.T) {
	k := startTalk(t, Config{})
	k.s.Connected(k.now)
	k.says(hello, started)
	var err error
	for n := 0; err == nil; n++ {
		if n > maxSyncPages {
			t.Fatal("it goes on and on")
		}
		err = k.try(fmt.Sprintf(`{"type":"DataResponse","id":%d,"op":"sync","result":{"chats":[],"cursor":"k%d","has_more":true}}`, k.s.lastID, n))
		k.s.Output(nil)
		k.s.Take(10)
	}
	if !isServerError(err) {
		t.Error(err)
	}
}

func TestRanges(t *testing.T) {
	var r Ranges
	steps := []struct {
		add      bool
		from, to int64
		want     Ranges
	}{
		{true, 5, 7, Ranges{{5, 7}}},
		{true, 9, 9, Ranges{{5, 7}, {9, 9}}},
		{true, 8, 8, Ranges{{5, 9}}},
		{true, 1, 2, Ranges{{1, 2}, {5, 9}}},
		{true, 20, 10, Ranges{{1, 2}, {5, 9}}},
		{false, 6, 7, Ranges{{1, 2}, {5, 5}, {8, 9}}},
		{true, 2, 30, Ranges{{1, 30}}},
		{false, 1, 1, Ranges{{2, 30}}},
		{false, 31, 40, Ranges{{2, 30}}},
		{false, 25, 40, Ranges{{2, 24}}},
		{false, 0, 99, Ranges{}},
	}
	for _, s := range steps {
		if s.add {
			r.Add(s.from, s.to)
		} else {
			r.Remove(s.from, s.to)
		}
		if !slices.Equal(r, s.want) {
			t.Fatalf("after %+v: %v", s, r)
		}
	}
}

// What others see of people is told as it changes, of oneself too.
func TestPeopleWhoChange(t *testing.T) {
	k := online(t, Config{})
	user := func(row string) string {
		return `{"type":"BroadcastResponse","event":"user","user":` + row + `}`
	}
	k.says(user(`{"user_id":"u_2","username":"bob","name":"Bob O.","avatar":"a1","later":{}}`))
	ev := k.tells(UserChanged)[0]
	if ev.UserID != "u_2" || ev.User.Name != "Bob O." || ev.User.Avatar != "a1" {
		t.Errorf("told %+v", ev)
	}
	k.s.user.HidesPresence = true
	k.says(user(`{"user_id":"u_1","username":"me","name":"Myself"}`))
	k.tells(UserChanged)
	if me := k.s.Self(); me.Name != "Myself" || !me.HidesPresence {
		t.Errorf("oneself is %+v", me)
	}
	k.says(`{"type":"BroadcastResponse","event":"user"}`, user(`{"user_id":"","username":"","name":""}`))
	k.tells()
}

package tui

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// underRace says that everything takes ten times as long.
var underRace bool

var update = flag.Bool("update", false, "write the golden screens")

// noon is when the tests of this package take place.
var noon = time.Date(2026, 9, 20, 12, 0, 0, 0, time.UTC)

// fake is a client that says what a test makes it say. What it is not meant to
// be asked is nil, and panics.
type fake struct {
	Backend

	mu     sync.Mutex
	chats  []client.Chat
	users  map[string]protocol.User
	log    map[string][]protocol.Message
	queued []client.Draft
	read   map[string]int64
	edits  []protocol.MessageEditParams
	gone   []int64
	pages  int
	typed  int

	presence   map[string]string
	noPresence error
	watches    [][]string
	active     []bool
	reads      map[string]int64 // of participants.list
	listing    func()           // called when participants.list has read the rows, before they are answered

	hello protocol.Hello
	all   []protocol.User // of users.list
	link  client.Link     // empty: Online
	asked func() error    // called when history is asked for
}

func (f *fake) Batch(context.Context) ([]client.Event, error) { return nil, context.Canceled }
func (f *fake) Chats() []client.Chat                          { return f.chats }
func (f *fake) Outbox() []client.Item                         { return nil }
func (f *fake) Self() protocol.User                           { return f.users["u_1"] }
func (f *fake) Focus(...string) error                         { return nil }
func (f *fake) MarkRead(chatID string, seq int64)             { f.read[chatID] = seq }

func (f *fake) Connection() client.Connection {
	if f.link != "" {
		return client.Connection{Link: f.link}
	}
	return client.Connection{Link: client.Online}
}

func (f *fake) Hello() protocol.Hello { return f.hello }

// UsersList pages through those whose username begins with the prefix, or in whose
// name is what is to be found, in lower case.
func (f *fake) UsersList(_ context.Context, p protocol.UsersListParams) (r protocol.UsersListResult, err error) {
	first := 0
	if p.Cursor != "" {
		if first, err = strconv.Atoi(p.Cursor); err != nil {
			return r, err
		}
	}
	for i, u := range f.all[first:] {
		if int64(len(r.Users)) == p.Limit {
			r.HasMore, r.Cursor = true, strconv.Itoa(first+i)
			break
		}
		if strings.HasPrefix(u.Username, strings.ToLower(p.Prefix)) && strings.Contains(strings.ToLower(u.Name), p.Find) {
			r.Users = append(r.Users, u)
		}
	}
	return r, nil
}

func (f *fake) Typing(string, bool) error {
	f.typed++
	return nil
}

func (f *fake) Active(active bool) { f.active = append(f.active, active) }

func (f *fake) PresenceWatch(_ context.Context, p protocol.PresenceParams) (r protocol.PresenceWatchResult, err error) {
	f.watches = append(f.watches, p.UserIDs)
	for _, id := range p.UserIDs {
		if status := f.presence[id]; status != "" {
			r.Presence = append(r.Presence, protocol.Presence{UserID: id, Status: status})
		}
	}
	r.ExpiresMS = 300_000
	return r, f.noPresence
}

func (f *fake) UsersUpdate(_ context.Context, p protocol.UsersUpdateParams) (r protocol.UserResult, err error) {
	r.User = f.users["u_1"]
	r.User.HidesPresence = *p.HidesPresence
	return r, nil
}

func (f *fake) Queue(_ context.Context, d client.Draft) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queued = append(f.queued, d)
	return d.ID, nil
}

func (f *fake) Users(_ context.Context, ids ...string) (map[string]protocol.User, error) {
	return f.users, nil
}

func (f *fake) ParticipantsList(_ context.Context, p protocol.ParticipantsListParams) (r protocol.ParticipantsListResult, err error) {
	for _, id := range []string{"u_1", "u_2", "u_3"} {
		u := f.users[id]
		r.Participants = append(r.Participants, protocol.Participant{UserID: id, Username: u.Username, Name: u.Name, Role: "member", JoinedSeq: 1, UpdatedSeq: 1, ReadSeq: f.reads[id]})
	}
	if f.listing != nil {
		f.listing()
	}
	return r, nil
}

func (f *fake) MessageEdit(_ context.Context, p protocol.MessageEditParams) (r protocol.MessageChangeResult, err error) {
	f.edits = append(f.edits, p)
	return r, nil
}

func (f *fake) MessageDelete(_ context.Context, p protocol.MessageParams) (r protocol.MessageChangeResult, err error) {
	f.gone = append(f.gone, p.Seq)
	return r, nil
}

// History pages through the log as the server does.
func (f *fake) History(_ context.Context, p protocol.MessagesListParams) (r protocol.MessagesListResult, err error) {
	f.pages++
	if f.asked != nil {
		if err := f.asked(); err != nil {
			return r, err
		}
	}
	log := f.log[p.ChatID]
	limit := int(p.Limit)
	from, to := max(0, len(log)-limit), len(log)
	at := func(seq int64) int { return int(min(max(seq-1, 0), int64(len(log)))) } // say counts them
	switch {
	case p.Before != nil:
		to = at(*p.Before)
		from = max(0, to-limit)
	case p.After != nil:
		from = at(*p.After + 1)
		to = min(from+limit, len(log))
	case p.Around != nil:
		from = max(0, at(*p.Around)-limit/2)
		to = min(from+limit, len(log))
	}
	r.Messages = log[from:to]
	r.HasMoreBefore, r.HasMoreAfter = from > 0, to < len(log)
	if len(log) > 0 {
		r.LastSeq = log[len(log)-1].Seq
	}
	return r, nil
}

// say puts a message into a chat's log and returns the event of it.
func (f *fake) say(chatID, sender, content string, change ...func(*protocol.Message)) client.Event {
	log := f.log[chatID]
	seq := int64(len(log) + 1)
	at := noon.Add(-2*time.Hour + time.Duration(seq)*time.Minute)
	msg := protocol.Message{ChatID: chatID, Seq: seq, UpdatedSeq: seq, SenderID: sender, Content: content, CreatedAt: at.Format("2006-01-02T15:04:05.000Z")}
	for _, c := range change {
		c(&msg)
	}
	f.log[chatID] = append(log, msg)
	return client.Event{Kind: client.MessageCreated, ChatID: chatID, Seq: seq, PrevSeq: seq - 1, Message: &msg, State: f.state(chatID)}
}

// state is the chat after what was said.
func (f *fake) state(chatID string) *client.Chat {
	for i := range f.chats {
		c := &f.chats[i]
		if c.ChatID == chatID {
			log := f.log[chatID]
			if len(log) > 0 {
				c.LastSeq, c.Pos = log[len(log)-1].Seq, log[len(log)-1].Seq
				c.Messages = log[len(log)-1:]
			}
			st := *c
			return &st
		}
	}
	panic("no chat " + chatID)
}

func newFake() *fake {
	f := &fake{users: map[string]protocol.User{}, log: map[string][]protocol.Message{}, read: map[string]int64{}}
	for i, name := range []string{"Ana", "Bob", "李小龍"} {
		id := fmt.Sprintf("u_%d", i+1)
		f.users[id] = protocol.User{UserID: id, Username: []string{"ana", "bob", "bruce"}[i], Name: name}
	}
	return f
}

func (f *fake) group(id, title string) {
	c := client.Chat{}
	c.ChatID, c.Kind, c.Title, c.Membership, c.CreatedAt = id, "group", title, "joined", "2026-09-01T08:00:00.000Z"
	f.chats = append(f.chats, c)
}

func (f *fake) private(id, with string) {
	f.group(id, "")
	f.chats[len(f.chats)-1].Kind, f.chats[len(f.chats)-1].UserIDs = "private", []string{"u_1", with}
}

// driver plays a Model without a terminal: commands are carried out at once.
type driver struct {
	t     testing.TB
	m     *Model
	raw   []string // what was written past the screen
	ticks []func() // what waits for time to pass
}

func play(t testing.TB, be Backend, width, height int, change ...func(*Options)) *driver {
	t.Helper()
	opts := Options{Now: func() time.Time { return noon }, Location: time.UTC, Theme: "dark"}
	for _, c := range change {
		c(&opts)
	}
	m := New(t.Context(), be, opts)
	d := &driver{t: t, m: m}
	m.tick = func(_ time.Duration, f func(time.Time) tea.Msg) tea.Cmd {
		d.ticks = append(d.ticks, func() { d.send(f(m.opts.Now())) })
		return nil
	}
	m.m, m.ed.m = metric{ansi.GraphemeWidth}, metric{ansi.GraphemeWidth}
	m.synced = true
	d.do(m.Init())
	d.send(tea.WindowSizeMsg{Width: width, Height: height})
	return d
}

// do carries a command out, and what follows from it.
func (d *driver) do(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			d.do(c)
		}
	case tea.RawMsg:
		d.raw = append(d.raw, fmt.Sprint(msg.Msg))
	default:
		if strings.HasPrefix(fmt.Sprintf("%T", msg), "tea.") {
			return // for Bubble Tea itself: quitting, the clipboard
		}
		d.send(msg)
	}
}

func (d *driver) send(msg tea.Msg) {
	_, cmd := d.m.Update(msg)
	d.do(cmd)
}

func (d *driver) events(evs ...client.Event) { d.send(batchMsg{events: evs}) }

// pass lets time pass: everything that waits for it happens, once.
func (d *driver) pass() {
	due := d.ticks
	d.ticks = nil
	for _, tick := range due {
		tick()
	}
}

// keys presses keys; what is no key's name is typed.
func (d *driver) keys(keys ...string) {
	for _, k := range keys {
		if code, ok := keyCodes[k]; ok {
			d.send(code)
			continue
		}
		for _, r := range k {
			d.send(tea.KeyPressMsg{Code: r, Text: string(r)})
		}
	}
}

var keyCodes = map[string]tea.KeyPressMsg{
	"enter": {Code: tea.KeyEnter}, "esc": {Code: tea.KeyEscape}, "tab": {Code: tea.KeyTab},
	"up": {Code: tea.KeyUp}, "down": {Code: tea.KeyDown}, "left": {Code: tea.KeyLeft}, "right": {Code: tea.KeyRight},
	"pgup": {Code: tea.KeyPgUp}, "pgdown": {Code: tea.KeyPgDown}, "end": {Code: tea.KeyEnd}, "home": {Code: tea.KeyHome},
	"f1": {Code: tea.KeyF1}, "backspace": {Code: tea.KeyBackspace},
	"alt+enter": {Code: tea.KeyEnter, Mod: tea.ModAlt}, "alt+down": {Code: tea.KeyDown, Mod: tea.ModAlt},
	"alt+up": {Code: tea.KeyUp, Mod: tea.ModAlt}, "shift+up": {Code: tea.KeyUp, Mod: tea.ModShift},
	"ctrl+k": {Code: 'k', Mod: tea.ModCtrl}, "ctrl+p": {Code: 'p', Mod: tea.ModCtrl}, "ctrl+n": {Code: 'n', Mod: tea.ModCtrl},
	"ctrl+c": {Code: 'c', Mod: tea.ModCtrl}, "ctrl+q": {Code: 'q', Mod: tea.ModCtrl}, "ctrl+w": {Code: 'w', Mod: tea.ModCtrl},
	"ctrl+home": {Code: tea.KeyHome, Mod: tea.ModCtrl}, "alt+a": {Code: 'a', Mod: tea.ModAlt},
	"alt+u": {Code: 'u', Mod: tea.ModAlt},
}

func (d *driver) text() string {
	return Render(d.m.View(), d.m.width, d.m.height).Text()
}

func (d *driver) want(parts ...string) {
	d.t.Helper()
	text := d.text()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			d.t.Fatalf("the screen does not show %q:\n%s", p, text)
		}
	}
}

func (d *driver) wantNot(parts ...string) {
	d.t.Helper()
	text := d.text()
	for _, p := range parts {
		if strings.Contains(text, p) {
			d.t.Fatalf("the screen shows %q:\n%s", p, text)
		}
	}
}

// golden compares the screen with the one that is kept (go test -update).
func (d *driver) golden(name string) {
	d.t.Helper()
	text := d.text()
	if c := d.m.View().Cursor; c != nil {
		text += fmt.Sprintf("cursor %d,%d\n", c.X, c.Y)
	}
	for i, line := range strings.Split(d.m.View().Content, "\n") {
		if w := (metric{ansi.GraphemeWidth}).StringWidth(line); w != d.m.width {
			d.t.Errorf("row %d is %d wide, not %d: %q", i, w, d.m.width, ansi.Strip(line))
		}
	}
	file := filepath.Join("testdata", "screens", name+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			d.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			d.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		d.t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		d.t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

package tui

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

func TestAMessageIsShownAtOnceAndSentInOrder(t *testing.T) {
	f := port()
	d := play(t, f, 80, 24)
	d.keys("hi @bob, and @all", "enter", "//two", "enter", "one", "alt+enter", "more", "enter")
	d.want("hi @bob, and @all", "◷", "/two")
	var said []string
	for _, q := range f.queued {
		said = append(said, q.Content)
	}
	if diff := cmp.Diff([]string{"hi @bob, and @all", "/two", "one\nmore"}, said); diff != "" {
		t.Fatal(diff)
	}
	if q := f.queued[0]; !q.MentionAll || len(q.Mentions) != 1 || q.Mentions[0] != "u_2" || q.ID == "" {
		t.Errorf("mentions: %+v", q)
	}
	// Sent: what waited goes, what was said comes, and it is there once, also
	// between the answer and the event.
	for _, q := range f.queued {
		ev := f.say("c_1", "u_1", q.Content)
		d.events(client.Event{Kind: client.OutboxChanged, Outbox: &client.Item{Draft: q, Progress: client.Sent, Seq: ev.Seq}})
		first, _, _ := strings.Cut(q.Content, "\n")
		d.want("  " + first)
		d.events(ev)
	}
	if n := len(d.m.open.waiting); n > 0 {
		t.Errorf("%d still wait", n)
	}
	d.wantNot("◷")
	if n := strings.Count(d.text(), "hi @bob"); n != 1 {
		t.Errorf("it is there %d times:\n%s", n, d.text())
	}
}

func TestUpEditsTheLastMessage(t *testing.T) {
	f := port()
	d := play(t, f, 80, 24)
	d.keys("up")
	d.want("editing", "› and another one")
	d.keys("up") // untouched: the one before
	d.want("› I am, and")
	d.keys("esc", "up", "!", "enter")
	if len(f.edits) != 1 || f.edits[0].Content != "and another one!" || f.edits[0].Seq != 4 {
		t.Fatalf("%+v", f.edits)
	}
	if len(f.queued) != 0 {
		t.Errorf("an edit was sent as a message: %+v", f.queued)
	}
	d.keys("ctrl+p") // an edit that comes to nothing is not lost
	d.want("› and another one!")
}

func TestDeletingAsks(t *testing.T) {
	f := port()
	d := play(t, f, 80, 24)
	d.keys("/delete", "enter")
	d.want("Delete for everybody: and another one")
	d.keys("enter") // no
	d.keys("/delete", "enter", "down", "enter")
	if fmt.Sprint(f.gone) != "[4]" {
		t.Fatalf("deleted %v", f.gone)
	}
}

// Drafts that cannot be kept are no secret: it is said, once, and by who ends it.
func TestDraftsThatCannotBeKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	d := play(t, port(), 80, 24, func(o *Options) { o.StateFile = filepath.Join(dir, "screen.json") })
	d.keys("one")
	d.do(d.m.save())
	d.want("what is not sent is lost when this ends: keeping drafts")
	d.keys("esc")
	d.m.say(false, "another notice")
	d.do(d.m.goodbyeState())
	d.want("another notice")
	if d.m.kept.failed == nil {
		t.Error("whoever ends it does not hear that drafts are lost")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	d.do(d.m.goodbyeState())
	if d.m.kept.failed != nil {
		t.Errorf("they are kept, and it still says %v", d.m.kept.failed)
	}
}

func TestDraftsStayWithTheirChats(t *testing.T) {
	file := filepath.Join(t.TempDir(), "screen.json")
	keep := func(o *Options) { o.StateFile = file }
	d := play(t, port(), 80, 24, keep)
	d.keys("for the port", "alt+down")
	d.wantNot("for the port")
	d.keys("for bob", "alt+up")
	d.want("› for the port")
	d.keys("alt+down")
	d.want("› for bob")
	d.keys("ctrl+c", "sent once", "enter")
	d.do(d.m.goodbyeState())
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info.Mode(), err)
	}
	again := play(t, port(), 80, 24, keep)
	if again.m.open.ChatID != "c_2" {
		t.Errorf("it begins with %s", again.m.open.ChatID)
	}
	again.keys("ctrl+p")
	again.want("› sent once")
	again.keys("ctrl+c", "alt+up")
	again.want("› for the port")
}

func TestCompletion(t *testing.T) {
	d := play(t, port(), 80, 24)
	d.keys("@br", "tab", ":rocke", "tab")
	d.want("› @bruce 🚀")
	d.keys("ctrl+c", "so :tada::x: at 10:x: :nosuch:")
	d.want("› so 🎉❌ at 10:x: :nosuch:")
	d.keys("ctrl+c", "/sea", "tab")
	d.want("› /search")
	d.keys("ctrl+c", "/nonsense", "enter")
	d.want("there is no /nonsense")

	// People also by another word of their name than the first.
	f := port()
	f.users["u_2"] = protocol.User{UserID: "u_2", Username: "bob", Name: "The Boatman of Port"}
	d = play(t, f, 80, 24)
	d.keys("@boat", "tab")
	d.want("› @bob")
}

func TestScrollingDoesNotJump(t *testing.T) {
	f := newFake()
	f.group("c_1", "long")
	for i := range 1000 {
		f.say("c_1", []string{"u_2", "u_3"}[i/3%2], fmt.Sprintf("message %d", i+1))
	}
	f.state("c_1")
	d := play(t, f, 80, 24)
	d.want("message 1000")
	d.keys("pgup", "pgup")
	before := d.text()
	d.events(f.say("c_1", "u_2", "a new one"))
	if got := d.text(); got != before {
		t.Fatalf("it jumped:\n%s\n%s", before, got)
	}
	seen := map[int]bool{}
	for range 400 {
		for _, line := range strings.Split(d.text(), "\n") {
			var n int
			if _, after, ok := strings.Cut(line, "message "); ok {
				if _, err := fmt.Sscan(after, &n); err == nil {
					seen[n] = true
				}
			}
		}
		d.send(tea.MouseWheelMsg{X: 50, Y: 10, Button: tea.MouseWheelUp})
		d.send(tea.MouseWheelMsg{X: 50, Y: 10, Button: tea.MouseWheelUp})
	}
	for n := 1; n <= 970; n++ {
		if !seen[n] {
			t.Fatalf("message %d was never on the screen", n)
		}
	}
	d.want("message 1")
	top := d.text()
	d.send(tea.MouseWheelMsg{X: 50, Y: 10, Button: tea.MouseWheelUp})
	if d.text() != top {
		t.Errorf("it scrolls beyond the beginning:\n%s", d.text())
	}
	if f.pages > 15 {
		t.Errorf("%d pages were asked for", f.pages)
	}
	d.keys("end")
	d.want("a new one")
	// To the first message at once, and back by the wheel over the seam.
	d.keys("ctrl+home")
	d.want("message 1")
	for range 600 {
		d.send(tea.MouseWheelMsg{X: 50, Y: 10, Button: tea.MouseWheelDown})
	}
	d.want("a new one")
	if d.m.open.at != 0 || !d.m.open.scroll.follows() {
		t.Error("it does not follow the present")
	}
}

func TestReadMarkMovesOnlyForWhatIsSeen(t *testing.T) {
	f := port()
	d := play(t, f, 80, 24)
	if f.read["c_1"] != 9 || f.read["c_2"] != 0 {
		t.Fatalf("read: %v", f.read)
	}
	d.send(tea.BlurMsg{})
	ev := f.say("c_1", "u_2", "nobody looks")
	ev.State.Unread = 1
	d.events(ev)
	if f.read["c_1"] != 9 {
		t.Fatalf("read while the terminal is not looked at: %v", f.read)
	}
	d.send(tea.FocusMsg{})
	if f.read["c_1"] != 10 {
		t.Fatalf("read: %v", f.read)
	}
}

func TestNotifications(t *testing.T) {
	f := port()
	osc := func(o *Options) { o.Desktop, o.Bell = "777", true }
	d := play(t, f, 80, 24, osc)
	news := func(chatID, text string, change ...func(*protocol.Message)) {
		d.m.rung = time.Time{}
		d.events(f.say(chatID, "u_2", text, append(change, func(m *protocol.Message) { m.CreatedAt = noon.Format(time.RFC3339) })...))
	}
	news("c_2", "a;b\x1b]52;c;eA==\x07")
	want := "\x1b]777;notify;Bob;a,b␛]52,c,eA==␇\x1b\\\a"
	if diff := cmp.Diff([]string{want}, d.raw[len(d.raw)-1:]); diff != "" {
		t.Fatal(diff)
	}
	n := len(d.raw)
	news("c_1", "looked at")
	news("c_3", "no mention")
	d.events(f.say("c_2", "u_1", "my own"), f.say("c_2", "u_2", "old"))
	if len(d.raw) != n {
		t.Fatalf("told of what is no news: %q", d.raw[n:])
	}
	news("c_3", "@ana", func(m *protocol.Message) { m.Mentions = []string{"u_1"} })
	d.events(f.say("c_2", "u_2", "a flood", func(m *protocol.Message) { m.CreatedAt = noon.Format(time.RFC3339) }))
	if len(d.raw) != n+1 {
		t.Fatalf("told %q", d.raw[n:])
	}
	// Of one chat less may be wanted.
	private := &f.chats[slices.IndexFunc(f.chats, func(c client.Chat) bool { return c.ChatID == "c_2" })]
	mention := func(m *protocol.Message) { m.Mentions = []string{"u_1"} }
	private.Notify = "mentions"
	news("c_2", "no mention")
	if len(d.raw) != n+1 {
		t.Fatalf("told %q of a chat of which mentions are wanted", d.raw[n+1:])
	}
	news("c_2", "@ana", mention)
	if len(d.raw) != n+2 {
		t.Fatal("not told of a mention")
	}
	private.Notify = "none"
	news("c_2", "@ana", mention)
	if len(d.raw) != n+2 {
		t.Fatalf("told %q of a muted chat", d.raw[n+2:])
	}
}

// The clock here may be wrong: how old a message is, the server's says.
func TestNotificationsWithAWrongClock(t *testing.T) {
	for _, off := range []time.Duration{-time.Hour, time.Hour} {
		f := port()
		f.hello.Time = noon.Add(-off).Format(time.RFC3339)
		d := play(t, f, 80, 24, func(o *Options) { o.Desktop = "777" })
		d.events(client.Event{Kind: client.ConnectionChanged, Connection: &client.Connection{Link: client.Online}})
		said := func(ago time.Duration) client.Event {
			return f.say("c_2", "u_2", "hi", func(m *protocol.Message) { m.CreatedAt = noon.Add(-off - ago).Format(time.RFC3339) })
		}
		n := len(d.raw)
		d.events(said(10 * time.Minute))
		if len(d.raw) != n {
			t.Errorf("%v ahead: told of what is old", off)
		}
		d.events(said(time.Second))
		if len(d.raw) != n+1 {
			t.Errorf("%v ahead: not told of what is new", off)
		}
	}
}

// Whoever has a short name comes behind all who had it in front of theirs before.
func TestFindingAShortName(t *testing.T) {
	f := port()
	for i := range 250 {
		f.all = append(f.all, protocol.User{UserID: fmt.Sprint("u_9", i), Username: fmt.Sprint("max", i)})
	}
	f.all = append(f.all, protocol.User{UserID: "u_999", Username: "max"})
	u, err := find(t.Context(), f, "@Max")
	if err != nil || u.UserID != "u_999" {
		t.Errorf("found %+v, %v", u, err)
	}
	if _, err := find(t.Context(), f, "@nobody"); err == nil {
		t.Error("nobody is found")
	}
}

// Whoever is called by another name than the one for logging in is said to be
// there, and nothing is done for a guess.
func TestWhoMayBeMeant(t *testing.T) {
	f := newFake()
	f.all = []protocol.User{{UserID: "u_7", Username: "mo", Name: "Maria\x1b[2J Silva"}, {UserID: "u_8", Username: "x", Name: "Carl"}, {UserID: "u_9", Username: "y", Name: "Zacharias", Disabled: true}}
	if _, err := find(t.Context(), f, "@maria"); err == nil || strings.Contains(err.Error(), "@mo") {
		t.Errorf("of a server that cannot find: %v", err)
	}
	f.hello.Capabilities = []string{"find"}
	_, err := find(t.Context(), f, "@maria")
	if err == nil || err.Error() != `nobody is called "maria" here; there is @mo (Maria␛[2J Silva)` {
		t.Errorf("there is only a Maria: %v", err)
	}
	for _, name := range []string{"zoe", "zach", ""} {
		if _, err := find(t.Context(), f, "@"+name); err == nil || err.Error() != fmt.Sprintf("nobody is called %q here", name) {
			t.Errorf("there is nobody who may be meant by %q: %v", name, err)
		}
	}
}

// Everything hostile, everywhere that somebody else's text is shown.
func TestHostileTextIsInert(t *testing.T) {
	for _, h := range hostile {
		f := newFake()
		f.users["u_2"] = protocol.User{UserID: "u_2", Username: "bob", Name: h.in}
		f.group("c_1", h.in)
		f.chats[0].Topic = h.in
		f.private("c_2", "u_2")
		f.say("c_1", "u_2", h.in)
		f.say("c_1", "u_2", "x", func(m *protocol.Message) { m.ReplyTo = 1 })
		f.say("c_1", "u_2", h.in, func(m *protocol.Message) { m.EditedAt = h.in })
		f.say("c_2", h.in, h.in, func(m *protocol.Message) { m.CreatedAt = h.in })
		f.state("c_1")
		f.state("c_2")
		d := play(t, f, 70, 20)
		check := func() {
			t.Helper()
			view := d.m.View()
			for _, s := range []string{view.WindowTitle, view.Content} {
				rest := s
				for rest != "" { // what is left after our own colours
					i := strings.IndexByte(rest, 0x1b)
					if i < 0 {
						break
					}
					end := strings.IndexByte(rest[i:], 'm')
					if !strings.HasPrefix(rest[i:], "\x1b[") || end < 0 || strings.Trim(rest[i+2:i+end], "0123456789;") != "" {
						t.Fatalf("%s: an escape sequence on the screen: %q", h.name, rest[i:min(len(rest), i+20)])
					}
					rest = rest[i+end+1:]
				}
				for _, r := range s {
					if r != '\n' && r != 0x1b && (r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069) {
						t.Fatalf("%s: %U on the screen", h.name, r)
					}
				}
			}
		}
		check()
		d.events(client.Event{Kind: client.Typing, ChatID: "c_1", UserID: "u_2", Until: noon.Add(time.Minute), State: f.state("c_1")},
			client.Event{Kind: client.OutboxChanged, Outbox: &client.Item{Draft: client.Draft{ID: "1", ChatID: "c_1", Content: h.in}, Progress: client.Failed, Error: h.in}})
		check()
		for _, keys := range [][]string{{"ctrl+k"}, {"esc", "/who", "enter"}, {"esc", "/search x", "enter"}, {"esc", "@b"}, {"ctrl+c", "shift+up", "r"}, {"esc", "alt+down"}} {
			d.keys(keys...)
			check()
		}
		d.send(tea.PasteMsg{Content: h.in})
		check()
		d.send(doneMsg{err: fmt.Errorf("%s", h.in)})
		check()
	}
}

func TestAnUnusableTerminalIsSurvived(t *testing.T) {
	d := play(t, port(), 80, 24)
	for w := 0; w < 70; w += 3 {
		for h := 0; h < 20; h += 2 {
			d.send(tea.WindowSizeMsg{Width: w, Height: h})
			d.keys("x", "ctrl+k", "esc", "pgup", "f1", "down", "esc", "@", "end")
			d.m.View()
		}
	}
}

func TestAResetForgetsAndWhatWaitsStays(t *testing.T) {
	f := port()
	d := play(t, f, 80, 24)
	d.keys("not sent yet", "enter")
	d.events(client.Event{Kind: client.Reset, Epoch: "new"})
	d.wantNot("good morning")
	f.log["c_1"] = nil
	ev := f.say("c_1", "u_2", "another history")
	d.events(client.Event{Kind: client.ChatAdded, ChatID: "c_1", State: ev.State})
	d.want("another history", "not sent yet")
	d.events(client.Event{Kind: client.ChatRemoved, ChatID: "c_1"})
	d.want("you are not in Port any more")
}

// A name that changes is drawn anew; what became of people in a time away is
// asked for.
func TestNamesThatChange(t *testing.T) {
	f := port()
	d := play(t, f, 80, 24)
	d.want("Bob")
	called := func(name string) protocol.User {
		u := f.users["u_2"]
		u.Name = name
		f.users["u_2"] = u
		return u
	}
	bob := called("Robert")
	d.events(client.Event{Kind: client.UserChanged, UserID: "u_2", User: &bob})
	d.want("Robert")
	d.wantNot("Bob")
	me := f.users["u_1"]
	me.Name = "Somebody Else"
	d.events(client.Event{Kind: client.UserChanged, UserID: "u_1", User: &me})
	if d.m.self.Name != "Somebody Else" {
		t.Errorf("oneself is %+v", d.m.self)
	}
	called("Bobby")
	d.events(client.Event{Kind: client.ConnectionChanged, Connection: &client.Connection{Link: client.Offline}})
	d.events(client.Event{Kind: client.ConnectionChanged, Connection: &client.Connection{Link: client.Online}}, client.Event{Kind: client.Synced})
	d.want("Bobby")
}

// Who is in no chat yet is told what comes of a command, and shown what there is to
// choose from.
func TestWithoutAChatNothingIsSilent(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {40, 12}} {
		d := play(t, newFake(), size[0], size[1])
		d.keys("/bogus", "enter")
		d.want("there is no /bogus")
		d.keys("ctrl+c", "/msg @zoe", "enter")
		d.want(`nobody is called "zoe" here`)
		d.keys("ctrl+c", "/t")
		d.want("/title TEXT", "/topic")
		if got := strings.Count(strings.TrimSuffix(d.text(), "\n"), "\n") + 1; got > size[1]+1 {
			t.Errorf("%d rows are drawn on %d", got, size[1])
		}
	}
}

package tui

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/client/cache"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// unread is a group where somebody said n messages, and read up to one.
func unread(n int, read int64) *fake {
	f := newFake()
	f.group("c_1", "Port")
	for i := range n {
		f.say("c_1", []string{"u_2", "u_3"}[i/3%2], fmt.Sprintf("message %d.", i+1))
	}
	f.state("c_1")
	f.chats[0].ReadSeq, f.chats[0].Unread = read, min(int64(n)-read, 1000)
	return f
}

// rows is in which row of the screen each of the messages of unread begins.
func rows(text string) map[int64]int {
	at := map[int64]int{}
	for y, line := range strings.Split(text, "\n") {
		var n int64
		if _, after, ok := strings.Cut(line, "message "); ok {
			if _, err := fmt.Sscanf(after, "%d.", &n); err == nil {
				at[n] = y
			}
		}
	}
	return at
}

// lowest is the last of the messages on the screen.
func lowest(text string) (seq int64) {
	for n := range rows(text) {
		seq = max(seq, n)
	}
	return seq
}

// newLine is the row of the "new" line; -1: it is not there.
func newLine(text string) int {
	for y, line := range strings.Split(text, "\n") {
		if strings.Contains(line, "─ new ─") {
			return y
		}
	}
	return -1
}

// A chat with more unread messages than anything holds opens where they begin. Who
// goes on sees each of them, and the mark is always at the last that was seen.
func TestUnreadIsReadFromItsBeginning(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {40, 10}, {200, 60}} {
		f := unread(1400, 150)
		d := play(t, f, size[0], size[1])
		if d.m.narrow() {
			if len(f.read) != 0 {
				t.Fatalf("read in the list: %v", f.read)
			}
			d.keys("enter")
		}
		d.want("message 150.", "message 151.", "↓ 999+ new")
		text := d.text()
		if y := newLine(text); y < 0 || y > 2+readAbove(size[1]) || y < rows(text)[150] || y > rows(text)[151] {
			t.Fatalf("%v: the line is in row %d:\n%s", size, y, text)
		}
		if size[0] == 80 {
			d.golden("unread")
		}
		next := int64(151)
		for range 1400 {
			text := d.text()
			for at := rows(text); ; next++ {
				if _, there := at[next]; !there {
					break
				}
			}
			d.pass()
			if f.read["c_1"] != lowest(text) || f.read["c_1"] != next-1 {
				t.Fatalf("%v: marked %d, seen %d:\n%s", size, f.read["c_1"], next-1, text)
			}
			if next > 1400 {
				break
			}
			d.keys("pgdown")
		}
		if next != 1401 || !d.m.open.scroll.follows() || d.m.open.at != 0 {
			t.Errorf("%v: the end is at %d, %+v", size, next-1, d.m.open.scroll)
		}
		if f.pages > 20 {
			t.Errorf("%v: %d pages were asked for", size, f.pages)
		}
	}
}

// While somebody reads on the server hears of it now and then, and of the last of
// it when they leave.
func TestReadMarkIsToldNowAndThen(t *testing.T) {
	f := unread(400, 100)
	f.private("c_2", "u_2")
	f.say("c_2", "u_2", "psst")
	d := play(t, f, 80, 24)
	first := f.read["c_1"]
	d.keys("pgdown", "pgdown")
	if f.read["c_1"] != first || first < 101 {
		t.Fatalf("told %d after %d, without a pause", f.read["c_1"], first)
	}
	d.pass()
	second := lowest(d.text())
	if f.read["c_1"] != second {
		t.Fatalf("told %d, seen %d", f.read["c_1"], second)
	}
	d.keys("pgdown")
	third := lowest(d.text())
	d.keys("alt+down")
	if f.read["c_1"] != third {
		t.Fatalf("told %d, seen %d before another chat", f.read["c_1"], third)
	}
	f.state("c_1")
	f.chats[0].ReadSeq, f.chats[0].Unread = third, 400-third
	d.events(client.Event{Kind: client.ReadMoved, ChatID: "c_1", UserID: "u_1", ReadSeq: third, State: f.state("c_1")})
	d.keys("alt+up")
	if text := d.text(); newLine(text) < rows(text)[third] || newLine(text) > rows(text)[third+1] || rows(text)[third+1] == 0 {
		t.Fatalf("come back to %d, the line is elsewhere:\n%s", third, text)
	}
	d.pass()
	d.keys("pgdown")
	last := lowest(d.text())
	for _, cmd := range d.m.farewell() {
		d.do(cmd)
	}
	if f.read["c_1"] != last {
		t.Errorf("told %d, seen %d when leaving", f.read["c_1"], last)
	}
}

// What is jumped over is not read, unless somebody says so.
func TestWhatIsLeftOutIsUnread(t *testing.T) {
	f := unread(400, 100)
	d := play(t, f, 80, 24)
	seen := lowest(d.text())
	all := func(what string, want int64) {
		t.Helper()
		d.pass()
		if f.read["c_1"] != want {
			t.Fatalf("%s: read up to %d, want %d:\n%s", what, f.read["c_1"], want, d.text())
		}
	}
	all("opened", seen)
	d.do(d.m.jump(d.m.open, 300)) // as from a search
	d.send(tea.WindowSizeMsg{Width: 80, Height: 24})
	d.want("message 300.")
	all("found", seen)
	d.keys("esc", "esc")
	d.want("message 400.", "↑ 300 new", "Alt+U")
	all("at the end", seen)
	d.keys("pgup", "pgdown")
	all("up and down", seen)
	d.keys("and what do I say?", "enter")
	all("written", seen)
	d.events(f.say("c_1", "u_2", "something new"))
	all("something came", seen)
	d.keys("alt+u")
	d.want("message 101.")
	if newLine(d.text()) < 0 {
		t.Errorf("no line:\n%s", d.text())
	}
	d.keys("pgdown")
	all("read on", lowest(d.text()))
	d.keys("esc", "end")
	all("End", 401)
	d.wantNot("Alt+U")
}

// Much that comes at once does not stop who looks on.
func TestAFloodThatIsLookedAt(t *testing.T) {
	f := unread(100, 100)
	d := play(t, f, 80, 24)
	flood := func() {
		t.Helper()
		var news []client.Event
		for range 100 {
			ev := f.say("c_1", "u_2", fmt.Sprintf("message %d.", len(f.log["c_1"])+1))
			f.chats[0].Unread++
			ev.State = f.state("c_1")
			news = append(news, ev)
		}
		d.events(news...)
		d.want(fmt.Sprintf("message %d.", len(f.log["c_1"])))
	}
	flood()
	if f.read["c_1"] != 200 {
		t.Fatalf("read up to %d", f.read["c_1"])
	}
	f.chats[0].ReadSeq, f.chats[0].Unread = 200, 0
	d.events(client.Event{Kind: client.ReadMoved, ChatID: "c_1", UserID: "u_1", ReadSeq: 200, State: f.state("c_1")})

	// Nobody looks: not at the terminal, at the help, or for a long time.
	for _, absent := range []struct {
		name      string
		go_, come func()
	}{
		{"blurred", func() { d.send(tea.BlurMsg{}) }, func() { d.send(tea.FocusMsg{}) }},
		{"help", func() { d.keys("f1") }, func() { d.keys("esc") }},
		{"away", func() { f.active = nil; d.m.touched = noon.Add(-awayAfter); d.send(awayMsg{}) }, func() { d.keys("x", "backspace") }},
	} {
		read := f.read["c_1"]
		absent.go_()
		var news []client.Event
		for range 100 {
			ev := f.say("c_1", "u_2", fmt.Sprintf("message %d.", len(f.log["c_1"])+1))
			f.chats[0].Unread++
			ev.State = f.state("c_1")
			news = append(news, ev)
		}
		d.events(news...)
		absent.come()
		d.pass()
		if f.read["c_1"] != read {
			t.Fatalf("%s: read up to %d, and %d was seen:\n%s", absent.name, f.read["c_1"], read, d.text())
		}
		d.want("↑ 100 new")
		d.keys("alt+u")
		if text := d.text(); newLine(text) < rows(text)[read] || newLine(text) > rows(text)[read+1] || rows(text)[read+1] == 0 {
			t.Fatalf("%s: the line is elsewhere:\n%s", absent.name, text)
		}
		for !d.m.open.scroll.follows() {
			d.keys("pgdown")
		}
		last := int64(len(f.log["c_1"]))
		if f.read["c_1"] != last {
			t.Fatalf("%s: read up to %d of %d", absent.name, f.read["c_1"], last)
		}
		f.chats[0].ReadSeq, f.chats[0].Unread = last, 0
		d.events(client.Event{Kind: client.ReadMoved, ChatID: "c_1", UserID: "u_1", ReadSeq: last, State: f.state("c_1")})
	}
}

// The line is above what others said: one's own from elsewhere are no news.
func TestTheNewLineIsAboveOthers(t *testing.T) {
	f := unread(40, 40)
	f.say("c_1", "u_1", "said on the way")
	f.say("c_1", "u_2", "the answer to it")
	for i := range 40 {
		f.say("c_1", "u_2", fmt.Sprintf("message %d.", 43+i))
	}
	f.chats[0].Unread = 41
	f.state("c_1")
	d := play(t, f, 80, 24)
	text := d.text()
	lines := strings.Split(text, "\n")
	y := newLine(text)
	if y < 0 || !strings.Contains(lines[y+2], "the answer to it") {
		t.Fatalf("%s", text)
	}
	// A message that is higher than the screen is seen when its end is.
	f = unread(40, 40)
	f.say("c_1", "u_2", strings.Repeat("line\n", 60)+"end of it")
	f.say("c_1", "u_2", "after it")
	f.chats[0].Unread = 2
	f.state("c_1")
	d = play(t, f, 80, 24)
	if y := newLine(d.text()); y < 0 || y > 2+readAbove(24) || f.read["c_1"] != 0 {
		t.Fatalf("read up to %d:\n%s", f.read["c_1"], d.text())
	}
	for !strings.Contains(d.text(), "end of it") {
		if d.pass(); f.read["c_1"] != 0 {
			t.Fatalf("read up to %d:\n%s", f.read["c_1"], d.text())
		}
		d.keys("pgdown")
	}
	if d.pass(); f.read["c_1"] < 41 {
		t.Fatalf("read up to %d:\n%s", f.read["c_1"], d.text())
	}
}

// Who was away finds the chat that is open where what was missed begins: with what
// was kept of it at first, and by what was said since when that is told.
func TestUnreadAfterATimeAway(t *testing.T) {
	f := unread(300, 300)
	d := play(t, f, 80, 24)
	d.events(client.Event{Kind: client.ConnectionChanged, Connection: &client.Connection{Link: client.Offline}})
	for range 2 { // the second time nothing was read of the first
		events := []client.Event{{Kind: client.ConnectionChanged, Connection: &client.Connection{Link: client.Online}}}
		for range 100 {
			ev := f.say("c_1", "u_2", fmt.Sprintf("message %d.", len(f.log["c_1"])+1))
			f.chats[0].Unread++
			ev.State = f.state("c_1")
			events = append(events, ev)
		}
		d.events(append(events, client.Event{Kind: client.Synced})...)
		text := d.text()
		if y := newLine(text); y < 0 || y < rows(text)[300] || y > rows(text)[301] {
			t.Fatalf("not where it begins:\n%s", text)
		}
		if got := f.read["c_1"]; got != lowest(text) {
			t.Fatalf("read up to %d:\n%s", got, text)
		}
		d.events(client.Event{Kind: client.ConnectionChanged, Connection: &client.Connection{Link: client.Offline}})
	}
	d.keys("esc")
	d.want("message 500.", "↑ 200 new")

	// A page that cannot be had: there is the end, and it is not taken for all.
	f = unread(300, 100)
	f.asked = func() error {
		f.asked = nil
		return client.ErrOffline
	}
	f.link = client.Offline
	d = play(t, f, 80, 24)
	d.want("message 300.", "↑ 200 new")
	d.events(client.Event{Kind: client.ConnectionChanged, Connection: &client.Connection{Link: client.Online}}, client.Event{Kind: client.Synced})
	d.want("message 101.")
	if got := f.read["c_1"]; got != lowest(d.text()) {
		t.Errorf("read up to %d:\n%s", got, d.text())
	}
}

// The whole of it, with a real server: 1,100 messages are said while somebody has
// the program closed, and are read, a page at a time, when it is begun again.
func TestAThousandUnreadOfARealServer(t *testing.T) {
	s := testserver.Start(t)
	anaUser := s.User("ana")
	file := filepath.Join(t.TempDir(), "cache.db")
	begin := func() (*person, func()) {
		kept, err := cache.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		cfg := config(t, s, anaUser)
		cfg.Store = kept
		p := newPerson(t, cfg)
		p.m.tick = func(d time.Duration, f func(time.Time) tea.Msg) tea.Cmd {
			if d != markEvery {
				return nil
			}
			return func() tea.Msg { return f(time.Now()) }
		}
		return p, func() {
			p.close()
			if err := kept.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	bob := s.User("bob").Connect()
	id := bob.Group("Port")
	bob.Add(id, anaUser)
	bob.Send(id, "the first of all")
	ana, end := begin()
	ana.shows("the first of all")
	ana.until("that it is read", func(string) bool { return ana.m.open != nil && ana.m.open.Unread == 0 })
	end()

	const said = 1100
	for i := range said {
		bob.Send(id, fmt.Sprintf("message %d.", i+1))
	}
	ana, end = begin()
	ana.until("where it begins", func(text string) bool {
		y, at := newLine(text), rows(text)
		return y > 0 && at[1] > y && strings.Contains(text, "the first of all") && strings.Contains(text, "999+ new")
	})
	readSeq := func() int64 {
		var r protocol.ParticipantsListResult
		bob.Do(protocol.OpParticipantsList, protocol.ParticipantsListParams{ChatID: id}, &r)
		for _, p := range r.Participants {
			if p.Username == "ana" {
				return p.ReadSeq
			}
		}
		t.Fatal("ana is not there")
		return 0
	}
	next := int64(1)
	for next <= said {
		text := ana.text()
		for at := rows(text); at[next] > 0; next++ {
		}
		if ana.m.open.scroll.follows() && next <= said {
			t.Fatalf("message %d was not on the screen before the end:\n%s", next, text)
		}
		was := ana.text()
		ana.press(keyCodes["pgdown"])
		ana.until("more", func(text string) bool { return text != was || ana.m.open.scroll.follows() })
	}
	ana.until("that all is read", func(string) bool { return ana.m.open.Unread == 0 && !ana.m.open.Uncertain })
	if got, last := readSeq(), ana.m.open.LastSeq; got > last || got < last-1 {
		t.Errorf("the server has read up to %d of %d", got, last)
	}
	end()
}

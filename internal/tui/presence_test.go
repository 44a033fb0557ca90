package tui

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// watched is the port with people who come and go.
func watched() *fake {
	f := port()
	f.private("c_4", "u_3")
	f.presence = map[string]string{"u_2": "online", "u_3": "away"}
	f.say("c_2", "u_1", "what is it?")
	f.say("c_2", "u_1", "are you there?")
	f.say("c_1", "u_1", "who comes along?")
	f.say("c_1", "u_1", "in an hour")
	f.state("c_1")
	f.state("c_2")
	f.reads = map[string]int64{"u_2": 2, "u_3": 1}
	return f
}

func TestGoldenPresence(t *testing.T) {
	for _, size := range []struct {
		name          string
		width, height int
	}{{"normal", 80, 24}, {"narrow", 40, 20}} {
		f := watched()
		d := play(t, f, size.width, size.height)
		if d.m.narrow() {
			d.golden(size.name + "-presence-list")
			d.keys("enter")
		}
		d.events(client.Event{Kind: client.ReadMoved, ChatID: "c_1", UserID: "u_2", ReadSeq: 10, State: f.state("c_1")})
		d.golden(size.name + "-marks-group")
		d.keys("/who", "enter")
		d.golden(size.name + "-presence-who")
		d.keys("esc", "alt+down")
		d.golden(size.name + "-marks-private")
	}
}

func TestPresenceIsWatchedRenewedAndForgotten(t *testing.T) {
	f := watched()
	d := play(t, f, 80, 24)
	d.want("● Bob", "◐ 李小龍")
	if diff := cmp.Diff([]string{"u_2", "u_3"}, f.watches[len(f.watches)-1]); diff != "" {
		t.Fatalf("it watches others: %s", diff)
	}
	d.events(client.Event{Kind: client.Presence, UserID: "u_2", Status: "offline"})
	d.want("○ Bob")

	// The watch is renewed, with what changed unheard.
	n := len(f.watches)
	f.presence["u_2"] = "away"
	d.pass()
	d.want("◐ Bob")
	if len(f.watches) != n+1 {
		t.Fatalf("the watch was asked for %d times, not once more than %d", len(f.watches), n)
	}

	// Without a connection nobody is anywhere; with one they are watched again.
	d.events(client.Event{Kind: client.ConnectionChanged, Connection: &client.Connection{Link: client.Offline}})
	d.want("@ Bob")
	d.wantNot("◐")
	f.presence["u_2"] = "online"
	d.events(client.Event{Kind: client.ConnectionChanged, Connection: &client.Connection{Link: client.Online}}, client.Event{Kind: client.Synced})
	d.want("● Bob")

	// The answer to a watch of a connection that is gone comes late.
	f.presence["u_2"] = "away"
	late := d.m.askWatch(d.m.toWatch())()
	d.events(client.Event{Kind: client.ConnectionChanged, Connection: &client.Connection{Link: client.Offline}},
		client.Event{Kind: client.ConnectionChanged, Connection: &client.Connection{Link: client.Online}})
	n = len(f.watches)
	d.send(late)
	if len(f.watches) != n+1 {
		t.Error("nobody is watched on the new connection")
	}
	d.want("◐ Bob")
}

func TestAServerThatTellsNobodysPresence(t *testing.T) {
	f := watched()
	f.noPresence = &protocol.Error{Code: protocol.CodePermissionDenied, Message: "presence is switched off"}
	d := play(t, f, 80, 24)
	d.want("@ Bob")
	d.wantNot("switched off")
	n := len(f.watches)
	d.keys("alt+down", "alt+up")
	d.pass()
	if len(f.watches) != n {
		t.Errorf("it goes on asking: %d", len(f.watches))
	}
}

func TestAtMost200AreWatched(t *testing.T) {
	f := newFake()
	for i := range 400 {
		id := fmt.Sprintf("c_%d", i)
		f.private(id, fmt.Sprintf("u_%d", 100+i))
		f.say(id, "u_2", "hello")
		f.state(id)
	}
	play(t, f, 80, 24)
	if n := len(f.watches[len(f.watches)-1]); n != maxWatched {
		t.Errorf("%d are watched", n)
	}
}

func TestHidingOneself(t *testing.T) {
	d := play(t, watched(), 80, 24)
	d.keys("/presence", "enter")
	d.want("others see whether you are here")
	d.keys("/presence hide", "enter")
	d.want("others see you as offline")
	d.keys("/presence show", "enter")
	d.want("others see whether you are here")
	d.keys("/presence perhaps", "enter")
	d.want("/presence show|hide")
}

func TestAwayAfterAWhileWithoutAKey(t *testing.T) {
	f := watched()
	now := noon
	d := play(t, f, 80, 24, func(o *Options) { o.Now = func() time.Time { return now } })
	now = now.Add(awayAfter - time.Minute)
	d.keys("x")
	now = now.Add(2 * time.Minute)
	d.pass()
	if len(f.active) != 0 {
		t.Fatalf("away a minute after a key: %v", f.active)
	}
	now = now.Add(awayAfter)
	d.pass()
	d.keys("y", "z")
	if diff := cmp.Diff([]bool{false, true}, f.active); diff != "" {
		t.Fatal(diff)
	}
	now = now.Add(awayAfter)
	d.pass()
	if len(f.active) != 3 || f.active[2] {
		t.Errorf("not away again: %v", f.active)
	}
}

func TestReadMarksMove(t *testing.T) {
	f := watched()
	d := play(t, f, 80, 24)
	d.keys("alt+down")
	marked := func(message string) {
		t.Helper()
		for _, line := range strings.Split(d.text(), "\n") {
			if strings.Contains(line, "✓ read") != strings.Contains(line, message) {
				t.Fatalf("%q is not what is marked:\n%s", message, d.text())
			}
		}
	}
	marked("what is it?")
	d.events(client.Event{Kind: client.ReadMoved, ChatID: "c_2", UserID: "u_2", ReadSeq: 3, State: f.state("c_2")})
	marked("are you there?")
	// A mark that comes late does not go back.
	d.events(client.Event{Kind: client.ReadMoved, ChatID: "c_2", UserID: "u_2", ReadSeq: 2, State: f.state("c_2")})
	marked("are you there?")
	// Who answers has read: the answer says so.
	d.events(f.say("c_2", "u_2", "here I am"))
	d.wantNot("✓")
	d.events(f.say("c_2", "u_1", "at last"))
	d.wantNot("✓")
	d.events(client.Event{Kind: client.ReadMoved, ChatID: "c_2", UserID: "u_2", ReadSeq: 5, State: f.state("c_2")})
	marked("at last")
}

// In a group beyond 50 people marks are not told and would be old.
func TestNoMarksInLargeGroups(t *testing.T) {
	d := play(t, watched(), 80, 24)
	d.want("✓ all")
	for i := range maxMarked {
		d.m.in["c_1"] = append(d.m.in["c_1"], fmt.Sprintf("u_%d", 100+i))
	}
	d.keys("x")
	d.wantNot("✓")
}

// Who comes or goes while the list of people is on its way is where the events
// say: the list was read before.
func TestComingAndGoingWhileTheListLoads(t *testing.T) {
	f := watched()
	d := play(t, f, 80, 24)
	at := func(kind client.Kind, id string, seq, left int64) client.Event {
		return client.Event{Kind: kind, ChatID: "c_1", Participant: &protocol.Participant{UserID: id, Role: "member", JoinedSeq: 1, LeftSeq: left, UpdatedSeq: seq}}
	}
	f.users["u_4"] = protocol.User{UserID: "u_4", Username: "dora", Name: "Dora"}
	overtaken := d.m.askMembers(d.m.open)
	f.listing = func() {
		f.listing = nil
		d.events(at(client.ParticipantAdded, "u_4", 90, 0), at(client.ParticipantRemoved, "u_3", 91, 91))
	}
	d.keys("/who", "enter")
	d.want("In Port: 3 people", "Dora", "Bob")
	who := func() string { return strings.Join(slices.Sorted(slices.Values(d.m.people.in["c_1"])), " ") }
	if got := who(); got != "u_1 u_2 u_4" {
		t.Fatalf("in it are %s", got)
	}
	// What was asked before that counts for nothing, however late its answer comes.
	d.do(overtaken)
	if got := who(); got != "u_1 u_2 u_4" {
		t.Fatalf("after the answer that was overtaken in it are %s", got)
	}
	// Nor does what was told before a time away, of which nothing is told.
	f.listing = func() {
		f.listing = nil
		d.events(at(client.ParticipantAdded, "u_4", 95, 0), client.Event{Kind: client.Skipped, ChatID: "c_1", Seq: f.state("c_1").Pos, State: f.state("c_1")})
	}
	d.do(d.m.askMembers(d.m.open))
	if got := who(); got != "u_1 u_2 u_3" {
		t.Fatalf("after a time away in it are %s", got)
	}
}

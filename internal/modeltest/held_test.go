package modeltest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Here all orders are played in which one chat, its user's comings and goings,
// their connections and the answers to them can meet, as far as few of each go:
// docs/protocol.md#held, and what comes of it without.

// rule is what a client does with events of chats that it does not hold.
type rule struct {
	early  bool // it asks about them before its sync is through
	keeps  bool // and what came of it when it began without a cursor, it keeps
	trusts bool // it asks nothing: who heard of a chat is in it
	waits  bool // it takes an answer that it asked for before a page named the chat
	leaves bool // it drops a chat whose user is told to be out, although they are in again
}

// small is a world with one chat. Positions in the chat and in the cursor are
// the same numbers: changes, from 1 on.
type small struct {
	log  string // by change: j, their user came in; l, they are out; m, a message
	link int    // connections begun

	// The present connection; live: there is one.
	live    bool
	told    int    // up to where its events are told
	wire    []item // what the client has yet to read
	syncs   int    // asked for on it
	syncing bool   // one is under way
	taken   int    // its snapshot; -1: not yet
	since   int    // its cursor; -1: none

	// The client.
	cursor  int // -1: none
	through bool
	noted   bool
	held    bool
	joined  int // of what is held, where the membership begins
	pos     int // and up to where it is told
	asked   bool
	seen    int // the snapshot of what it asked for; -1: none yet
}

// item is an event or, if it is one, a page.
type item struct {
	page  bool
	at    int  // its number, or the page's snapshot
	named byte // on the page: j, joined; l, left; 0: not there
	last  int  // with l: where it ended
	kind  byte // of the event
}

func (w *small) in(at int) bool {
	return strings.LastIndexByte(w.log[:at], 'j') > strings.LastIndexByte(w.log[:at], 'l')
}

func (w *small) key() string { return fmt.Sprintf("%+v", *w) }

func (w *small) but(change func(w *small)) *small {
	next := *w
	next.wire = slices.Clone(w.wire)
	change(&next)
	return &next
}

// connect begins a connection, which may hear of late changes from before it.
func (w *small) connect(r rule, late int) {
	w.link++
	w.live, w.told, w.wire, w.syncs = true, max(0, len(w.log)-late), nil, 0
	w.through, w.noted, w.asked, w.seen = false, false, false, -1
	if w.cursor < 0 && !r.keeps {
		w.held = false
	}
	w.sync()
}

func (w *small) sync() { w.syncs, w.syncing, w.taken, w.since = w.syncs+1, true, -1, w.cursor }

// answer puts the page of the snapshot on the wire, by what has been told.
func (w *small) answer() {
	p := item{page: true, at: w.taken}
	switch changed := w.since < w.taken; {
	case w.in(w.taken) && (w.since < 0 || changed):
		p.named = 'j'
	case w.since >= 0 && strings.ContainsRune(w.log[w.since:w.taken], 'l'):
		p.named, p.last = 'l', strings.LastIndexByte(w.log[:w.taken], 'l')+1
	}
	w.wire, w.syncing = append(w.wire, p), false
}

// tell tells the next change, to who was in before it or came in with it.
func (w *small) tell() {
	kind := w.log[w.told]
	w.told++
	w.wire = append(w.wire, item{at: w.told, kind: kind})
}

// read has the client read what is next.
func (w *small) read(r rule) {
	it := w.wire[0]
	w.wire = w.wire[1:]
	switch {
	case it.page && it.named == 'j':
		w.hold(it.at)
		if !r.waits {
			w.asked, w.seen = false, -1
		}
	case it.page && it.named == 'l':
		w.held = w.held && w.joined > it.last
		w.asked, w.seen = false, -1
	case !it.page && w.held && (it.at <= w.pos || it.kind == 'l' && it.at < w.joined) && (it.kind != 'l' || !r.leaves):
	case it.kind == 'l':
		w.held, w.noted, w.asked, w.seen = false, false, false, -1
	case !it.page && w.held:
		w.pos = it.at
	case !it.page && r.trusts:
		w.hold(it.at)
		w.pos = it.at
	case !it.page && (w.through || r.early):
		if !w.asked {
			w.asked, w.seen = true, -1
		}
	case !it.page:
		w.noted = true
	}
	if it.page {
		w.cursor, w.through = it.at, true
		if w.noted && !w.held && !w.asked {
			w.asked, w.seen = true, -1
		}
		w.noted = false
	}
}

// hold takes a state that a snapshot showed. Rows are fetched from where the
// membership is another one.
func (w *small) hold(at int) {
	if joined := strings.LastIndexByte(w.log[:at], 'j') + 1; !w.held || joined > w.joined {
		w.held, w.joined, w.pos = true, joined, 0
	}
}

// hear takes the answer to what was asked.
func (w *small) hear() {
	if w.in(w.seen) {
		w.hold(w.seen)
		w.pos = max(w.pos, w.seen)
	} else {
		w.held = false
	}
	w.asked, w.seen = false, -1
}

// settled is the client after it has come back in peace.
func (w *small) settled(r rule) *small {
	return w.but(func(w *small) {
		w.connect(r, 0)
		w.taken = len(w.log)
		w.answer()
		w.read(r)
		if w.asked {
			w.seen = len(w.log)
			w.hear()
		}
	})
}

// next gives every way on.
func (w *small) next(r rule, changes, links int) (list []*small, how []string) {
	may := func(ok bool, what string, change func(w *small)) {
		if ok {
			list, how = append(list, w.but(change)), append(how, what)
		}
	}
	room := len(w.log) < changes
	in := w.in(len(w.log))
	may(room && !in, "comes in", func(w *small) { w.log += "j" })
	may(room && in, "leaves", func(w *small) { w.log += "l" })
	may(room && in, "a message", func(w *small) { w.log += "m" })
	for late := range 2 {
		may(!w.live && w.link < links && late <= len(w.log), fmt.Sprint("connects, late by ", late), func(w *small) { w.connect(r, late) })
	}
	may(w.live, "cut off", func(w *small) { w.live, w.wire, w.syncing, w.asked, w.noted = false, nil, false, false, false })
	may(w.live && w.told < len(w.log), "told", (*small).tell)
	may(w.live && w.syncing && w.taken < 0, "snapshot", func(w *small) { w.taken = len(w.log) })
	may(w.live && w.syncing && w.taken >= 0, "page", (*small).answer)
	may(w.live && len(w.wire) > 0, "reads", func(w *small) { w.read(r) })
	may(w.live && w.asked && w.seen < 0, "asked", func(w *small) { w.seen = len(w.log) })
	may(w.live && w.asked && w.seen >= 0, "answered", (*small).hear)
	may(w.live && w.through && !w.syncing && w.syncs < 2, "syncs again", (*small).sync)
	return list, how
}

// play plays all orders. It gives the first, of the shortest, after which a
// client that comes back holds a chat it is out of, or does not hold one that it
// is in.
func play(r rule, changes, links int) (wrong []string, states int) {
	type way struct {
		from string
		how  string
	}
	start := &small{cursor: -1, seen: -1}
	seen := map[string]way{start.key(): {}}
	for front := []*small{start}; len(front) > 0; {
		var beyond []*small
		for _, w := range front {
			if s := w.settled(r); s.held != s.in(len(s.log)) {
				for k := w.key(); seen[k].how != ""; k = seen[k].from {
					wrong = append(wrong, seen[k].how)
				}
				slices.Reverse(wrong)
				return append(wrong, fmt.Sprintf("comes back; holds it: %v", s.held)), len(seen)
			}
			list, how := w.next(r, changes, links)
			for i, n := range list {
				k := n.key()
				if _, there := seen[k]; !there {
					seen[k] = way{w.key(), how[i]}
					beyond = append(beyond, n)
				}
			}
		}
		front = beyond
	}
	return nil, len(seen)
}

func TestHeld(t *testing.T) {
	for _, tt := range []struct {
		name string
		rule
		wrong bool
	}{
		{"as docs/protocol.md says", rule{}, false},
		{"asks at once", rule{early: true}, true},
		{"asks at once, and keeps what it was told without a cursor", rule{early: true, keeps: true}, true},
		{"believes events", rule{trusts: true}, true},
		{"believes old answers", rule{waits: true}, true},
		{"believes old removals", rule{leaves: true}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changes := 5
			if underRace {
				changes = 4
			}
			wrong, states := play(tt.rule, changes, 2)
			if (wrong != nil) != tt.wrong {
				t.Errorf("of %d states: %s", states, strings.Join(wrong, ", "))
			}
			t.Logf("%d states: %s", states, strings.Join(wrong, ", "))
		})
	}
}

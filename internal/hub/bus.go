package hub

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// Bus carries news between the hubs of the nodes that share a store. It rings
// the bell and no more: whatever it carries may be lost, doubled, late, out of
// order or made up, and a hub believes none of it that the store can tell
// better. Its methods may be called from any goroutine.
type Bus interface {
	// Subscribe has receive called with each payload of these kinds that other
	// nodes publish, and missed when some may not have come, as after a
	// connection was lost. Neither may block for long or keep the payload; both
	// may be called from several goroutines, and end with the Bus's own end. It
	// is called once.
	Subscribe(kinds []Kind, receive func(Kind, []byte), missed func()) error
	// Publish gives a payload of at most MaxPayload bytes to the other nodes. It
	// may wait for a moment. An error means that they hear nothing of it.
	Publish(kind Kind, payload []byte) error
}

// Kind says what a payload is about. It is a word of lower-case letters.
type Kind = string

// The kinds.
const (
	Hints    Kind = "hints"    // up to where chats have got, and who came in
	Ended    Kind = "ended"    // sessions
	Marks    Kind = "marks"    // of what people have read
	Typing   Kind = "typing"   // who is
	People   Kind = "people"   // whose row changed
	Presence Kind = "presence" // who is connected to which node, as a lease
	Look     Kind = "look"     // the store may have news that nobody told of
)

// Kinds are all of them.
var Kinds = []Kind{Hints, Ended, Marks, Typing, People, Presence, Look}

// MaxPayload is what goes into one payload.
const MaxPayload = 32 << 10

const (
	// maxTold bounds what waits for the bus: chats, marks, sessions. If there is
	// more, the bus is too slow for hints, and the others are told to look.
	maxTold = 1 << 16
	// maxEntered is how many newcomers of one chat are named.
	maxEntered = 1000
)

// telling is what the other nodes are yet to be told. It is guarded by hub.mu.
type telling struct {
	hints    map[chat.ChatID]hint
	ended    []chat.SessionID
	marks    map[chat.Place]int64
	typing   []typingNote
	people   map[chat.UserID]struct{} // whose rows changed
	presence map[chat.UserID]struct{}
	ask      map[nodeID]struct{} // for their people
	tell     bool                // everybody of ours
	beat     bool
	look     bool
	flushing bool
}

// hint says that a chat has got up to seq, and who came in on the way.
type hint struct {
	chat    chat.ChatID
	seq     int64
	entered []chat.UserID
}

// mark says that somebody has read up to seq; 0: they did not read on, and it is
// for nobody but themselves to hear where they stand.
type mark struct {
	chat.Place

	seq int64
}

type typingNote struct {
	chat.Place

	stop bool
}

// shared reports whether there are other nodes to tell.
func (h *Hub) shared() bool { return h.cfg.Bus != nil }

// hintOthersLocked tells the other nodes of what was committed here.
func (h *Hub) hintOthersLocked(e chat.Event) {
	t := &h.telling
	if t.hints == nil {
		t.hints = make(map[chat.ChatID]hint)
	}
	n, known := t.hints[e.Chat]
	if !known && len(t.hints) == maxTold {
		h.lookOthersLocked()
		return
	}
	n.chat, n.seq = e.Chat, max(n.seq, e.Seq)
	if e.Kind == chat.ChatCreated || e.Kind == chat.ParticipantAdded {
		if len(n.entered) == maxEntered {
			t.look = true
		} else {
			n.entered = append(n.entered, e.Participant.User)
		}
	}
	t.hints[e.Chat] = n
	h.tellOthersLocked()
}

// lookOthersLocked has the other nodes look for what they are not told of.
func (h *Hub) lookOthersLocked() {
	h.telling.look = true
	h.tellOthersLocked()
}

// tellOthersLocked has a goroutine tell the other nodes what there is. What
// comes while it does goes into its next payloads.
func (h *Hub) tellOthersLocked() {
	if !h.telling.flushing && !h.closed {
		h.telling.flushing = true
		h.goLocked(h.tellOthers)
	}
}

func (h *Hub) tellOthers() {
	for {
		h.mu.Lock()
		t := h.telling
		h.telling = telling{flushing: true}
		if t.empty() {
			h.telling.flushing = false
			h.mu.Unlock()
			return
		}
		payloads := h.presencePayloadsLocked(&t)
		h.mu.Unlock()

		hints := make([]hint, 0, len(t.hints))
		for _, n := range t.hints {
			hints = append(hints, n)
		}
		marks := make([]mark, 0, len(t.marks))
		for place, seq := range t.marks {
			marks = append(marks, mark{place, seq})
		}
		payloads = slices.Concat(
			encodeAll(Ended, t.ended, (*payload).session), encodeAll(Hints, hints, (*payload).hint),
			encodeAll(Marks, marks, (*payload).mark), encodeAll(Typing, t.typing, (*payload).typing),
			encodeAll(People, slices.Collect(maps.Keys(t.people)), (*payload).user), payloads,
		)
		if t.look {
			payloads = append(payloads, newPayload(Look))
		}
		for _, p := range payloads {
			if err := h.cfg.Bus.Publish(p.kind, p.b); err != nil {
				h.stats.bus.failed.Add(1)
				continue // they find it in the store, or with the next beat
			}
			h.stats.bus.sent.Add(1)
		}
	}
}

func (t *telling) empty() bool {
	return len(t.hints)+len(t.ended)+len(t.marks)+len(t.typing)+len(t.people)+len(t.presence) == 0 &&
		len(t.ask) == 0 && !t.tell && !t.beat && !t.look
}

// Join begins to listen to the other nodes; without a Bus it does nothing. It
// has to come before the first connection, and is for once.
func (h *Hub) Join() error {
	if !h.shared() {
		return nil
	}
	kinds := Kinds
	if h.cfg.Deaf {
		kinds = []Kind{Ended, Presence, Look}
	}
	if err := h.cfg.Bus.Subscribe(kinds, h.receive, h.missed); err != nil {
		return fmt.Errorf("listening to the other nodes: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.telling.beat = true
	h.askLocked(everybody, h.cfg.Now())
	h.tellOthersLocked()
	h.nodes.timer = time.AfterFunc(h.cfg.Lease/3, h.begin(h.beat))
	return nil
}

// missed looks for what the bus did not bring, and has the others do the same:
// what we told them may be lost, too.
func (h *Hub) missed() {
	h.stats.bus.missed.Add(1)
	h.mu.Lock()
	h.telling.look, h.telling.tell = true, true
	h.askLocked(everybody, h.cfg.Now())
	h.tellOthersLocked()
	h.mu.Unlock()
	h.lookAround(true)
}

// lookAround looks for everything that hints did not tell of: now, or if that
// is asked for too often, with the next scan.
func (h *Hub) lookAround(now bool) {
	h.mu.Lock()
	at := h.cfg.Now()
	now = now || at.Sub(h.lookedAround) >= h.cfg.Scan
	if now {
		h.lookedAround = at
	}
	h.scans.again, h.scans.now = true, true
	if now && h.scans.timer != nil {
		h.scans.timer.Reset(0)
	}
	h.checkSessionsLocked(now)
	h.mu.Unlock()
}

// receive takes what another node has published, or somebody else. Whatever of
// it is not as it should be makes all of it garbage.
func (h *Hub) receive(kind Kind, b []byte) {
	d := newDecoder(b)
	switch kind {
	case Hints:
		list := decodeAll(d, (*decoder).hint)
		if d.good() {
			h.hinted(list)
		}
	case Ended:
		list := decodeAll(d, (*decoder).session)
		if d.good() {
			h.heardOfEnded(list)
		}
	case Marks:
		list := decodeAll(d, (*decoder).mark)
		if d.good() {
			h.heardOfMarks(list)
		}
	case Typing:
		list := decodeAll(d, (*decoder).typing)
		if d.good() {
			for _, n := range list {
				h.typingElsewhere(n)
			}
		}
	case People:
		list := decodeAll(d, (*decoder).user)
		if d.good() {
			h.heardOfPeople(list)
		}
	case Presence:
		if said := d.presence(); d.good() {
			h.heardFromNode(said)
		}
	case Look:
		if d.good() {
			h.lookAround(false)
		}
	default:
		d.fail()
	}
	h.stats.bus.received.Add(1)
	if !d.good() {
		h.stats.bus.garbage.Add(1)
	}
}

// hinted hears how far chats have got. That is looked up where it matters: how
// far a room is told is what the store says and not what anybody else does.
func (h *Hub) hinted(list []hint) {
	const atOnce = 256 // with the lock held
	for some := range slices.Chunk(list, atOnce) {
		h.mu.Lock()
		for _, n := range some {
			h.hintedLocked(n)
		}
		h.mu.Unlock()
	}
	h.stats.bus.hints.Add(int64(len(list)))
}

func (h *Hub) hintedLocked(n hint) {
	if r := h.rooms[n.chat]; r != nil {
		if n.seq > r.emitted && n.seq > r.wanted {
			r.wanted = n.seq
			h.stats.bus.useful.Add(1)
			h.flushLocked(r)
		}
		return
	}
	if len(h.loading) > 0 {
		// Somebody may have read before this that they are in, and have no room
		// yet: it is to know then.
		if h.before == nil {
			h.before = make(map[chat.ChatID]int64)
		}
		if len(h.before) < maxTold {
			h.before[n.chat] = max(h.before[n.chat], n.seq)
		} else {
			h.scans.again = true
		}
	}
	for _, user := range n.entered {
		for c := range h.users.of(int64(user)) {
			if c.route(n.chat) == nil {
				h.lookLocked(chat.Place{Chat: n.chat, User: user}, membership)
			}
		}
	}
}

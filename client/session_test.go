package client

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/grima-chat/grima/protocol"
)

// TestResume is I7, I9 and I17 of docs/protocol.md#invariants for the session:
// whatever happened in the world, wherever connections were cut, whatever came
// twice or crossed, and however slowly the application read, it is told every
// change of every chat once and in order, and ends up with what a full read
// gives. What it sends is there once.
func TestResume(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { newPlay(t).run() })
}

// play is a run of TestResume.
type play struct {
	t       *rapid.T
	world   *world
	backup  *world // what can be restored
	epochs  int
	cfg     Config
	now     time.Time
	s       *Session
	wire    *wire
	up      []byte // what the client wrote and the server has yet to hear
	app     *follower
	drafts  map[string]Draft
	settled map[string]Item
	said    int
	pages   map[uint64]protocol.MessagesListParams
	joins   map[uint64]int64 // per page: of which membership it was asked
}

func newPlay(t *rapid.T) *play {
	p := &play{
		t: t, world: newWorld(t), now: time.Unix(1e9, 0),
		cfg: Config{
			Token: "gt_x", Buffer: minBuffer, Timeline: 2,
			Lazy:       rapid.Bool().Draw(t, "lazy"),
			MaxCatchUp: rapid.SampledFrom([]int64{0, 0, 8}).Draw(t, "maxCatchUp"),
		},
		app: newFollower(t), drafts: map[string]Draft{}, settled: map[string]Item{},
		pages: map[uint64]protocol.MessagesListParams{}, joins: map[uint64]int64{},
	}
	p.world.page = rapid.SampledFrom([]int{0, 1, 2, 5}).Draw(t, "page")
	p.world.create("c_1", true)
	p.world.create("c_2", false)
	p.backup = p.world.clone()
	p.open(State{})
	return p
}

func (p *play) open(st State) {
	p.s = NewSession(p.cfg, st)
	p.s.jitter = func(d time.Duration) time.Duration { return d / 2 }
	clear(p.pages)
}

func (p *play) run() {
	steps := rapid.IntRange(1, 120).Draw(p.t, "steps")
	for range steps {
		p.step()
	}
	p.settle()
	p.check()
}

// step does one random thing.
func (p *play) step() {
	w := p.world
	switch n := rapid.IntRange(0, 99).Draw(p.t, "step"); {
	case n < 34:
		p.happen()
	case n < 50:
		p.deliver(rapid.IntRange(1, 8).Draw(p.t, "lines"))
	case n < 62:
		p.take(rapid.IntRange(1, 40).Draw(p.t, "take"))
	case n < 68:
		if p.wire == nil {
			p.connect()
		}
	case n < 72:
		p.cut()
	case n < 76:
		p.said++
		d := Draft{ID: fmt.Sprintf("m%d", p.said), ChatID: p.chat().row.ChatID, Content: rapid.SampledFrom([]string{"hey", "busy"}).Draw(p.t, "content") + fmt.Sprint(p.said)}
		it, err := p.s.Draft(p.now, d)
		p.must(err)
		p.app.outbox = append(p.app.outbox, it)
		p.drafts[d.ID] = d
		p.must(p.s.Queue(p.now, it))
	case n < 80:
		p.now = p.now.Add(time.Duration(rapid.IntRange(1, 400).Draw(p.t, "seconds")) * time.Second)
		if p.wire != nil {
			if err := p.s.Tick(p.now); err != nil {
				p.lost(err)
			}
		}
	case n < 83:
		p.swap()
	case n < 85:
		p.double()
	case n < 88:
		p.page()
	case n < 91:
		if c, ok := p.s.Chat(p.chat().row.ChatID); ok && c.LastSeq > 0 {
			p.s.MarkRead(p.now, c.ChatID, rapid.Int64Range(1, c.LastSeq).Draw(p.t, "mark"))
		}
	case n < 93:
		p.s.Focus(p.now, p.chat().row.ChatID)
	case n < 95:
		// Another process goes on from what was kept.
		p.cut()
		p.open(p.app.state())
	case n < 96:
		p.backup = w.clone()
	case n < 98:
		p.cut()
		b := p.backup.clone()
		p.epochs++
		b.epoch = fmt.Sprintf("b%d", p.epochs)
		for id := range p.drafts {
			if _, ok := b.sent[id]; !ok {
				delete(p.settled, id) // it may be sent, and gone
			}
		}
		p.world = b
	}
}

func (p *play) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *play) chat() *room {
	ids := make([]string, 0, len(p.world.chats))
	for id := range p.world.chats {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return p.world.chats[rapid.SampledFrom(ids).Draw(p.t, "chat")]
}

// happen lets something happen in the world.
func (p *play) happen() {
	w, r := p.world, p.chat()
	n := rapid.IntRange(0, 19).Draw(p.t, "what")
	switch {
	case n < 8:
		w.post(r, "u_2", fmt.Sprint("hi ", w.stamp))
	case n < 11:
		if len(r.msgs) > 0 {
			w.edit(r, rapid.IntRange(0, len(r.msgs)-1).Draw(p.t, "message"), rapid.SampledFrom([]string{"", "other", "words"}).Draw(p.t, "edit"))
		}
	case n < 12:
		w.add(r, "u_3")
	case n < 13:
		w.remove(r, "u_3")
	case n < 15:
		w.add(r, me)
	case n < 16:
		w.remove(r, me)
	case n < 17:
		w.rename(r, fmt.Sprint("title ", w.stamp))
	case n < 18:
		w.gap(r)
	case n < 19:
		w.unknown(r)
	case len(w.chats) < 6:
		w.create(fmt.Sprintf("c_%d", len(w.chats)+1), rapid.Bool().Draw(p.t, "mine"))
	}
}

func (p *play) connect() {
	p.wire = p.world.connect()
	p.s.Connected(p.now)
}

// cut ends the connection: of what was on its way, in both directions, nothing
// arrives; of the client's lines, perhaps some.
func (p *play) cut() {
	if p.wire == nil {
		return
	}
	p.up = p.s.Output(p.up)
	p.hear(rapid.IntRange(0, bytes.Count(p.up, []byte("\n"))).Draw(p.t, "heard"))
	p.lost(errors.New("cut"))
}

func (p *play) lost(err error) {
	p.world.conn, p.wire, p.up = nil, nil, nil
	p.s.Lost(p.now, err)
	if err := p.s.Stopped(); err != nil {
		p.t.Fatalf("the session stopped: %v", err)
	}
	clear(p.pages)
	p.s.Answers()
}

// hear lets the server hear n lines.
func (p *play) hear(n int) {
	for range n {
		line, rest, _ := bytes.Cut(p.up, []byte("\n"))
		p.up = rest
		p.world.hear(line)
	}
}

// deliver lets the server hear everything, and the client n lines.
func (p *play) deliver(n int) {
	for range n {
		if p.wire == nil {
			return
		}
		p.up = p.s.Output(p.up)
		p.hear(bytes.Count(p.up, []byte("\n")))
		if len(p.wire.lines) == 0 {
			return
		}
		line := p.wire.lines[0]
		p.wire.lines = p.wire.lines[1:]
		if err := p.s.Line(p.now, []byte(line)); err != nil {
			p.t.Fatalf("%v\nat %s", err, line)
		}
		p.answers()
	}
}

func (p *play) answers() {
	for _, a := range p.s.Answers() {
		asked, ok := p.pages[a.Ask]
		if !ok {
			p.t.Fatalf("an answer to %d, which was not asked", a.Ask)
		}
		delete(p.pages, a.Ask)
		var page protocol.MessagesListResult
		if a.Err == nil {
			p.must(json.Unmarshal(a.Result, &page))
			p.app.page(asked, page, p.joins[a.Ask])
		}
	}
	for _, it := range p.s.Settled() {
		p.settled[it.ID] = it
	}
}

// take lets the application take n events.
func (p *play) take(n int) {
	for _, ev := range p.s.Take(n) {
		p.app.apply(ev)
	}
	if p.wire != nil {
		p.must(p.s.Tick(p.now))
	}
}

// swap lets an answer and what is beside it arrive the other way round.
func (p *play) swap() {
	if p.wire == nil || !p.wire.subscribed || len(p.wire.lines) < 2 {
		return
	}
	i := rapid.IntRange(0, len(p.wire.lines)-2).Draw(p.t, "swap")
	a, b := p.wire.lines[i], p.wire.lines[i+1]
	isAnswer := func(s string) bool { return strings.Contains(s, `"op":`) && !strings.Contains(s, "session.start") }
	if (isAnswer(a) || isAnswer(b)) && !strings.Contains(a+b, "session.start") && !strings.Contains(a+b, "Hello") {
		p.wire.lines[i], p.wire.lines[i+1] = b, a
	}
}

// double lets an event arrive twice.
func (p *play) double() {
	if p.wire == nil {
		return
	}
	for i, line := range p.wire.lines {
		// A coming or going of one's own is no change of a row that one may be
		// told late: the chat is another one then.
		if strings.Contains(line, `"seq":`) && !strings.Contains(line, `"op":`) && !strings.Contains(line, "participant.") {
			j := rapid.IntRange(i, len(p.wire.lines)-1).Draw(p.t, "again")
			p.wire.lines = slices.Insert(p.wire.lines, j+1, line)
			return
		}
	}
}

// page asks for a page of history.
func (p *play) page() {
	id := p.chat().row.ChatID
	c, ok := p.s.Chat(id)
	if !ok || p.app.chats[id] == nil || p.app.chats[id].st.JoinedSeq != c.JoinedSeq {
		return
	}
	params := protocol.MessagesListParams{ChatID: id, Limit: rapid.Int64Range(1, 4).Draw(p.t, "limit")}
	seq := rapid.Int64Range(1, max(c.LastSeq, 1)).Draw(p.t, "at")
	switch rapid.IntRange(0, 3).Draw(p.t, "anchor") {
	case 0:
		params.Before = &seq
	case 1:
		params.After = &seq
	case 2:
		params.Around = &seq
	}
	raw, err := json.Marshal(params)
	p.must(err)
	ask, err := p.s.Ask(p.now, protocol.OpMessagesList, raw)
	if errors.Is(err, ErrOffline) {
		return
	}
	p.must(err)
	p.pages[ask], p.joins[ask] = params, c.JoinedSeq
}

// settle lets everything come to rest.
func (p *play) settle() {
	if p.wire == nil {
		p.connect()
	}
	for round := 0; ; round++ {
		if round > 2000 {
			p.t.Fatalf("it does not come to rest: %+v", p.s.work)
		}
		p.deliver(1000)
		p.take(1000)
		var all []string
		for _, c := range p.s.Chats() {
			all = append(all, c.ChatID)
		}
		slices.Sort(all)
		if p.cfg.Lazy && !slices.Equal(all, p.s.focus) {
			p.s.Focus(p.now, all...) // nothing is too lazy now
			p.must(p.s.Tick(p.now))
		}
		p.up = p.s.Output(p.up)
		if len(p.up) > 0 || len(p.wire.lines) > 0 || p.s.Waiting() > 0 {
			continue
		}
		idle := len(p.s.asks) == 0 && len(p.s.Outbox()) == p.failed()
		if idle && p.s.Connection().Link == Online && len(p.s.work) == 0 {
			return
		}
		p.now = p.now.Add(10 * time.Second)
		p.s.Progress(p.now)
		p.must(p.s.Tick(p.now))
	}
}

func (p *play) failed() (n int) {
	for _, it := range p.s.Outbox() {
		if it.Progress == Failed {
			n++
		}
	}
	return n
}

// check compares what the application has with a full read.
func (p *play) check() {
	t := p.t
	if len(p.world.bad) > 0 {
		t.Fatalf("the client asked for nonsense: %q", p.world.bad)
	}
	for id, r := range p.world.chats {
		c := p.app.chats[id]
		if (c != nil) != r.in {
			t.Fatalf("%s: the user is in it: %v; the application has it: %v", id, r.in, c != nil)
		}
		if c == nil {
			continue
		}
		want := p.world.state(r, 1)
		if c.pos != r.last || c.st.LastSeq != r.last {
			t.Fatalf("%s is at %d of %d, and told as %d", id, c.pos, r.last, c.st.LastSeq)
		}
		if diff := cmp.Diff(want, c.st.ChatState, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(protocol.ChatState{}, "Membership", "Messages")); diff != "" {
			t.Fatalf("%s (-full read +told):\n%s", id, diff)
		}
		for _, m := range r.msgs {
			got, held := c.rows[m.Seq]
			if m.UpdatedSeq > c.base && !held {
				t.Fatalf("%s: nothing was told of %+v", id, m)
			}
			if held && !cmp.Equal(m, got, cmpopts.EquateEmpty()) {
				t.Fatalf("%s: want %+v, got %+v", id, m, got)
			}
		}
		for _, m := range r.members {
			if got := c.people[m.UserID]; m.UpdatedSeq > c.base && got != m {
				t.Fatalf("%s: want %+v, got %+v", id, m, got)
			}
		}
		c.timeline.tidy()
		var want2, got []protocol.Message
		for _, m := range r.msgs {
			if c.timeline.held.Has(m.Seq) {
				want2 = append(want2, m)
			}
		}
		for _, h := range c.timeline.Held() {
			got = append(got, c.timeline.Messages(h.From)...)
		}
		if diff := cmp.Diff(want2, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s: the timeline with %v (-full read +held):\n%s", id, c.timeline.held, diff)
		}
	}
	// Every draft is there once, or failed; or the world forgot it.
	for id, d := range p.drafts {
		n := 0
		for _, r := range p.world.chats {
			for _, m := range r.msgs {
				if m.SenderID == me && m.Content == d.Content && !m.Deleted && m.EditedAt == "" {
					n++
				}
			}
		}
		it, ok := p.settled[id]
		switch {
		case n > 1:
			t.Fatalf("%+v is there %d times", d, n)
		case ok && it.Progress == Sent:
			was, is := p.world.sent[id]
			if is && was.Seq != it.Seq {
				t.Fatalf("%+v is at %d, and was told to be at %d", d, was.Seq, it.Seq)
			}
		}
	}
	for _, it := range p.app.outbox {
		if it.Progress != Failed {
			t.Fatalf("the outbox has kept %+v", it)
		}
	}
}

// follower is an application, and a Store: it believes what it is told.
type follower struct {
	t      *rapid.T
	chats  map[string]*followed
	outbox []Item
	st     State
}

type followed struct {
	st       Chat
	base     int64 // everything after it was told
	pos      int64
	rows     map[int64]protocol.Message
	people   map[string]protocol.Participant
	timeline Timeline
	told     map[int64]bool // messages that were told as created
}

func newFollower(t *rapid.T) *follower { return &follower{t: t, chats: map[string]*followed{}} }

func (f *follower) state() State {
	st := f.st
	for _, c := range f.chats {
		st.Chats = append(st.Chats, c.st)
	}
	st.Outbox = slices.Clone(f.outbox)
	return st
}

func (f *follower) page(asked protocol.MessagesListParams, page protocol.MessagesListResult, joined int64) {
	c := f.chats[asked.ChatID]
	if c == nil || c.st.JoinedSeq != joined {
		return
	}
	if err := c.timeline.ApplyPage(asked, page); err != nil && !errors.Is(err, ErrStalePage) {
		f.t.Fatal(err)
	}
}

func (f *follower) apply(ev Event) {
	t := f.t
	c := f.chats[ev.ChatID]
	if c != nil {
		c.timeline.Apply(ev)
	}
	switch ev.Kind {
	case Reset:
		f.chats = map[string]*followed{}
		f.st = State{UserID: me, Epoch: ev.Epoch}
		return
	case CursorMoved:
		f.st = State{UserID: me, Epoch: ev.Epoch, Cursor: ev.Cursor, Complete: ev.Complete}
		return
	case OutboxChanged:
		i := slices.IndexFunc(f.outbox, func(it Item) bool { return it.ID == ev.Outbox.ID })
		switch {
		case i < 0 && ev.Outbox.Progress != Sent:
			t.Fatalf("of an item that nobody queued: %+v", ev.Outbox)
		case i < 0:
		case ev.Outbox.Progress == Sent:
			f.outbox = slices.Delete(f.outbox, i, i+1)
		default:
			f.outbox[i] = *ev.Outbox
		}
		return
	case ConnectionChanged, Synced:
		return
	case ChatAdded:
		if c != nil {
			t.Fatalf("%s is added twice", ev.ChatID)
		}
		c = &followed{base: ev.State.Pos, pos: ev.State.Pos, rows: map[int64]protocol.Message{}, people: map[string]protocol.Participant{}, told: map[int64]bool{}}
		c.timeline.Apply(ev)
		f.chats[ev.ChatID] = c
	case ChatRemoved:
		if c == nil {
			t.Fatalf("%s is removed, and was not there", ev.ChatID)
		}
		delete(f.chats, ev.ChatID)
		return
	}
	if c == nil {
		t.Fatalf("%+v of a chat that is not there", ev)
	}
	if ev.State == nil {
		t.Fatalf("%+v has no State", ev)
	}
	c.st = *ev.State
	if ev.Seq == 0 {
		return
	}
	if ev.PrevSeq != c.pos || ev.Seq <= c.pos || ev.State.Pos != ev.Seq {
		t.Fatalf("%+v does not follow position %d", ev, c.pos)
	}
	c.pos = ev.Seq
	if ev.Kind == Skipped {
		c.base = ev.Seq
		clear(c.rows)
		clear(c.people)
		return
	}
	if p := ev.Participant; p != nil {
		c.people[p.UserID] = *p
	}
	m := ev.Message
	if m == nil {
		return
	}
	if was, ok := c.rows[m.Seq]; ok && was.UpdatedSeq >= m.UpdatedSeq {
		t.Fatalf("%+v is told after %+v", m, was)
	}
	c.rows[m.Seq] = *m
	switch {
	case ev.Kind == MessageCreated && (c.told[m.Seq] || m.Seq <= c.base):
		t.Fatalf("%+v is told as new again", m)
	case ev.Kind == MessageUpdated && !c.told[m.Seq] && m.Seq > c.base:
		t.Fatalf("%+v is told as changed, and was never told", m)
	}
	c.told[m.Seq] = true
}

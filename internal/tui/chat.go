package tui

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// pageSize is how many messages are asked for at once, ahead is how many that are
// not seen yet are held above and below.
const (
	pageSize = 100
	ahead    = 150
)

// A chat holds at most maxHeld messages around the view, and one page of the
// newest; beyond that it goes back to held of them above and below. So a page
// that comes in moves as many at most, however far one has scrolled.
const (
	maxHeld = 4000
	held    = 1500
)

// maxTimelines is how many chats keep their history in memory when they are not
// on the screen.
const maxTimelines = 8

// chat is a conversation as the screen knows it.
type chat struct {
	client.Chat
	there bool // it is a chat the user is in, not only one that something waits for

	// History, once it was opened.
	tl      *client.Timeline
	used    time.Time // when it was open last
	at      int64     // the position that the view is around; 0: the present
	asking  bool
	gen     int   // answers to questions of another one are of no use
	failed  error // why the last question came to nothing
	scroll  scroll
	newFrom int64 // the "new" line stands before the first message above it; 0: none
	seen    int64 // up to there everything was on the screen, or is read for another reason
	marked  int64 // how far MarkRead was told
	sel     int64 // the message that is selected; 0: none

	waiting []client.Item        // what is not sent yet, or failed, or has yet to come back as a message
	typing  map[string]time.Time // who is, until when
	reads   map[string]int64     // how far others have read, as far as it is told
	marks   map[int64]string     // what is said of that, by message, as drawn last

	lists int                             // how often was asked who is in: the last answer counts
	told  map[string]protocol.Participant // whom events told of since, by user; nil: the answer is there

	draft   string
	replyTo int64
	editing int64
}

// chat is the chat with this id, made if need be.
func (m *Model) chat(id string) *chat {
	c := m.chats[id]
	if c == nil {
		c = &chat{typing: map[string]time.Time{}, reads: map[string]int64{}}
		c.ChatID = id
		m.chats[id] = c
	}
	return c
}

// state takes how the chat stands.
func (c *chat) state(st *client.Chat) {
	c.Chat, c.there = *st, true
}

// arrivedSends lets go of what was sent and has come as a message, after what was
// told of the chat and of its history is applied.
func (c *chat) arrivedSends() {
	if len(c.waiting) > 0 {
		c.waiting = slices.DeleteFunc(c.waiting, func(w client.Item) bool {
			return w.Progress == client.Sent && w.Seq <= c.Pos && (c.tl == nil || c.holds(w))
		})
	}
}

// forgetSends lets go of what was sent: its messages will not come.
func (c *chat) forgetSends() {
	c.waiting = slices.DeleteFunc(c.waiting, func(w client.Item) bool { return w.Progress == client.Sent })
}

// holds reports whether a message that was sent is in what is held of the
// history.
func (c *chat) holds(w client.Item) bool {
	return w.Progress == client.Sent && c.tl != nil && c.tl.Held().Has(w.Seq)
}

// unseen is what of the waiting is to be drawn: a page may have a message before
// its event comes, or lose it again because the event is that of the whole chat.
func (c *chat) unseen() []client.Item {
	if !slices.ContainsFunc(c.waiting, c.holds) {
		return c.waiting
	}
	return slices.DeleteFunc(slices.Clone(c.waiting), c.holds)
}

// item takes what became of something in the outbox.
func (c *chat) item(it client.Item) {
	i := slices.IndexFunc(c.waiting, func(w client.Item) bool { return w.ID == it.ID })
	switch {
	case it.Progress == client.Discarded && i >= 0:
		c.waiting = slices.Delete(c.waiting, i, i+1)
	case i >= 0:
		// Once it is sent it stays until its message comes, which is after the
		// answer, lest it vanish for a moment.
		c.waiting[i] = it
		c.arrivedSends()
	case it.Progress == client.Discarded, it.Progress == client.Sent:
	default:
		c.waiting = append(c.waiting, it)
	}
}

// activity sorts chats: times of the server compare as strings.
func (c *chat) activity() string {
	if n := len(c.Messages); n > 0 {
		return c.Messages[n-1].CreatedAt
	}
	return c.CreatedAt
}

// messages are those that are held around the view.
func (c *chat) messages() []protocol.Message {
	if c.tl == nil {
		return nil
	}
	return c.tl.Messages(c.at)
}

// present reports whether what is held around the view reaches to now, and not
// only to where the telling of what was missed has come.
func (c *chat) present() bool {
	if c.tl == nil || c.at == 0 {
		return true // also when nothing is held yet
	}
	_, more := c.tl.After(c.at, 1)
	return !more && c.Pos >= c.LastSeq
}

// sort puts the chats in order, if something changed.
func (m *Model) sort() {
	if !m.stale {
		return
	}
	m.stale = false
	m.presence.dirty = true
	m.order = m.order[:0]
	for _, c := range m.chats {
		if c.there {
			m.order = append(m.order, c)
		}
	}
	slices.SortFunc(m.order, func(a, b *chat) int {
		return cmp.Or(strings.Compare(b.activity(), a.activity()), strings.Compare(a.ChatID, b.ChatID))
	})
}

// show opens a chat.
func (m *Model) show(c *chat) tea.Cmd {
	m.list = false
	if c == m.open {
		return nil
	}
	stop := m.leave()
	m.open = c
	c.used = m.opts.Now()
	c.at, c.scroll, c.sel = 0, scroll{}, 0
	c.marked, c.seen = 0, c.ReadSeq
	m.keepsUp = false
	if c.Unread > 0 || c.Uncertain {
		m.land(c)
	}
	if c.tl == nil {
		c.tl = &client.Timeline{}
	}
	m.forget()
	m.presence.dirty = true
	m.ed.set(c.draft)
	m.pop.close()
	m.notice = notice{}
	be, id := m.be, c.ChatID
	return tea.Batch(stop, m.askMembers(c), func() tea.Msg {
		be.Focus(id)
		return nil
	})
}

// leave puts the open chat away.
func (m *Model) leave() tea.Cmd {
	c := m.open
	if c == nil {
		return nil
	}
	c.draft = m.ed.String()
	c.newFrom = 0
	m.open = nil
	m.hist.reset()
	return tea.Batch(m.tellSeen(c), m.keepSoon())
}

// forget lets go of the histories that were not looked at for longest.
func (m *Model) forget() {
	var kept []*chat
	for _, c := range m.chats {
		if c.tl != nil && c != m.open {
			kept = append(kept, c)
		}
	}
	if len(kept) <= maxTimelines {
		return
	}
	slices.SortFunc(kept, func(a, b *chat) int { return b.used.Compare(a.used) })
	for _, c := range kept[maxTimelines:] {
		c.tl = nil
		c.gen++
		c.asking = false
	}
}

// trim lets go of what the view has left far behind.
func (m *Model) trim(c *chat) {
	if c.asking {
		return // the page may be older than what would go
	}
	if newest := c.tl.Messages(0); c.at != 0 && len(newest) > maxHeld && !c.present() {
		c.tl.Forget(newest[0].Seq, newest[len(newest)-pageSize].Seq-1) // it came in while the view was elsewhere
	}
	msgs := c.messages()
	if len(msgs) <= maxHeld {
		return
	}
	i := c.scroll.index(c, msgs)
	var above, below int64 // what lies beyond these goes
	if i > held {
		above = msgs[i-held].Seq
	}
	if i+held < len(msgs) {
		below = msgs[i+held].Seq
		c.at = msgs[i].Seq // the present is somewhere else from here on
	}
	if below > 0 {
		to := int64(protocol.MaxInteger)
		if newest := c.tl.Messages(0); len(newest) > 0 {
			to = newest[max(0, len(newest)-pageSize)].Seq - 1
		}
		c.tl.Forget(below+1, to)
	}
	c.tl.Forget(1, above-1)
}

// pageMsg is a page of a chat's history.
type pageMsg struct {
	c     *chat
	gen   int
	asked protocol.MessagesListParams
	page  protocol.MessagesListResult
	err   error
}

// load asks for the history that the view needs next, one page at a time.
func (m *Model) load(c *chat) tea.Cmd {
	if c.asking || c.failed != nil || !c.there || c.tl == nil {
		return nil
	}
	msgs := c.messages()
	p, want := protocol.MessagesListParams{}, false
	i := c.scroll.index(c, msgs)
	below := c.at != 0 && len(msgs)-i < ahead
	if below && c.scroll.unread { // what is to be read comes first
		p, want = c.tl.After(c.at, pageSize)
	}
	if !want && (len(msgs) == 0 || i < ahead) {
		p, want = c.tl.Before(c.at, pageSize)
	}
	if !want && below {
		p, want = c.tl.After(c.at, pageSize)
	}
	if !want && c.at != 0 {
		p, want = c.tl.Before(0, pageSize)
		want = want && p.Before == nil // the newest, if nothing of them is held: for /edit and its like
	}
	if !want {
		return nil
	}
	p.ChatID = c.ChatID
	c.asking = true
	be, ctx, gen := m.be, m.ctx, c.gen
	return func() tea.Msg {
		page, err := be.History(ctx, p)
		return pageMsg{c, gen, p, page, err}
	}
}

// page takes a page.
func (m *Model) page(msg pageMsg) {
	c := msg.c
	if msg.gen != c.gen || c.tl == nil {
		return
	}
	c.asking = false
	if msg.err != nil {
		if errors.Is(msg.err, client.ErrOffline) && m.conn.Link == client.Online {
			return // there is a connection again: load asks once more
		}
		if c.scroll.unread && len(c.messages()) == 0 {
			m.bottom(c) // there may be something of the end; it is tried again when there is a connection
			return
		}
		c.failed = msg.err
		return
	}
	// A page that is too old is asked for again by load.
	_ = c.tl.ApplyPage(msg.asked, msg.page)
	c.arrivedSends()
	m.readBySenders(c, msg.page.Messages)
	m.trim(c)
	if msg.asked.Around != nil && c.at == *msg.asked.Around && len(c.messages()) == 0 {
		if !c.scroll.unread {
			m.say(true, "that message is not there any more")
		}
		c.at, c.scroll = 0, scroll{} // it is not there (any more)
	}
}

// jump shows a message of a chat, wherever in the history it is.
func (m *Model) jump(c *chat, seq int64) tea.Cmd {
	cmd := m.show(c)
	c.at, c.sel = seq, seq
	c.failed = nil
	c.scroll = scroll{seq: seq, middle: true}
	return cmd
}

// membersMsg is who is in a chat.
type membersMsg struct {
	c      *chat
	list   int // of the chat's lists
	people []protocol.Participant
	err    error
	show   bool
}

// maxMembers is how many people of a chat are looked up for completion.
const maxMembers = 1000

func (m *Model) askMembers(c *chat) tea.Cmd { return m.askWho(c, false) }

func (m *Model) askWho(c *chat, show bool) tea.Cmd {
	if !c.there {
		return nil
	}
	be, ctx, id := m.be, m.ctx, c.ChatID
	c.lists++
	c.told = map[string]protocol.Participant{}
	list := c.lists
	return func() tea.Msg {
		var all []protocol.Participant
		p := protocol.ParticipantsListParams{ChatID: id, Limit: 200}
		for len(all) < maxMembers {
			r, err := be.ParticipantsList(ctx, p)
			if err != nil {
				return membersMsg{c, list, all, err, show}
			}
			all = append(all, r.Participants...)
			if !r.HasMore || r.Cursor == "" {
				break
			}
			p.Cursor = &r.Cursor
		}
		return membersMsg{c, list, all, nil, show}
	}
}

// members takes who is in a chat. Who came or went while the list was read is where
// the events say.
func (m *Model) members(msg membersMsg) {
	c := msg.c
	told := c.told
	last := msg.list == c.lists
	if last {
		c.told = nil
	}
	if msg.err != nil {
		if msg.show {
			m.say(true, "%s", reason(msg.err))
		}
		return // completion does without; it is asked again when the chat is opened
	}
	for _, p := range msg.people {
		if p.Username != "" {
			m.know(protocol.User{UserID: p.UserID, Username: p.Username, Name: p.Name})
		}
	}
	if last {
		msg.people = newest(msg.people, told)
		in, before := []string{}, c.reads
		c.reads = map[string]int64{}
		for _, p := range msg.people {
			in = append(in, p.UserID)
			if p.UserID != m.self.UserID {
				c.read(p.UserID, max(before[p.UserID], p.ReadSeq))
			}
		}
		m.people.in[c.ChatID] = in
		m.presence.dirty = true
	}
	if msg.show {
		m.showMembers(msg)
	}
}

// newest is a list of who is in, with what events told meanwhile: of two rows the
// one that changed later counts.
func newest(list []protocol.Participant, told map[string]protocol.Participant) []protocol.Participant {
	var in []protocol.Participant
	listed := map[string]bool{}
	for _, p := range list {
		listed[p.UserID] = true
		if t, ok := told[p.UserID]; ok && t.UpdatedSeq > p.UpdatedSeq {
			if t.JoinedSeq == p.JoinedSeq {
				t.ReadSeq = p.ReadSeq // which only lists have, as names
			}
			t.Username, t.Name = p.Username, p.Name
			p = t
		}
		if p.LeftSeq == 0 {
			in = append(in, p)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(told)) {
		if t := told[id]; !listed[id] && t.LeftSeq == 0 {
			in = append(in, t)
		}
	}
	return in
}

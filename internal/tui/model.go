// Package tui is grima chat, the terminal client: a model, what changes it, and
// what is drawn of it.
//
// One goroutine, Bubble Tea's, owns the Model. Everything that may take time
// (the server, the disk) happens in commands and comes back as messages. What
// the client tells comes in batches: one batch is applied, then drawn once, and
// the next one is asked for after that, so that however much happens a key waits
// for one batch and one picture at most.
//
// Everything that other people wrote goes through cleanLine or cleanLines
// before it is drawn.
package tui

import (
	"context"
	"time"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// Model is the state of the screen.
type Model struct {
	ctx  context.Context
	be   Backend
	opts Options

	m             metric
	th            *theme
	width, height int
	sized         bool // that is the terminal's, not a guess
	focused       bool // the terminal is looked at, as far as it says

	self   protocol.User
	conn   client.Connection
	ahead  time.Duration // by how much this machine's clock is ahead of the server's
	synced bool          // what came while away is told: news is news
	ended  error         // the client stopped for good

	chats map[string]*chat
	order []*chat // latest activity first
	stale bool    // order is to be sorted
	open  *chat   // nil: none
	last  string  // the chat that was open in the run before
	list  bool    // with one pane: the list is shown
	top   int     // the first row of the list that is shown
	rows  []*chat // of the list, as drawn, by row

	people
	presence presence
	touched  time.Time // when a key was pressed last
	away     bool      // long ago

	sends   []client.Draft // to be queued, the first is under way
	sending bool

	ed     editor
	hist   inputHistory
	pop    popup
	over   *overlay
	notice notice

	kept    keeper
	ticking bool
	rung    time.Time // when a notification was made last
	leaving time.Time // ^C was pressed

	tick func(time.Duration, func(time.Time) tea.Msg) tea.Cmd // tea.Tick, save in tests

	out   *output  // nil: a terminal that is never busy
	shown tea.View // what View gave last
	given bool     // it gave something

	screen  string
	cursor  *tea.Cursor
	linkMap []int64 // history rows as drawn: the message's seq
	histTop int     // the row of the screen that the history begins at
	paneX   int     // the column that the chat begins at
	cache   blockCache
	quit    bool // the user wants to leave

	keepsUp bool // all of the open chat was seen, and somebody looks: what comes is seen
	back    bool // what came while away was told just now
	marking bool // the read mark moved a moment ago

	quitting bool // and is being seen off
}

// notice is a line that says how something went, until a key is pressed.
type notice struct {
	text string
	bad  bool
}

// New makes the screen of a client. It draws what be knows already.
func New(ctx context.Context, be Backend, opts Options) *Model {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Location == nil {
		opts.Location = time.Local
	}
	if opts.Getenv == nil {
		opts.Getenv = func(string) string { return "" }
	}
	m := &Model{
		tick: tea.Tick,
		ctx:  ctx, be: be, opts: opts,
		m: metric{ansi.WcWidth}, th: newTheme(opts.Theme != "light"),
		width: 80, height: 24, focused: true, list: true,
		chats: map[string]*chat{},
		conn:  be.Connection(), self: be.Self(),
	}
	m.ed.want = -1
	m.people.init()
	m.presence = presence{status: map[string]string{}, dirty: true}
	m.touched = opts.Now()
	m.cache.init()
	for _, c := range be.Chats() {
		m.chat(c.ChatID).state(&c)
	}
	for _, it := range be.Outbox() {
		m.chat(it.ChatID).item(it)
	}
	m.kept.file = opts.StateFile
	m.restore()
	m.stale = true
	return m
}

// Init starts listening to the client and asks the terminal what it is like.
func (m *Model) Init() tea.Cmd {
	var cmds []tea.Cmd
	if m.opts.Theme != "light" && m.opts.Theme != "dark" {
		cmds = append(cmds, tea.RequestBackgroundColor)
	}
	if m.opts.Bidi != "terminal" {
		cmds = append(cmds, tea.Raw(ansi.ResetModeBiDirectionalSupport))
	}
	m.sort()
	if first := m.first(); first != nil {
		cmds = append(cmds, m.show(first))
		m.list = true
	}
	m.draw()
	return tea.Batch(append(cmds, m.see(), m.listen(), m.lookAway(awayAfter), m.after())...)
}

// first is the chat to begin with: the one of last time, or the latest.
func (m *Model) first() *chat {
	if c := m.chats[m.last]; c != nil && c.there {
		return c
	}
	if len(m.order) > 0 {
		return m.order[0]
	}
	return nil
}

// batchMsg is what the client told.
type batchMsg struct {
	events []client.Event
	err    error
}

// listen waits for the next batch.
func (m *Model) listen() tea.Cmd {
	be, ctx := m.be, m.ctx
	return func() tea.Msg {
		events, err := be.Batch(ctx)
		return batchMsg{events, err}
	}
}

// doneMsg is how something that was asked for went; text is empty when its
// effect is seen anyhow.
type doneMsg struct {
	text string
	err  error
	then func() tea.Cmd // on success
}

// tickMsg comes once a second while something on the screen depends on time.
type tickMsg struct{}

// Update takes a message, changes the model, and draws it.
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	cmd := m.update(msg)
	if m.quit && !m.quitting {
		m.quitting = true // once: what comes until it is over must not cut it short
		return m, tea.Sequence(m.goodbye(), tea.Quit)
	}
	cmd = tea.Batch(cmd, m.after())
	m.draw()
	if m.landAgain() {
		cmd = tea.Batch(cmd, m.load(m.open))
		m.draw()
	}
	return m, tea.Batch(cmd, m.see(), m.lookUp())
}

func (m *Model) update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case batchMsg:
		return m.batch(msg)
	case tea.KeyPressMsg:
		return tea.Batch(m.here(), m.key(msg))
	case tea.PasteMsg:
		return tea.Batch(m.here(), m.paste(msg.Content))
	case tea.MouseClickMsg:
		return tea.Batch(m.here(), m.click(msg.Mouse()))
	case tea.MouseWheelMsg:
		return tea.Batch(m.here(), m.wheel(msg.Mouse()))
	case tea.WindowSizeMsg:
		m.width, m.height, m.sized = msg.Width, msg.Height, true
		if c := m.open; c != nil && c.newFrom > 0 && !c.scroll.follows() && c.sel == 0 && m.untouched(c) {
			m.toNew(c)
		}
	case tea.FocusMsg:
		m.focused = true
		return m.here()
	case tea.BlurMsg:
		m.focused = false
	case tea.BackgroundColorMsg:
		m.th = newTheme(msg.IsDark())
		m.cache.init()
	case tea.ModeReportMsg:
		// As the renderer does: from here on both measure alike.
		if msg.Mode == ansi.ModeUnicodeCore && (msg.Value.IsReset() || msg.Value.IsSet() || msg.Value.IsPermanentlySet()) {
			m.m = metric{ansi.GraphemeWidth}
			m.ed.m = m.m
			m.cache.init()
		}
	case tickMsg:
		m.ticking = false
	case markMsg:
		m.marking = false
	case doneMsg:
		if msg.err != nil {
			m.say(true, "%s", reason(msg.err))
			return nil
		}
		if msg.text != "" {
			m.say(false, "%s", msg.text)
		}
		if msg.then != nil {
			return msg.then()
		}
	case pageMsg:
		m.page(msg)
	case usersMsg:
		m.users(msg)
	case membersMsg:
		m.members(msg)
	case watchedMsg:
		return m.watching(msg)
	case uv.PrimaryDeviceAttributesEvent:
		m.out.answered()
	case renewMsg:
		return m.renew(msg)
	case awayMsg:
		return m.leftAlone()
	case queuedMsg:
		return m.queued(msg)
	case foundMsg:
		m.found(msg)
	case keptMsg:
		m.saved(msg)
	case saveMsg:
		return m.save()
	}
	return nil
}

// after is what follows from the state as it is now.
func (m *Model) after() tea.Cmd {
	m.sort()
	var cmds []tea.Cmd
	// The latest chats come first: there is something to read before all are there.
	if m.open == nil && m.ed.empty() {
		if first := m.first(); first != nil {
			list := m.list
			cmds = append(cmds, m.show(first))
			m.list = list
		}
	}
	if m.open != nil {
		cmds = append(cmds, m.load(m.open))
	}
	cmds = append(cmds, m.watch())
	if !m.ticking && m.timed() {
		m.ticking = true
		cmds = append(cmds, m.tick(time.Second, func(time.Time) tea.Msg { return tickMsg{} }))
	}
	return tea.Batch(cmds...)
}

// timed reports whether the screen changes by the clock alone.
func (m *Model) timed() bool {
	if m.conn.Link == client.Offline && !m.conn.Retry.IsZero() {
		return true
	}
	return m.open != nil && len(m.open.typing) > 0
}

// ask runs something that takes time.
func (m *Model) ask(f func(ctx context.Context) doneMsg) tea.Cmd {
	ctx := m.ctx
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(ctx, call)
		defer cancel()
		return f(ctx)
	}
}

// goodbye keeps what is to be kept, and gives the terminal back as it was.
func (m *Model) goodbye() tea.Cmd { return tea.Sequence(m.farewell()...) }

// farewell is what goodbye does, in order.
func (m *Model) farewell() []tea.Cmd {
	cmds := []tea.Cmd{m.goodbyeState()}
	if m.open != nil {
		cmds = append(cmds, m.tellSeen(m.open))
	}
	// What is not in the outbox yet goes there. The client knows the one that is
	// under way by its id.
	be, ctx, sends := m.be, m.ctx, m.sends
	cmds = append(cmds, func() tea.Msg {
		for _, d := range sends {
			if _, err := be.Queue(ctx, d); err != nil {
				continue // it is there already, or the client has ended
			}
		}
		return nil
	})
	if m.opts.Bidi != "terminal" {
		cmds = append(cmds, tea.Raw(ansi.SetModeBiDirectionalSupport))
	}
	out := m.out
	cmds = append(cmds, func() tea.Msg {
		out.hush()
		return nil
	})
	return cmds
}

// goodbyeState keeps drafts now, whatever is being saved.
func (m *Model) goodbyeState() tea.Cmd {
	m.kept.dirty, m.kept.saving = true, false
	return m.save()
}

// Err is why the client stopped for good, if it did.
func (m *Model) Err() error { return m.ended }

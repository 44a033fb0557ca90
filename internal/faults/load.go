package faults

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	sdk "github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/internal/harness"
)

// load is people who talk in groups that they are all in, each with the SDK,
// which they have connect to one server or another, and hang up now and then.
type load struct {
	c     *Cluster
	rate  int // messages per second and person
	ctx   context.Context
	end   context.CancelFunc // of everything
	still context.CancelFunc // of the talking
	chats []string

	clients []*talker
	threads sync.WaitGroup
	saying  sync.WaitGroup

	mu     sync.Mutex
	meant  map[string]*meant // by client_msg_id
	order  [][][]*meant      // by person and chat: as it was meant
	acked  int
	events int
	due    int           // of what was meant before the healing, so much is not complete
	whole  chan struct{} // closed when due is 0; nil: nobody waits
	wrong  []string
	over   bool      // nobody says anything new
	watch  time.Time // silences count from here on; zero: they do not
}

// meant is a message that somebody means to say, once.
type meant struct {
	by, in int // person, chat
	key    string
	seq    int64 // 0: not acknowledged
	told   int   // clients that it was told to, as this number
	due    bool
}

// talker is a person's client.
type talker struct {
	*sdk.Client

	l    *load
	who  int
	last map[string]int64            // by chat: where it is
	told map[string]map[int64]string // by chat and number: the client_msg_id

	heard time.Time // the last event
	worst time.Duration

	mu   sync.Mutex
	conn net.Conn
}

// talk makes groups and has everybody begin to talk there.
func (c *Cluster) talk(ctx context.Context, chats, rate int) (l *load, err error) {
	l = &load{c: c, rate: rate, meant: map[string]*meant{}}
	l.ctx, l.end = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			l.stop()
		}
	}()
	var users []string
	for _, p := range c.people[1:] {
		users = append(users, p.id)
	}
	conn, err := harness.Login(c.dataAddr(), c.people[0].token, false, nil)
	if err != nil {
		return l, err
	}
	defer conn.Close()
	for i := range chats {
		id, err := harness.CreateGroup(conn, fmt.Sprintf("group %d", i), users)
		if err != nil {
			return l, err
		}
		l.chats = append(l.chats, id)
	}
	for i, p := range c.people {
		t := &talker{l: l, who: i, last: map[string]int64{}, told: map[string]map[int64]string{}}
		// The address is what Dial makes of it.
		t.Client, err = sdk.Open(sdk.Config{
			Server: "grima://localhost:7007", Token: p.token, UserID: p.id, Dial: t.dial, Insecure: true,
			Heartbeat: 5 * time.Second, DialTimeout: 2 * time.Second, MinBackoff: 50 * time.Millisecond, MaxBackoff: 500 * time.Millisecond,
			Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return l, err
		}
		l.clients = append(l.clients, t)
		l.threads.Go(t.listen)
	}
	for _, t := range l.clients {
		ready, cancel := context.WithTimeout(l.ctx, time.Minute)
		err := t.Ready(ready)
		cancel()
		if err != nil {
			return l, fmt.Errorf("%s does not come online: %w", c.people[t.who].name, err)
		}
	}
	saying, still := context.WithCancel(l.ctx)
	l.still = still
	l.order = make([][][]*meant, len(l.clients))
	for i, t := range l.clients {
		l.order[i] = make([][]*meant, chats)
		for in := range chats {
			l.saying.Go(func() { t.say(saying, in) })
		}
		l.threads.Go(func() { t.hop(saying) })
	}
	return l, nil
}

// quiet lets nobody say anything new.
func (l *load) quiet() {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	l.still()
}

// stop ends it.
func (l *load) stop() {
	l.end()
	for _, t := range l.clients {
		_ = t.Close() // what it waits for is over
	}
	l.saying.Wait()
	l.threads.Wait()
}

// liveAddr is a server's that serves live connections, dataAddr one's that
// serves data.
func (c *Cluster) liveAddr() string { return c.anyAddr("data") }
func (c *Cluster) dataAddr() string { return c.anyAddr("stream") }

// anyAddr is that of one of the servers that run and do not have a role.
func (c *Cluster) anyAddr(not string) string {
	for _, i := range rand.Perm(len(c.nodes)) {
		if n := c.nodes[i]; n.role != not && n.addr() != "" {
			return n.addr()
		}
	}
	return ""
}

func (t *talker) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	addr := t.l.c.liveAddr()
	if addr == "" {
		return nil, errors.New("no server runs")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err == nil {
		t.mu.Lock()
		t.conn = conn
		t.mu.Unlock()
	}
	return conn, err
}

// hop hangs up now and then, and so comes to another server.
func (t *talker) hop(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, time.Second+rand.N(3*time.Second))
		t.mu.Lock()
		conn := t.conn
		t.mu.Unlock()
		if conn != nil {
			_ = conn.Close() // it may be closed already
		}
	}
}

// say sends one message after the other into a chat.
func (t *talker) say(ctx context.Context, in int) {
	l := t.l
	pace := time.NewTicker(time.Second * time.Duration(len(l.chats)) / time.Duration(l.rate))
	defer pace.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		m := &meant{by: t.who, in: in, key: fmt.Sprintf("%s-%d-%d", l.chats[in], t.who, n)}
		l.mu.Lock()
		if l.over {
			l.mu.Unlock()
			return
		}
		l.meant[m.key] = m
		l.order[t.who][in] = append(l.order[t.who][in], m)
		l.mu.Unlock()
		// Until the end of all, not of the talking: what was begun is finished.
		it, err := t.Send(l.ctx, sdk.Draft{ID: m.key, ChatID: l.chats[in], Content: m.key})
		switch {
		case l.ctx.Err() != nil:
			return
		case err != nil:
			l.fault("%s was refused: %v", m.key, err)
			return
		}
		l.mu.Lock()
		m.seq = it.Seq
		l.acked++
		l.completeLocked(m)
		l.mu.Unlock()
	}
}

// completeLocked counts down what everybody has to have.
func (l *load) completeLocked(m *meant) {
	if m.due && m.done(len(l.clients)) {
		m.due = false
		if l.due--; l.due == 0 && l.whole != nil {
			close(l.whole)
			l.whole = nil
		}
	}
}

func (m *meant) done(clients int) bool { return m.seq > 0 && m.told == clients }

// complete waits until everything that was meant so far is acknowledged and was
// told to everybody, and says how long that took.
func (l *load) complete(late time.Duration) (time.Duration, error) {
	began := time.Now()
	l.mu.Lock()
	l.due = 0
	for _, m := range l.meant {
		if m.due = !m.done(len(l.clients)); m.due {
			l.due++
		}
	}
	whole := make(chan struct{})
	if l.due == 0 {
		close(whole)
	} else {
		l.whole = whole
	}
	l.mu.Unlock()
	timer := time.NewTimer(late)
	defer timer.Stop()
	select {
	case <-whole:
		return time.Since(began), nil
	case <-timer.C:
		return time.Since(began), fmt.Errorf("not complete: %s", l.missing())
	case <-l.ctx.Done():
		return 0, l.ctx.Err()
	}
}

// missing says what is not complete.
func (l *load) missing() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	unanswered, untold := 0, make([]int, len(l.clients))
	for _, m := range l.meant {
		if !m.due {
			continue
		}
		if m.seq == 0 {
			unanswered++
		}
		for i, t := range l.clients {
			if m.seq > 0 && t.told[l.chats[m.in]][m.seq] == "" {
				untold[i]++
			}
		}
	}
	what := fmt.Sprintf("%d were not acknowledged, and not told to each: %d", unanswered, untold)
	for i, t := range l.clients {
		if untold[i] > 0 {
			at := ""
			t.mu.Lock()
			if t.conn != nil {
				at = t.conn.RemoteAddr().String()
			}
			t.mu.Unlock()
			what += fmt.Sprintf("; client %d at %s is %+v", i, at, t.Connection())
		}
	}
	return what
}

func (l *load) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faultLocked(format, args...)
}

func (l *load) faultLocked(format string, args ...any) {
	if len(l.wrong) < 20 {
		l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
	}
}

// listen takes what the client is told, and holds it against what it was told
// before.
func (t *talker) listen() {
	for e := range t.Events(t.l.ctx) {
		t.event(e)
	}
	if err := t.Err(); err != nil && !errors.Is(err, sdk.ErrClosed) && t.l.ctx.Err() == nil {
		t.l.fault("client %d stopped: %v", t.who, err)
	}
}

func (t *talker) event(e sdk.Event) {
	l := t.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Kind == sdk.Reset || e.Kind == sdk.Skipped || e.Kind == sdk.ChatRemoved {
		l.faultLocked("client %d: %s of chat %s", t.who, e.Kind, e.ChatID)
		return
	}
	if e.Kind == sdk.ChatAdded {
		t.last[e.ChatID] = e.State.Pos
	}
	if e.Seq == 0 {
		return
	}
	if e.PrevSeq != t.last[e.ChatID] {
		l.faultLocked("client %d: in chat %s (%d, %d] comes after %d", t.who, e.ChatID, e.PrevSeq, e.Seq, t.last[e.ChatID])
	}
	t.last[e.ChatID] = e.Seq
	now := time.Now()
	if !l.watch.IsZero() {
		since := t.heard
		if since.Before(l.watch) {
			since = l.watch
		}
		t.worst = max(t.worst, now.Sub(since))
	}
	t.heard = now
	if e.Kind != sdk.MessageCreated {
		return
	}
	l.events++
	m := l.meant[e.Message.Content]
	switch {
	case m == nil:
		return // of another talk
	case e.ChatID != l.chats[m.in] || e.Message.SenderID != l.c.people[m.by].id:
		l.faultLocked("client %d: %s is told in %s by %s", t.who, m.key, e.ChatID, e.Message.SenderID)
	}
	told := t.told[e.ChatID]
	if told == nil {
		told = map[int64]string{}
		t.told[e.ChatID] = told
	}
	if told[e.Message.Seq] != "" {
		l.faultLocked("client %d: %s is told twice, as %d", t.who, m.key, e.Message.Seq)
	}
	told[e.Message.Seq] = m.key
	m.told++
	l.completeLocked(m)
}

// watching begins to measure silences.
func (l *load) watching() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch = time.Now()
}

// silence is the longest that a client heard nothing since then.
func (l *load) silence() (worst time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.clients {
		since := t.heard
		if since.Before(l.watch) {
			since = l.watch
		}
		worst = max(worst, t.worst, time.Since(since))
	}
	l.watch = time.Time{}
	return worst
}

// verify compares what was meant, what was acknowledged, what each client was
// told, and what each server gives who reads everything.
func (l *load) verify() {
	for _, n := range l.c.nodes {
		if n.addr() == "" || n.role == "stream" {
			continue
		}
		conn, err := harness.Login(n.addr(), l.c.people[0].token, false, nil)
		if err != nil {
			l.fault("reading at %s: %v", n.name, err)
			continue
		}
		for in, chat := range l.chats {
			rows, err := harness.ReadAll(conn, chat)
			if err != nil {
				l.fault("reading at %s: %v", n.name, err)
				break
			}
			l.compare(n.name, in, len(l.clients), rows)
		}
		conn.Close()
	}
}

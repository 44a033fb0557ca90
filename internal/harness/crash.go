package harness

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/protocol"
)

// Crash kills a server again and again under load and then asks for the truth.
type Crash struct {
	Bin, Data string
	Wrap      func(round int) []string // a command around the server, such as strace; nil: none
	Args      []string                 // further flags of serve
	Rounds    int
	Senders   int // each has one connection, and sends into every chat
	Chats     int
	Window    int           // sends under way per connection
	Life      time.Duration // a round ends by SIGKILL after a random part of this, once load runs
	Seed      uint64
	// SelfDestruct says that the server is expected to die by itself (fault
	// injection through Wrap), also before it is ready; a round then ends when
	// it does, or by SIGKILL after Life.
	SelfDestruct bool
	// Messages, when not 0, bounds a round's load: each sender says so many new
	// things, and when all are answered the round is over, and with it, if the
	// server is still there, the run.
	Messages int
	Progress func(format string, args ...any) // nil: silent
}

// CrashReport is what a run of Crash did and found. Faults is empty when every
// promise was kept.
type CrashReport struct {
	Kills, Acked, Sent, Retried, Duplicates, LiveEvents int
	// Unready counts the rounds in which the server died before it served, and
	// Died those in which it died by itself later, as SelfDestruct expects.
	Unready, Died int
	// Survived says that the last round said everything it had to say (Messages).
	Survived bool
	Faults   []string
}

func (r CrashReport) String() string {
	return fmt.Sprintf("%d kills (%d by themselves before ready, %d later), %d messages meant, %d acknowledged, %d retried, %d answered as duplicates, %d live events; faults: %d",
		r.Kills, r.Unready, r.Died, r.Sent, r.Acked, r.Retried, r.Duplicates, r.LiveEvents, len(r.Faults))
}

// crash is one run's state. mu guards everything below it.
type crash struct {
	Crash
	tokens []string
	chats  []string

	mu     sync.Mutex
	rng    *rand.Rand
	meant  []map[string]*meant // per sender: everything it ever wanted to say, by client_msg_id
	queue  [][]*meant          // per sender: unanswered, in the order it was meant
	live   map[place]string    // hash of what the observer saw created
	report CrashReport
}

type place struct {
	chat string
	seq  int64
}

// meant is a message somebody means to say, once.
type meant struct {
	chat, key, content string
	seq                int64 // 0: not acknowledged
	tried              bool
}

// Run does it. The error says that the run itself could not be carried out.
func (c Crash) Run() (CrashReport, error) {
	r := &crash{Crash: c, rng: rand.New(rand.NewPCG(c.Seed, 1)), live: map[place]string{}}
	if r.Progress == nil {
		r.Progress = func(string, ...any) {}
	}
	if err := r.setup(); err != nil {
		return r.report, fmt.Errorf("setting up: %w", err)
	}
	for i := range c.Rounds {
		if err := r.round(i); err != nil {
			return r.report, fmt.Errorf("round %d: %w", i, err)
		}
		if r.report.Survived {
			r.report.Kills-- // of a server that had done its work
			break
		}
		if (i+1)%10 == 0 {
			r.Progress("%d of %d rounds: %v", i+1, c.Rounds, r.report)
		}
	}
	if err := r.verify(); err != nil {
		return r.report, fmt.Errorf("verifying: %w", err)
	}
	return r.report, nil
}

func (r *crash) setup() error {
	p, err := Start(r.Bin, r.Data, nil, r.Args...)
	if err != nil {
		return err
	}
	defer p.Kill()
	var users []string
	for i := range r.Senders {
		token, user, err := Register(p.Addr, fmt.Sprintf("sender%d", i))
		if err != nil {
			return err
		}
		r.tokens = append(r.tokens, token)
		users = append(users, user)
		r.meant = append(r.meant, map[string]*meant{})
	}
	r.queue = make([][]*meant, r.Senders)
	conn, err := Login(p.Addr, r.tokens[0], false, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	for i := range r.Chats {
		chat, err := CreateGroup(conn, fmt.Sprintf("crash %d", i), users[1:])
		if err != nil {
			return err
		}
		r.chats = append(r.chats, chat)
	}
	return p.Stop()
}

// round starts the server, loads it, and kills it somewhere in the middle.
func (r *crash) round(i int) error {
	r.report.Kills++
	var wrap []string
	if r.Wrap != nil {
		wrap = r.Wrap(i)
	}
	p, err := Start(r.Bin, r.Data, wrap, r.Args...)
	if err != nil {
		if r.SelfDestruct {
			r.report.Unready++
			return nil
		}
		return err
	}
	defer p.Kill()
	var wg sync.WaitGroup
	var conns []*Conn
	ok := true
	for s := range r.Senders {
		observe := func([]byte) {}
		if s == 0 {
			observe = r.observe
		}
		conn, err := Login(p.Addr, r.tokens[s], s == 0, observe)
		if err != nil {
			if r.SelfDestruct && errors.Is(err, ErrClosed) {
				ok = false
				break
			}
			return fmt.Errorf("sender %d: %w", s, err)
		}
		conns = append(conns, conn)
	}
	if ok {
		stop, done := make(chan struct{}), make(chan struct{})
		var all atomic.Int32
		for s, conn := range conns {
			wg.Go(func() {
				if r.send(s, conn, stop) {
					all.Add(1)
				}
			})
		}
		go func() { wg.Wait(); close(done) }()
		r.mu.Lock()
		life := time.Duration(r.rng.Int64N(int64(r.Life)))
		r.mu.Unlock()
		if r.SelfDestruct {
			life = r.Life
		}
		over := time.After(life)
		select {
		case <-over:
		case <-p.Gone():
			r.died()
		case <-done:
			if r.report.Survived = int(all.Load()) == r.Senders; !r.report.Survived {
				select { // their connections ended, so it is about to
				case <-over:
				case <-p.Gone():
					r.died()
				}
			}
		}
		p.Kill()
		close(stop)
	}
	for _, conn := range conns {
		conn.Close()
	}
	wg.Wait()
	return nil
}

func (r *crash) died() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Died++
}

// send says again what was not answered, then new things, with at most Window
// under way, until the connection ends or Messages are answered; all is true
// then.
func (r *crash) send(s int, conn *Conn, stop <-chan struct{}) (all bool) {
	r.mu.Lock()
	again := r.queue[s]
	r.queue[s] = nil
	r.mu.Unlock()
	window := make(chan struct{}, r.Window)
	last := map[string]int64{} // per chat: I5, pipelined sends get increasing seqs
	for fresh := 0; ; {
		select {
		case <-stop:
		case <-conn.done:
		case window <- struct{}{}:
			var m *meant
			switch {
			case len(again) > 0:
				m, again = again[0], again[1:]
			case r.Messages > 0 && fresh == r.Messages:
				if r.answered(conn, window) {
					return true
				}
				<-conn.done
				return false
			default:
				m = r.mean(s)
				fresh++
			}
			r.start(s, conn, m, last, window)
			if len(window) == cap(window) || len(again) == 0 {
				if conn.Flush() != nil {
					<-conn.done
				}
			}
			continue
		}
		break
	}
	<-conn.done
	// What never got as far as the wire goes first next time, too.
	r.mu.Lock()
	r.queue[s] = append(r.queue[s], again...)
	r.mu.Unlock()
	return false
}

// answered waits until the window, of which the caller holds one place, is
// empty; false: the connection ended before.
func (r *crash) answered(conn *Conn, window chan struct{}) bool {
	if conn.Flush() != nil {
		return false
	}
	for range cap(window) - 1 {
		select {
		case window <- struct{}{}:
		case <-conn.done:
			return false
		}
	}
	return true
}

func (r *crash) mean(s int) *meant {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.meant[s])
	m := &meant{
		chat:    r.chats[r.rng.IntN(len(r.chats))],
		key:     fmt.Sprintf("%016x-%d-%d", r.Seed, s, n),
		content: body(r.rng, s, n),
	}
	r.meant[s][m.key] = m
	r.report.Sent++
	return m
}

// body makes text of changing length with everything a line protocol may trip
// over.
func body(rng *rand.Rand, s, n int) string {
	odd := []string{"\n", "\r\n", "\u2028", "\"\\", "{}", "é", "日本", "👩‍👩‍👧", "\u202e", "\t", "<b>", "\ufffd"}
	var b strings.Builder
	fmt.Fprintf(&b, "message %d of %d ", n, s)
	for range rng.IntN(12) {
		b.WriteString(odd[rng.IntN(len(odd))])
		b.WriteString(strings.Repeat("x", rng.IntN(40)))
	}
	if rng.IntN(50) == 0 {
		b.WriteString(strings.Repeat("long ", rng.IntN(3000)))
	}
	return b.String()
}

func (r *crash) start(s int, conn *Conn, m *meant, last map[string]int64, window <-chan struct{}) {
	params := protocol.MessageSendParams{ChatID: m.chat, Content: m.content, ClientMsgID: m.key}
	r.mu.Lock()
	if m.tried {
		r.report.Retried++
	}
	retry := m.tried
	m.tried = true
	r.mu.Unlock()
	conn.Start(protocol.TypeBroadcastRequest, protocol.OpMessageSend, params, func(resp protocol.Response, err error) {
		<-window
		r.mu.Lock()
		defer r.mu.Unlock()
		if err != nil { // unknown: say it again
			r.queue[s] = append(r.queue[s], m)
			return
		}
		if resp.Error != nil {
			if resp.Error.Retryable {
				r.queue[s] = append(r.queue[s], m)
				return
			}
			r.fault("%s was refused: %v", m.key, resp.Error)
			return
		}
		var res protocol.MessageSendResult
		if err := json.Unmarshal(resp.Result, &res); err != nil {
			r.fault("%s: the answer %s: %v", m.key, resp.Result, err)
			return
		}
		r.report.Acked++
		if res.Duplicate {
			r.report.Duplicates++
			if !retry {
				r.fault("%s was sent once and answered as a duplicate", m.key)
			}
		} else {
			if res.Seq <= last[m.chat] {
				r.fault("%s got seq %d after %d on the same connection", m.key, res.Seq, last[m.chat])
			}
			last[m.chat] = res.Seq
		}
		m.seq = res.Seq
	})
}

// fault notes a broken promise; mu is held.
func (r *crash) fault(format string, args ...any) {
	if len(r.report.Faults) < 50 {
		r.report.Faults = append(r.report.Faults, fmt.Sprintf(format, args...))
	}
}

func (r *crash) observe(line []byte) {
	var e protocol.Event
	if err := json.Unmarshal(line, &e); err != nil || e.Message == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.LiveEvents++
	at := place{e.ChatID, e.Message.Seq}
	if was, ok := r.live[at]; ok && was != hash(e.Message.Content) {
		r.fault("live: %v was seen with two bodies", at)
	}
	r.live[at] = hash(e.Message.Content)
}

func hash(s string) string {
	h := sha256.Sum256([]byte(s))
	return string(h[:])
}

// verify lets every sender finish, reads everything back and compares.
func (r *crash) verify() error {
	p, err := Start(r.Bin, r.Data, nil, r.Args...)
	if err != nil {
		return err
	}
	defer p.Kill()
	for s := range r.Senders {
		if err := r.finish(s, p.Addr); err != nil {
			return fmt.Errorf("finishing sender %d: %w", s, err)
		}
	}
	conn, err := Login(p.Addr, r.tokens[0], false, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	stored := map[place]protocol.Message{}
	for _, chat := range r.chats {
		rows, err := ReadAll(conn, chat)
		if err != nil {
			return err
		}
		// Creation and the founding members took the first numbers; from there
		// on there are only messages, without a hole.
		for i, m := range rows {
			if want := int64(i + r.Senders + 1); m.Seq != want || m.UpdatedSeq != want {
				r.fault("%s: row %d has seq %d and updated_seq %d, want %d", chat, i, m.Seq, m.UpdatedSeq, want)
				break
			}
			stored[place{chat, m.Seq}] = m
		}
	}
	total := 0
	for s := range r.Senders {
		total += len(r.meant[s])
		for _, m := range r.meant[s] {
			row, ok := stored[place{m.chat, m.seq}]
			switch {
			case m.seq == 0:
				r.fault("%s was never acknowledged, not even in the end", m.key)
			case !ok:
				r.fault("%s was acknowledged at %s/%d and is not there", m.key, m.chat, m.seq)
			case row.Content != m.content:
				r.fault("%s at %s/%d has another body", m.key, m.chat, m.seq)
			}
		}
	}
	if total != len(stored) {
		r.fault("%d messages were meant and %d are stored", total, len(stored))
	}
	for at, h := range r.live {
		if row, ok := stored[at]; !ok || hash(row.Content) != h {
			r.fault("live: %v was seen and is not stored so", at)
		}
	}
	return p.Stop()
}

// finish says what sender s has left until everything is acknowledged.
func (r *crash) finish(s int, addr string) error {
	conn, err := Login(addr, r.tokens[s], false, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	again := r.queue[s]
	r.queue[s] = nil
	window := make(chan struct{}, len(again)+1)
	for _, m := range again {
		window <- struct{}{}
		r.start(s, conn, m, map[string]int64{}, window)
	}
	if err := conn.Session("session.update", protocol.SessionUpdateParams{}, nil); err != nil {
		return err // answered after everything before it
	}
	if len(r.queue[s]) > 0 {
		return fmt.Errorf("%d sends stayed unanswered", len(r.queue[s]))
	}
	return nil
}

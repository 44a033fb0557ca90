//go:build linux

package main

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grima-chat/grima/internal/harness"
	"github.com/grima-chat/grima/protocol"
)

// result is what one case gave in one round.
type result struct {
	sent      int
	elapsed   time.Duration
	latencies []time.Duration // sorted: of the acknowledgements, or of the commits
	serverCPU time.Duration
	clientCPU time.Duration
}

func (r result) rate() float64 { return float64(r.sent) / r.elapsed.Seconds() }

// load sends through the socket for a while.
type load struct {
	process *harness.Process
	senders []person
	window  int // under way per sender; 1: a closed loop
	key     func(*rand.Rand) uuid
	bodies  []string
	live    bool
	seed    uint64

	measuring atomic.Bool
	stopping  atomic.Bool
	failOnce  sync.Once
	failed    chan struct{}
	err       error
}

// person is somebody logged in, with the chats they write to.
type person struct {
	token string
	chats []string
}

// sender is one connection under load. Only its reader's goroutine touches
// latencies while it runs.
type sender struct {
	l         *load
	conn      *harness.Conn
	rng       *rand.Rand
	chats     []string
	latencies []time.Duration
	free      chan struct{} // room in the window
}

// run sends for warm, then measures for long.
func (l *load) run(warm, long time.Duration) (result, error) {
	l.failed = make(chan struct{})
	var senders []*sender
	var wg sync.WaitGroup
	defer func() {
		for _, s := range senders {
			s.conn.Close()
		}
	}()
	for i, p := range l.senders {
		conn, err := harness.Login(l.process.Addr, p.token, l.live, nil)
		if err != nil {
			return result{}, fmt.Errorf("sender %d: %w", i, err)
		}
		senders = append(senders, &sender{
			l: l, conn: conn, chats: p.chats,
			rng:       rand.New(rand.NewPCG(l.seed, uint64(i))),
			latencies: make([]time.Duration, 0, 1<<14),
			free:      make(chan struct{}, l.window),
		})
	}
	settle()
	for _, s := range senders {
		if l.window == 1 {
			s.say()
			if err := s.conn.Flush(); err != nil {
				return result{}, err
			}
		} else {
			wg.Go(s.pipeline)
		}
	}
	r, err := l.measure(warm, long)
	l.stopping.Store(true)
	for _, s := range senders {
		// It is answered after every send before it, so nothing is under way.
		if e := s.conn.Session(protocol.OpSessionUpdate, protocol.SessionUpdateParams{}, nil); err == nil {
			err = e
		}
	}
	wg.Wait()
	if err != nil {
		return result{}, err
	}
	for _, s := range senders {
		r.latencies = append(r.latencies, s.latencies...)
	}
	r.sent = len(r.latencies)
	slices.Sort(r.latencies)
	if r.sent == 0 {
		return r, errors.New("nothing was acknowledged")
	}
	return r, nil
}

func (l *load) measure(warm, long time.Duration) (r result, err error) {
	if err := l.wait(warm); err != nil {
		return r, err
	}
	server, err := cpuOf(l.process.Pid())
	if err != nil {
		return r, err
	}
	client, err := ownCPU()
	if err != nil {
		return r, err
	}
	began := time.Now()
	l.measuring.Store(true)
	err = l.wait(long)
	l.measuring.Store(false)
	r.elapsed = time.Since(began)
	if err != nil {
		return r, err
	}
	if r.serverCPU, err = cpuOf(l.process.Pid()); err != nil {
		return r, err
	}
	if r.clientCPU, err = ownCPU(); err != nil {
		return r, err
	}
	r.serverCPU -= server
	r.clientCPU -= client
	return r, nil
}

func (l *load) wait(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-l.failed:
		return l.err
	}
}

func (l *load) fail(err error) {
	l.failOnce.Do(func() {
		l.err = err
		close(l.failed)
	})
}

// say queues one message.
func (s *sender) say() {
	params := protocol.MessageSendParams{
		ChatID:      s.chats[s.rng.IntN(len(s.chats))],
		Content:     s.l.bodies[s.rng.IntN(len(s.l.bodies))],
		ClientMsgID: s.l.key(s.rng).String(),
	}
	began := time.Now()
	s.conn.Start(protocol.TypeBroadcastRequest, protocol.OpMessageSend, params, func(r protocol.Response, err error) {
		s.heard(began, r, err)
	})
}

func (s *sender) heard(began time.Time, r protocol.Response, err error) {
	switch {
	case err != nil:
		s.l.fail(fmt.Errorf("a send: %w", err))
	case r.Error != nil:
		s.l.fail(fmt.Errorf("a send: %w", r.Error))
	case s.l.measuring.Load():
		s.latencies = append(s.latencies, time.Since(began))
	}
	switch {
	case s.l.window > 1:
		<-s.free
	case err == nil && !s.l.stopping.Load():
		s.say() // the closed loop lives in the reader's goroutine
		if err := s.conn.Flush(); err != nil {
			s.l.fail(err)
		}
	}
}

// pipeline keeps the window full, writing what fits in one go.
func (s *sender) pipeline() {
	for !s.l.stopping.Load() {
		select {
		case s.free <- struct{}{}:
			s.say()
			continue
		default:
		}
		if err := s.conn.Flush(); err != nil {
			s.l.fail(err)
			return
		}
		select {
		case s.free <- struct{}{}:
			s.say()
		case <-s.l.failed:
			return
		}
	}
	if err := s.conn.Flush(); err != nil {
		s.l.fail(err)
	}
}

// uuid is a client_msg_id.
type uuid [16]byte

func (u uuid) String() string {
	var b [36]byte
	hex.Encode(b[0:8], u[0:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:36], u[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// randomID is a UUIDv4: an index on it takes its inserts all over the place.
func randomID(rng *rand.Rand) (u uuid) {
	binary.BigEndian.PutUint64(u[:8], rng.Uint64())
	binary.BigEndian.PutUint64(u[8:], rng.Uint64())
	return u.marked(4)
}

// timeID is a UUIDv7, whose order is that of time.
func timeID(rng *rand.Rand) uuid { return timeIDAt(rng, time.Now().UnixMicro()) }

// timeIDAt is a UUIDv7 for the time in microseconds; those below the
// millisecond stand in rand_a, as RFC 9562 allows.
func timeIDAt(rng *rand.Rand, us int64) (u uuid) {
	binary.BigEndian.PutUint64(u[:8], uint64(us/1000)<<16|uint64(us%1000)<<2)
	binary.BigEndian.PutUint64(u[8:], rng.Uint64())
	return u.marked(7)
}

func (u uuid) marked(version byte) uuid {
	u[6] = u[6]&0x0f | version<<4
	u[8] = u[8]&0x3f | 0x80
	return u
}

// makeBodies makes contents of n bytes that look like text.
func makeBodies(rng *rand.Rand, n int) []string {
	const letters = "etaoin shrdlu cmfwyp vbgkjq xz 0123456789"
	bodies := make([]string, 1024)
	for i := range bodies {
		b := make([]byte, n)
		for j := range b {
			b[j] = letters[rng.IntN(len(letters))]
		}
		b[0], b[n-1] = 'a', 'z' // no blank edges, whatever a server thinks of them
		bodies[i] = string(b)
	}
	return bodies
}

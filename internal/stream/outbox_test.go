package stream

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/hub"
)

// post is an outbox that writes into a pipe, whose other end the test reads.
type post struct {
	outbox
	*testing.T

	far    net.Conn
	lines  *bufio.Reader
	writes int // calls of Write
	wakes  int
	room   int // calls of roomAgain
	onRoom func()
	stalls int
	failed []error
}

func (p *post) wake()                 { p.wakes++ }
func (p *post) stalled()              { p.stalls++ }
func (p *post) writeFailed(err error) { p.failed = append(p.failed, err) }

func (p *post) roomAgain() {
	p.room++
	if p.onRoom != nil {
		p.onRoom()
	}
}

// raw is a run of events for tests.
type raw []byte

func (r raw) Bytes(*hub.Wire) []byte { return r }
func (r raw) Size() int              { return len(r) }
func (r raw) Made() time.Time        { return time.Now() }

func newPost(t *testing.T, room int) *post {
	near, far := net.Pipe()
	p := &post{T: t, far: far, lines: bufio.NewReader(far)}
	p.outbox = outbox{
		to: carrierOf(counting{near, &p.writes}, new(Room)), form: bareLines, owner: p, waiting: &nothingWaits,
		bounds: &bounds{room: room, inFlight: 4, stall: 15 * time.Second},
	}
	t.Cleanup(func() {
		p.abort()
		_, _ = near.Close(), far.Close()
		p.waitWritten()
	})
	return p
}

type counting struct {
	net.Conn

	writes *int
}

func (c counting) Write(b []byte) (int, error) {
	*c.writes++
	return c.Conn.Write(b)
}

func (p *post) reads(want ...string) {
	p.Helper()
	for _, w := range want {
		got, err := p.lines.ReadString('\n')
		if err != nil || got != w+"\n" {
			p.Fatalf("read %q, %v, want %q", got, err, w)
		}
	}
}

// says answers as a request does that is carried out apart.
func (p *post) says(n uint64, s string) {
	p.answer(n, []byte(s+"\n"))
	p.flush()
}

func TestAnswersLeaveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPost(t, 1<<10)
		a, b, c := p.begin(), p.begin(), p.begin()
		p.says(c, "third")
		p.says(b, "second")
		p.event(raw("event\n"))
		p.reads("event")
		p.says(a, "first")
		p.reads("first", "second", "third")
		if d := p.begin(); d != c+1 {
			t.Errorf("the next is %d", d)
		}
	})
}

func TestEventsWaitForTheAnswerTheyFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPost(t, 1<<10)
		p.hold()
		n := p.begin()
		p.event(raw("event 1\n"))
		p.event(raw("event 2\n"))
		synctest.Wait()
		if p.writes != 0 {
			t.Error("an event went ahead")
		}
		p.says(n, "answer")
		p.event(raw("event 3\n"))
		p.reads("answer", "event 1", "event 2", "event 3")
		p.waitWritten()
		if p.queued != [2]int{} {
			t.Errorf("still counted: %v", p.queued)
		}
	})
}

func TestWhatGathersIsWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPost(t, 1<<20)
		p.event(raw("first\n"))
		synctest.Wait() // it is being written
		for i := range 1000 {
			p.event(raw(fmt.Appendf(nil, "%d\n", i)))
		}
		p.reads("first")
		for i := range 1000 {
			p.reads(fmt.Sprint(i))
		}
		if p.writes != 2 {
			t.Errorf("%d writes", p.writes)
		}
	})
}

// What a writer leaves to the turn that begins meanwhile is written at the end of
// that, also if the turn leaves its own answers to a flush to come.
func TestTurnWritesWhatWasLeftToIt(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = near.Close(), far.Close(), ln.Close() })
	p := &post{T: t, far: far, lines: bufio.NewReader(far)}
	p.outbox = outbox{
		to: carrierOf(near, new(Room)), form: bareLines, owner: p, waiting: &nothingWaits,
		bounds: &bounds{room: 10, inFlight: 4, stall: 15 * time.Second},
	}
	if p.to.sock == nil {
		t.Skip("nothing is written by who brings it")
	}
	p.onRoom = func() { // called by who writes the first event
		p.event(raw("second\n"))
		p.cork()
	}
	p.cork()
	p.event(raw("first\n"))
	if p.event(raw("refused\n")) {
		t.Fatal("there was room")
	}
	p.uncork()
	if p.room != 1 || len(p.queue) != 1 {
		t.Fatalf("heard of room %d times, %d wait", p.room, len(p.queue))
	}
	p.loosen()
	if n := p.backlog(); n != 0 {
		t.Errorf("%d bytes wait after the turn", n)
	}
	p.flush()
	p.reads("first", "second")
}

func TestNoRoomForEvents(t *testing.T) {
	event := raw(strings.Repeat("e", 99) + "\n")
	synctest.Test(t, func(t *testing.T) {
		p := newPost(t, 1000)
		p.event(event)
		synctest.Wait() // it is being written
		for range 9 {
			if !p.event(event) {
				t.Fatal("refused before the bound")
			}
		}
		for range 2 {
			if p.event(event) {
				t.Fatal("taken beyond the bound")
			}
		}
		p.says(p.begin(), "answer") // for which there is room
		p.reads(strings.TrimSpace(string(event)))
		synctest.Wait() // the rest is being written, at once
		if p.room != 0 {
			t.Error("room with more than half of it taken")
		}
		for range 9 {
			p.reads(strings.TrimSpace(string(event)))
		}
		p.reads("answer")
		p.waitWritten()
		if p.room != 1 || len(p.failed) != 0 {
			t.Errorf("heard of room %d times, failed %v", p.room, p.failed)
		}
		if !p.event(event) {
			t.Error("refused with room")
		}
		p.finish([]byte("goodbye\n"), goodbyeTimeout)
		if p.event(event) {
			t.Error("taken after the end")
		}
		p.reads(strings.TrimSpace(string(event)), "goodbye")
		p.waitWritten()
		if p.room != 1 || p.queued != [2]int{} {
			t.Errorf("heard of room %d times; still counted: %v", p.room, p.queued)
		}
	})
}

func TestOneLargeEventIsNoBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPost(t, 1000)
		p.event(raw(append(bytes.Repeat([]byte("e"), 200_000), '\n')))
		p.reads(strings.Repeat("e", 200_000))
		if len(p.failed) != 0 {
			t.Error("slow")
		}
	})
}

func TestEphemeraAreDroppedBehindABacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPost(t, 100)
		p.notice(raw("typing\n"))
		p.event(raw(strings.Repeat("e", 50) + "\n"))
		p.notice(raw("typing too\n"))
		p.event(raw("after\n"))
		p.reads("typing", strings.Repeat("e", 50), "after")
	})
}

func TestStall(t *testing.T) {
	t.Run("nothing is read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPost(t, 1<<20)
			began := time.Now()
			p.put([]byte("hello\n"))
			p.waitWritten()
			if waited := time.Since(began); waited != 2*p.bounds.stall || p.stalls != 1 {
				t.Errorf("gave up after %v, stalled: %d", waited, p.stalls)
			}
			if len(p.failed) != 1 || !errors.Is(p.failed[0], os.ErrDeadlineExceeded) {
				t.Errorf("failed: %v", p.failed)
			}
			p.event(raw("event\n"))
			if len(p.queue) != 0 || p.queued != [2]int{} {
				t.Errorf("kept: %v", p.queued)
			}
		})
	})
	t.Run("it is read again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPost(t, 1<<20)
			first := strings.Repeat("e", 100_000)
			p.put([]byte(first + "\n"))
			if _, err := io.ReadFull(p.lines, make([]byte, 50_000)); err != nil {
				t.Fatal(err)
			}
			p.event(raw("event\n"))
			p.put([]byte("second\n"))
			time.Sleep(p.bounds.stall)
			synctest.Wait()
			if p.stalls != 1 || len(p.failed) != 0 {
				t.Fatalf("stalled: %d, failed: %v", p.stalls, p.failed)
			}
			p.event(raw("late\n"))
			p.put([]byte("too late\n"))
			if p.queued != [2]int{100_001, 0} { // the one that is being written
				t.Errorf("kept: %v", p.queued)
			}
			p.finish([]byte("goodbye\n"), 0)
			time.Sleep(p.bounds.stall - time.Second)
			p.reads(first[50_000:], "goodbye")
			p.waitWritten()
			if len(p.failed) != 0 || p.queued != [2]int{} {
				t.Errorf("failed: %v, kept: %v", p.failed, p.queued)
			}
		})
	})
	// As of a session that is revoked just before its client has stalled.
	t.Run("it ends for a reason that does not wait as long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPost(t, 1<<20)
			p.put([]byte("hello\n"))
			time.Sleep(p.bounds.stall)
			synctest.Wait()
			began := time.Now()
			p.finish([]byte("goodbye\n"), goodbyeTimeout)
			p.waitWritten()
			if waited := time.Since(began); p.stalls != 1 || waited != goodbyeTimeout {
				t.Errorf("stalled: %d, gave up after %v", p.stalls, waited)
			}
		})
	})
	t.Run("enough is read now and then", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPost(t, 1<<20)
			p.put(append(bytes.Repeat([]byte("e"), 100_000), '\n'))
			for read := 0; read < 100_001; {
				time.Sleep(14 * time.Second)
				n, err := io.ReadFull(p.far, make([]byte, min(progress, 100_001-read)))
				if err != nil {
					t.Fatalf("after %d: %v", read, err)
				}
				read += n
			}
			p.waitWritten()
			if len(p.failed) != 0 {
				t.Errorf("failed: %v", p.failed)
			}
		})
	})
	// Any byte used to count, so that a reader of one per 14 s kept a page of
	// messages in memory for weeks.
	t.Run("a byte is read now and then", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPost(t, 1<<20)
			began := time.Now()
			p.put(append(bytes.Repeat([]byte("e"), 100_000), '\n'))
			var reader sync.WaitGroup
			reader.Go(func() {
				for {
					time.Sleep(time.Second)
					if _, err := io.ReadFull(p.far, make([]byte, 1)); err != nil {
						return
					}
				}
			})
			p.waitWritten()
			if waited := time.Since(began); waited != 2*p.bounds.stall || len(p.failed) != 1 {
				t.Errorf("gave up after %v, failed: %v", waited, p.failed)
			}
			_ = p.far.Close()
			reader.Wait()
		})
	})
	t.Run("a goodbye waits less", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPost(t, 1<<20)
			p.put([]byte("hello\n"))
			synctest.Wait()
			began := time.Now()
			p.finish([]byte("goodbye\n"), goodbyeTimeout)
			p.waitWritten()
			if waited := time.Since(began); waited != goodbyeTimeout {
				t.Errorf("gave up after %v", waited)
			}
		})
	})
}

func TestRoomForRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPost(t, 10)
		free := make(chan struct{})
		wait := func() {
			go func() {
				p.waitRoom()
				free <- struct{}{}
			}()
			synctest.Wait()
		}
		blocked := func() bool {
			select {
			case <-free:
				return false
			default:
				return true
			}
		}

		var n [4]uint64
		for i := range n {
			wait()
			if blocked() {
				t.Fatalf("no room for number %d", i)
			}
			n[i] = p.begin()
		}
		wait()
		if !blocked() {
			t.Fatal("room for more than may be in flight")
		}
		p.says(n[0], "an answer that fills the outbox")
		synctest.Wait()
		if !blocked() {
			t.Fatal("room although the answers are not read")
		}
		p.reads("an answer that fills the outbox")
		<-free
		wait()
		if blocked() {
			t.Fatal("no room although all is read")
		}

		n[0] = p.begin()
		wait()
		p.hurry()
		<-free
		answered := make(chan struct{})
		go func() {
			p.waitAnswered()
			close(answered)
		}()
		for _, i := range []uint64{n[1], n[2], n[3], n[0]} {
			p.says(i, "x")
			p.reads("x")
		}
		<-answered
	})
}

// What only strangers need goes with the first read after login that has nothing
// early left, also of a WebSocket whose handshake left nothing behind: an empty slice is not nil.
func TestNobodyStaysAStranger(t *testing.T) {
	for _, early := range [][]byte{nil, {}, []byte("a line\n")} {
		c := newConn(New(Config{}), new(net.TCPConn), Peer{Early: early})
		c.out.bounds = &c.srv.bounds[0]
		c.out.to = carrier{sock: &Socket{fd: -1, parked: true, empty: true}}
		c.loggedIn.Store(true)
		buf := make([]byte, 64)
		if n, err := (input{c}).Read(buf); n != len(early) || n == 0 && err != errNotNow {
			t.Errorf("early %q: %d, %v", early, n, err)
		}
		if c.stranger != nil {
			t.Errorf("early %q: it stays a stranger", early)
		}
	}
}

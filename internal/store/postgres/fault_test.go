package postgres

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/pgtest"
	"github.com/grima-chat/grima/internal/store/storetest"
)

var commits = flag.Int("postgres.commits", 100, "how many commits lose their answer in TestCommitUnknown")

// exec runs SQL as somebody beside the store.
func exec(t testing.TB, url, sql string) {
	t.Helper()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// COMMIT reaches the server and its answer gets lost, or something before it
// does: everybody hears what is true, and nothing is written twice, whether it
// has a client_msg_id or not.
func TestCommitUnknown(t *testing.T) {
	for _, c := range []struct {
		name string
		arm  func(p *proxy, i int)
	}{
		{"the answer is lost", func(p *proxy, _ int) { p.drop = true }},
		{"a request is lost", func(p *proxy, i int) { p.refuse = 1 + i%2 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := pgtest.New(t)
			p := newProxy(t, url)
			s := open(t, p.url)
			id := makeChat(t, s, 1)
			for i := range *commits {
				key := ""
				if i%2 == 0 {
					key = fmt.Sprint("k", i)
				}
				p.set(func() { c.arm(p, i) })
				var seq int64
				if err := do(s, sendOp(id, 1, key, fmt.Sprint(i), &seq)); err != nil {
					t.Fatalf("send %d: %v", i, err)
				}
				if seq != int64(i)+2 {
					t.Errorf("send %d was told the number %d", i, seq)
				}
			}
			list := log(t, open(t, url), id, 2)
			if len(list) != *commits {
				t.Errorf("%d messages, want %d", len(list), *commits)
			}
			for i, m := range list {
				if m.Content != fmt.Sprint(i) {
					t.Fatalf("message %d is %q", i, m.Content)
				}
			}
			if p.drops != *commits {
				t.Errorf("%d answers or requests were lost, want %d", p.drops, *commits)
			}
		})
	}
}

// When the database stays away nobody can know; that is what everybody hears,
// and what they do then is right.
func TestCommitUnknownForGood(t *testing.T) {
	url := pgtest.New(t)
	p := newProxy(t, url)
	s := open(t, p.url, func(c *Config) { c.Patience = 100 * time.Millisecond })
	id := makeChat(t, s, 1)

	p.set(func() { p.drop, p.down = true, true })
	var order []int
	heard := make(chan error, 3)
	for i := range 3 { // what is behind it hears after it, that nothing was stored
		s.Update(sendOp(id, 1, fmt.Sprint("k", i), "x", nil), func(err error) {
			order = append(order, i)
			heard <- err
		})
	}
	for i := range 3 {
		if err := <-heard; chat.CodeOf(err) != chat.CodeUnavailable {
			t.Errorf("send %d: %v", i, err)
		}
	}
	if fmt.Sprint(order) != "[0 1 2]" {
		t.Errorf("they heard in the order %v", order)
	}
	select {
	case <-s.Failed():
		t.Errorf("a lost connection ended writing: %v", s.Err())
	default:
	}
	if err := s.View(t.Context(), func(r chat.Reader) error { _, err := r.LastStamp(); return err }); chat.CodeOf(err) != chat.CodeUnavailable {
		t.Errorf("a view meanwhile: %v", err)
	}

	before := len(log(t, open(t, url), id, 2))
	if before == 0 {
		t.Error("the first was not committed, so this proves little")
	}
	p.set(func() { p.down = false })
	for i := range 3 {
		var seq int64
		if err := do(s, sendOp(id, 1, fmt.Sprint("k", i), "x", &seq)); err != nil || seq != int64(i)+2 {
			t.Errorf("again, send %d got %d, %v", i, seq, err)
		}
	}
	if n := len(log(t, s, id, 2)); n != 3 {
		t.Errorf("%d messages, want 3", n)
	}
}

// crowd sends until it is told to stop, every key until it is answered.
type crowd struct {
	t      testing.TB
	stores []*Store
	id     chat.ChatID
	stop   chan struct{}
	wg     sync.WaitGroup

	mu    sync.Mutex
	acked map[string]int64
	again atomic.Int64 // sends that heard an error, and were sent again
}

func gatherCrowd(t testing.TB, id chat.ChatID, senders int, stores ...*Store) *crowd {
	c := &crowd{t: t, stores: stores, id: id, stop: make(chan struct{}), acked: map[string]int64{}}
	for u := range senders {
		c.wg.Go(func() { c.send(u) })
	}
	return c
}

func (c *crowd) send(u int) {
	for i := 0; ; i++ {
		key := fmt.Sprint(u, " ", i)
		for {
			var seq int64
			err := do(c.stores[(u+i)%len(c.stores)], sendOp(c.id, 1, key, key, &seq))
			if err == nil {
				c.mu.Lock()
				c.acked[key] = seq
				c.mu.Unlock()
				break
			}
			if chat.CodeOf(err) != chat.CodeUnavailable {
				c.t.Errorf("send %s: %v", key, err)
				return
			}
			c.again.Add(1)
		}
		select {
		case <-c.stop:
			return
		default:
		}
	}
}

// until waits until so many more were acknowledged.
func (c *crowd) until(more int) {
	count := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.acked)
	}
	late := time.Now().Add(time.Minute)
	for want := count() + more; count() < want; {
		if time.Now().After(late) {
			c.t.Fatalf("only %d of %d were acknowledged in a minute", count(), want)
		}
		<-time.After(time.Millisecond)
	}
}

// end ends the sending and sees that all that was acknowledged is there, once.
func (c *crowd) end(s chat.Store) {
	c.t.Helper()
	close(c.stop)
	c.wg.Wait()
	list := log(c.t, s, c.id, 2)
	times := map[string]int{}
	for _, m := range list {
		times[m.Content]++
	}
	for key, seq := range c.acked {
		if times[key] != 1 {
			c.t.Errorf("%s, acknowledged as %d, is there %d times", key, seq, times[key])
		} else if m := list[seq-2]; m.Content != key {
			c.t.Errorf("%s was acknowledged as %d, where %s is", key, seq, m.Content)
		}
	}
	if len(list) != len(c.acked) {
		c.t.Errorf("%d messages, %d acknowledged", len(list), len(c.acked))
	}
	c.t.Logf("%d sends acknowledged, %d sent again", len(c.acked), c.again.Load())
	storetest.CheckLog(c.t, s, c.id)
}

func TestKilledBackends(t *testing.T) {
	url := pgtest.New(t)
	two := []*Store{open(t, url), open(t, url)}
	id := makeChat(t, two[0], 1)
	c := gatherCrowd(t, id, 8, two...)
	for range 30 {
		c.until(20)
		exec(t, pgtest.Admin(t, url), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	}
	c.end(two[1])
	for _, s := range two {
		if err := s.Err(); err != nil {
			t.Errorf("writing ended: %v", err)
		}
	}
}

func TestTheDatabaseRestarts(t *testing.T) {
	cluster := pgtest.Start(t)
	url := cluster.New(t)
	two := []*Store{open(t, url), open(t, url)}
	id := makeChat(t, two[0], 1)
	c := gatherCrowd(t, id, 8, two...)
	for i := range 6 {
		c.until(100)
		if i%2 == 0 {
			cluster.Stop()
		} else {
			cluster.Crash()
		}
		cluster.Restart(t)
	}
	c.until(100)
	c.end(two[0])
}

// What a store cannot go on with ends it, and says what to do.
func TestWhatEndsWriting(t *testing.T) {
	for name, sql := range map[string]string{
		"another epoch":  `UPDATE meta SET value = 'another' WHERE name = 'epoch'`,
		"a newer schema": `UPDATE meta SET value = '999' WHERE name = 'version'`,
	} {
		t.Run(name, func(t *testing.T) {
			url := pgtest.New(t)
			s := open(t, url)
			id := makeChat(t, s, 1)
			exec(t, url, sql)
			if err := do(s, sendOp(id, 1, "k", "x", nil)); chat.CodeOf(err) != chat.CodeUnavailable {
				t.Errorf("a send: %v", err)
			}
			<-s.Failed()
			if err := do(s, chat.Op{Run: func(chat.Tx) error { return nil }}); chat.CodeOf(err) != chat.CodeUnavailable {
				t.Errorf("the next update: %v", err)
			}
			t.Log(s.Err())
			if n := len(log(t, s, id, 2)); n != 0 {
				t.Errorf("%d messages", n)
			}
		})
	}
	t.Run("another table", func(t *testing.T) { // as after a dump was loaded
		url := pgtest.New(t)
		s := open(t, url)
		id := makeChat(t, s, 1)
		exec(t, url, `CREATE TABLE copy AS TABLE meta; DROP TABLE meta; ALTER TABLE copy RENAME TO meta;
ALTER TABLE meta ADD PRIMARY KEY (name)`)
		exec(t, pgtest.Admin(t, url), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		if err := do(s, sendOp(id, 1, "k", "x", nil)); chat.CodeOf(err) != chat.CodeUnavailable {
			t.Errorf("a send: %v", err)
		}
		<-s.Failed()
		t.Log(s.Err())
		epoch := s.Epoch()
		if again := open(t, url); again.Epoch() == epoch {
			t.Error("started again it has the same epoch")
		}
	})
}

// An update that cannot be stored costs itself alone.
func TestWhatCannotBeStored(t *testing.T) {
	s := open(t, pgtest.New(t))
	id := makeChat(t, s, 1)
	heard := make(chan error, 20)
	for i := range 20 {
		content := fmt.Sprint(i)
		if i == 7 {
			content = "\xff" // no UTF-8, which the rules would not let through
		}
		s.Update(sendOp(id, 1, fmt.Sprint(i), content, nil), func(err error) { heard <- err })
	}
	for i := range 20 {
		if err := <-heard; (err != nil) != (i == 7) {
			t.Errorf("send %d: %v", i, err)
		}
	}
	if n := len(log(t, s, id, 2)); n != 19 {
		t.Errorf("%d messages, want 19", n)
	}
	if err := s.Err(); err != nil {
		t.Error(err)
	}
}

// A view's slow connection, or none, ends with its context.
func TestAViewEndsWithItsContext(t *testing.T) {
	s := open(t, pgtest.New(t), func(c *Config) { c.Readers, c.Log = 1, slog.New(slog.DiscardHandler) })
	inside, leave := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- s.View(context.Background(), func(r chat.Reader) error {
			_, err := r.LastStamp()
			close(inside)
			<-leave
			return err
		})
	}()
	<-inside
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.View(ctx, func(chat.Reader) error { return nil }); chat.CodeOf(err) != chat.CodeTimeout {
		t.Errorf("without a connection: %v", err)
	}
	close(leave)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	err := s.View(ctx, func(r chat.Reader) error {
		cancel()
		_, err := r.LastStamp()
		return err
	})
	if chat.CodeOf(err) != chat.CodeTimeout {
		t.Errorf("cancelled: %v", err)
	}
	view(t, s, func(r chat.Reader) error { _, err := r.LastStamp(); return err })
}

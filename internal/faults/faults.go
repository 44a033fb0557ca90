package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/hub/natsbus"
)

// Fault is something that goes wrong for a while.
type Fault struct {
	Name string
	// Short and Long are how long it lasts, in tests and by command. 0: it is over
	// at once.
	Short, Long time.Duration
	// cut is which servers cannot do anything meanwhile (nil: none), and all of
	// them if there is no store.
	cut func(*node) bool

	do func(context.Context, *Cluster) (heal func() error, err error)
}

func first(n *node) bool     { return n.name == "n1" }
func everyone(*node) bool    { return true }
func nobody(n *node) bool    { return false }
func (c *Cluster) n1() *node { return c.nodes[0] }

// List is every fault there is, for three servers that do everything.
func List() []Fault {
	const long = 10 * time.Second
	return []Fault{
		{Name: "nothing", Short: time.Second, Long: long, do: func(context.Context, *Cluster) (func() error, error) {
			return func() error { return nil }, nil
		}},
		{Name: "a server is killed (SIGKILL)", Short: time.Second, Long: long, cut: first, do: func(_ context.Context, c *Cluster) (func() error, error) {
			c.n1().kill()
			return func() error { return c.start(c.n1()) }, nil
		}},
		{Name: "a server is frozen (SIGSTOP)", Short: 4 * time.Second, Long: 30 * time.Second, cut: first, do: func(_ context.Context, c *Cluster) (func() error, error) {
			pid := c.n1().process.Pid()
			return func() error { return syscall.Kill(pid, syscall.SIGCONT) }, syscall.Kill(pid, syscall.SIGSTOP)
		}},
		{Name: "NATS is killed", Short: 2 * time.Second, Long: long, do: func(_ context.Context, c *Cluster) (func() error, error) {
			c.nats.stop()
			return c.nats.start, nil
		}},
		{Name: "NATS is restarted", do: func(_ context.Context, c *Cluster) (func() error, error) {
			c.nats.stop()
			return c.nats.start, nil
		}},
		{Name: "nothing gets from a server to NATS", Short: 2 * time.Second, Long: long, do: func(_ context.Context, c *Cluster) (func() error, error) {
			c.n1().toNATS.stick(true)
			return func() error { c.n1().toNATS.stick(false); return nil }, nil
		}},
		{Name: "connections of a server to NATS are cut", Short: time.Second, Long: long, do: func(_ context.Context, c *Cluster) (func() error, error) {
			c.n1().toNATS.Cut(true)
			return func() error { c.n1().toNATS.Cut(false); return nil }, nil
		}},
		{Name: "nothing gets from a server to PostgreSQL", Short: 4 * time.Second, Long: 20 * time.Second, cut: first, do: func(_ context.Context, c *Cluster) (func() error, error) {
			c.n1().toPostgres.stick(true)
			return func() error { c.n1().toPostgres.stick(false); return nil }, nil
		}},
		{Name: "connections of a server to PostgreSQL are cut", Short: time.Second, Long: long, cut: first, do: func(_ context.Context, c *Cluster) (func() error, error) {
			c.n1().toPostgres.Cut(true)
			return func() error { c.n1().toPostgres.Cut(false); return nil }, nil
		}},
		{Name: "PostgreSQL is stopped", Short: time.Second, Long: long, cut: everyone, do: func(_ context.Context, c *Cluster) (func() error, error) {
			c.postgres.Stop()
			return c.postgres.Resume, nil
		}},
		{Name: "PostgreSQL crashes (SIGQUIT)", Short: time.Second, Long: long, cut: everyone, do: func(_ context.Context, c *Cluster) (func() error, error) {
			c.postgres.Crash()
			return c.postgres.Resume, nil
		}},
		{Name: "a backend of PostgreSQL is killed (SIGKILL), and all recover", cut: everyone, do: killBackend},
		{Name: "backends of PostgreSQL are ended, ten a second", Short: time.Second, Long: long, do: endBackends},
		{Name: "hints by hand: doubled, out of order, made up, garbage", Short: time.Second, Long: long, do: hints},
	}
}

// killBackend kills the process of one of our connections, which PostgreSQL takes
// for a crash.
func killBackend(ctx context.Context, c *Cluster) (heal func() error, err error) {
	conn, err := pgx.Connect(ctx, c.postgres.Superuser())
	if err != nil {
		return nil, err
	}
	var pid int
	err = conn.QueryRow(ctx, `SELECT pid FROM pg_stat_activity WHERE application_name = 'grima' LIMIT 1`).Scan(&pid)
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("killing a backend: %w", err), conn.Close(ctx))
	}
	return func() error {
		for conn.Ping(ctx) == nil { // until the others are ended, too
			pause(ctx, 5*time.Millisecond)
		}
		_ = conn.Close(ctx) // which has ended
		return c.postgres.Ready()
	}, ctx.Err()
}

// endBackends ends one of our connections after the other, whatever it does.
func endBackends(ctx context.Context, c *Cluster) (heal func() error, err error) {
	conn, err := pgx.Connect(ctx, c.postgres.Superuser())
	if err != nil {
		return nil, err
	}
	over, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		defer conn.Close(ctx)
		for over.Err() == nil {
			_, err := conn.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'grima' ORDER BY random() LIMIT 1`)
			if err != nil {
				ended <- err
				return
			}
			pause(over, 100*time.Millisecond)
		}
		ended <- nil
	}()
	return func() error { stop(); return <-ended }, nil
}

// hints hears what the servers tell each other and says it again, later and in
// another order, and makes up what nobody said.
func hints(ctx context.Context, c *Cluster) (heal func() error, err error) {
	var epoch string
	conn, err := pgx.Connect(ctx, c.database)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, `SELECT value FROM meta WHERE name = 'epoch'`).Scan(&epoch); err != nil {
		return nil, fmt.Errorf("reading the epoch: %w", err)
	}
	b, err := natsbus.New(natsbus.Config{URL: "nats://" + c.nats.addr(), Prefix: prefix, Epoch: epoch, Name: "by hand"})
	if err != nil {
		return nil, err
	}
	type said struct {
		kind    hub.Kind
		payload []byte
	}
	heard := make(chan said, 1<<12)
	err = b.Subscribe(hub.Kinds, func(kind hub.Kind, payload []byte) {
		select {
		case heard <- said{kind, append([]byte(nil), payload...)}:
		default: // more than anybody needs
		}
	}, func() {})
	if err != nil {
		return nil, err
	}
	over, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		var kept []said
		for over.Err() == nil {
			pause(over, 5*time.Millisecond)
			for len(heard) > 0 {
				kept = append(kept, <-heard)
			}
			rand.Shuffle(len(kept), func(i, j int) { kept[i], kept[j] = kept[j], kept[i] })
			kept = kept[:min(len(kept), 200)]
			for _, s := range kept[:min(len(kept), 20)] {
				made := append([]byte(nil), s.payload...)
				for range 1 + rand.IntN(4) {
					if len(made) > 0 {
						made[rand.IntN(len(made))] = byte(rand.Uint32())
					}
				}
				garbage := make([]byte, rand.IntN(300))
				for i := range garbage {
					garbage[i] = byte(rand.Uint32())
				}
				for _, payload := range [][]byte{s.payload, made, garbage} {
					if err := b.Publish(s.kind, payload); err != nil {
						ended <- fmt.Errorf("publishing by hand: %w", err)
						return
					}
				}
			}
		}
		ended <- nil
	}()
	return func() error {
		stop()
		err := <-ended
		if closed := b.Close(); err == nil {
			err = closed
		}
		return err
	}, nil
}

//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"
)

// planCrowd makes, once, the people whose connections are counted: each in one
// room of a hundred.
func (b *bench) planCrowd() (*crowd, error) {
	if b.live.crowd != nil {
		return b.live.crowd, nil
	}
	size := b.live.size
	const perRoom = 100
	people := max(size.idle, size.storm)
	for _, n := range size.active {
		people = max(people, n)
	}
	people = (people + perRoom - 1) / perRoom * perRoom
	var rooms []roomOf
	for i := 0; i < people; i += perRoom {
		rooms = append(rooms, roomOf{from: i, to: i + perRoom})
	}
	b.progress("writing %d people and their rooms", people)
	w, err := b.makeCrowd(filepath.Join(b.tmp, "crowd"), people, 0, rooms)
	if err != nil {
		return nil, err
	}
	w.perRoom = perRoom
	b.live.crowd = w
	return w, nil
}

var wires = []string{"plain", "WebSocket", "TLS"}

func memoryKey(server, wire string) string { return "memory/" + server + "/" + wire }

func (b *bench) planMemory() error {
	w, err := b.planCrowd()
	if err != nil {
		return err
	}
	plan := func(k kind, wire string) {
		b.plan(fmt.Sprintf("memory, %s, %s", k.name, wire), func(round int) error {
			return b.beside(k, w, func(t *target) error { return b.memory(round, t, w, wire) })
		})
	}
	for _, wire := range wires {
		var args []string
		if wire == "TLS" {
			args = []string{"--tls-cert", b.live.tls[0], "--tls-key", b.live.tls[1]}
		}
		for _, k := range b.grimas(args...) {
			plan(k, wire)
		}
	}
	for _, k := range b.live.peers {
		plan(k, "plain")
	}
	return nil
}

// memory measures what a server grows by with idle clients that are logged in
// and listen.
func (b *bench) memory(round int, t *target, w *crowd, wire string) error {
	l, err := newLoop(b.ctx)
	if err != nil {
		return err
	}
	defer l.close()
	n := b.live.size.idle
	open := func(l *loop, n, from int) error {
		_, err := l.open(n, 64, func(i int) (*client, error) {
			script := t.receiver
			if wire == "WebSocket" {
				script = func(i int) []step { return webSocketReceiver(w, i) }
			}
			return l.dial(t.addr, from+i, script(from+i), nil)
		})
		return err
	}
	if wire == "TLS" {
		open = func(_ *loop, n, from int) error {
			conns, err := b.openTLS(t.addr, w, n, from)
			if err == nil {
				b.live.secure = append(b.live.secure, conns...)
			}
			return err
		}
		defer func() {
			for _, c := range b.live.secure {
				c.Close()
			}
			b.live.secure = nil
		}()
	}
	// What the first clients wake up is not the price of a client.
	const first = 20
	if err := open(l, first, 0); err != nil {
		return err
	}
	if err := l.pollUntil(time.Now().Add(b.live.size.settle / 2)); err != nil {
		return err
	}
	before, err := residentMemory(t.pid)
	if err != nil {
		return err
	}
	usage, err := processUsage(t.pid)
	if err != nil {
		return err
	}
	if err := open(l, n-first, first); err != nil {
		return err
	}
	after, err := processUsage(t.pid)
	if err != nil {
		return err
	}
	if err := l.pollUntil(time.Now().Add(b.live.size.settle)); err != nil {
		return err
	}
	rss, err := residentMemory(t.pid)
	if err != nil {
		return err
	}
	key := memoryKey(t.name, wire)
	b.live.found.add(round, key, "bytes", (rss-before)/float64(n-first))
	b.live.found.add(round, key, "login", (after.cpu-usage.cpu).Seconds()/float64(n-first))
	if b.Later > 0 && round == 0 {
		b.progress("waiting %.0f s for the garbage collector's own time", b.Later)
		if err := l.pollUntil(time.Now().Add(time.Duration(b.Later * float64(time.Second)))); err != nil {
			return err
		}
		if rss, err = residentMemory(t.pid); err != nil {
			return err
		}
		b.live.found.add(round, key, "later", (rss-before)/float64(n-first))
	}
	return nil
}

// openTLS logs n people in, from the one numbered from on, and leaves them idle.
func (b *bench) openTLS(addr string, w *crowd, n, from int) ([]net.Conn, error) {
	conns := make([]net.Conn, n)
	const lanes = 8
	errs := make([]error, lanes)
	var wg sync.WaitGroup
	for k := range lanes {
		wg.Go(func() {
			for i := k; i < n && errs[k] == nil; i += lanes {
				conns[i], errs[k] = loginTLS(b.ctx, addr, w, from+i)
				for again := 0; errs[k] != nil && again < 3 && b.ctx.Err() == nil; again++ {
					// A client that is late with its first byte, as on a busy
					// machine, is taken for one of lines.
					b.progress("once more: %v", errs[k])
					conns[i], errs[k] = loginTLS(b.ctx, addr, w, from+i)
				}
			}
		})
	}
	wg.Wait()
	err := errors.Join(errs...)
	if err != nil {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}
	return conns, err
}

func loginTLS(ctx context.Context, addr string, w *crowd, i int) (net.Conn, error) {
	d := net.Dialer{Timeout: 20 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%sources))}, KeepAlive: -1}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	// It is this benchmark's own certificate, on this machine.
	c := tls.Client(nc, &tls.Config{ServerName: "localhost", InsecureSkipVerify: true}) //nolint:gosec
	fail := func(err error) (net.Conn, error) {
		nc.Close()
		return nil, fmt.Errorf("client %d in TLS: %w", i, err)
	}
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return fail(err)
	}
	if err := c.HandshakeContext(ctx); err != nil {
		return fail(err)
	}
	if _, err := c.Write(loginLine(w.token(i), true)); err != nil {
		return fail(err)
	}
	var heard []byte
	for buf := make([]byte, 4096); !bytes.Contains(heard, []byte(loggedIn)); {
		n, err := c.Read(buf)
		if err != nil {
			return fail(fmt.Errorf("%w after %.200s", err, heard))
		}
		heard = append(heard, buf[:n]...)
	}
	return c, c.SetDeadline(time.Time{})
}

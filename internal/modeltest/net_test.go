package modeltest

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// A device that comes back while it is to stop reading holds nobody up. It used to:
// each of the two waited for the lock that the other had, and all else for them.
func TestStoppingWhileComingBack(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, Options{Lines: []line{plain}, Script: func(*World) {}})
	defer w.cancel()
	addr := ln.Addr().String()
	w.setPlace(addr)
	o := &outlet{w: w, changed: make(chan struct{}), rng: rand.New(rand.NewPCG(1, 1))}
	d := &device{w: w, outlet: o}

	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return // closed
			}
			_ = nc.Close() // nothing is said
		}
	})
	came := make(chan struct{})
	all.Go(func() {
		defer close(came)
		defer func() { _ = ln.Close() }() // which ends the accepting
		for range 500 {
			nc, err := o.connect(w.ctx, addr)
			if err != nil {
				t.Error(err)
				return
			}
			_ = nc.Close() // as above
		}
	})
	all.Go(func() {
		for {
			select {
			case <-came:
				return
			default:
				d.stall()
				d.calm()
			}
		}
	})
	over := make(chan struct{})
	go func() {
		all.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-time.After(w.opts.Patience):
		t.Fatal("they wait for one another")
	}
}

// A handshake that is not answered ends with the device.
func TestHandshakeWithoutAnswer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() }) // nothing comes of it
	for _, over := range []line{overTLS, overWebSocket} {
		t.Run(string(over), func(t *testing.T) {
			w := newWorld(t, Options{Lines: []line{over}})
			defer w.cancel()
			addr := ln.Addr().String()
			w.setPlace(addr)
			o := &outlet{w: w, changed: make(chan struct{}), rng: rand.New(rand.NewPCG(1, 1))}
			ctx, leave := context.WithCancel(t.Context())
			connected := make(chan error, 1)
			go func() {
				_, err := o.connect(ctx, addr)
				connected <- err
			}()
			nc, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if _, err := nc.Read(make([]byte, 1)); err != nil { // the handshake has begun
				t.Fatal(err)
			}
			leave()
			select {
			case err := <-connected:
				if err == nil {
					t.Error("it came to something")
				}
			case <-time.After(w.opts.Patience):
				t.Fatal("it waits for the answer")
			}
		})
	}
}

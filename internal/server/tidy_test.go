package server

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// After a rush, and only then, memory is given back: once, when it is calm, and
// nobody is kept busy.
func TestTidyAfterARush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(Config{MaxConnections: 100_000, NoLimits: true})
		ctx, stop := context.WithCancel(t.Context())
		var over sync.WaitGroup
		var at []time.Duration
		began := time.Now()
		var allocated atomic.Uint64
		over.Go(func() { g.tidyUp(ctx, allocated.Load, func() { at = append(at, time.Since(began)) }) })
		var open []*ticket
		come := func(n int) {
			for range n {
				k, err := g.enter(netip.Addr{})
				if err != nil {
					t.Fatal(err)
				}
				open = append(open, k)
			}
		}
		come(rushLeast - 1)
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(at) > 0 {
			t.Errorf("without a rush, after %v", at)
		}
		began = time.Now() // nobody reads it but after a rush
		for range 20 {
			come(calmMoves)
			time.Sleep(calmTime / 2)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(at) != 1 || at[0] < 10*calmTime || at[0] > 12*calmTime {
			t.Errorf("after a rush of %v: %v", 10*calmTime, at)
		}
		at = nil
		for _, k := range open {
			k.leave()
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(at) != 1 {
			t.Errorf("when all had left: %v", at)
		}
		at = nil
		come(rushLeast)
		began = time.Now()
		for range 20 { // they came, and now they ask
			time.Sleep(calmTime / 2)
			synctest.Wait()
			allocated.Add(calmBytes + calmEach*rushLeast)
		}
		if len(at) > 0 {
			t.Errorf("beside requests, after %v", at)
		}
		for range 3600 { // some do, now and then, and there is something to do for each who is there
			time.Sleep(time.Second)
			synctest.Wait()
			allocated.Add(calmBytes/2 + calmEach*rushLeast/4)
		}
		if len(at) != 1 || at[0] < 10*calmTime || at[0] > 13*calmTime {
			t.Errorf("after requests for %v: %v", 10*calmTime, at)
		}
		come(rushLeast)
		stop()
		over.Wait()
	})
}

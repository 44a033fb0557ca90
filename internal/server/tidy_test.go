package server

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// After a rush, and only then, memory is given back: once, when it is calm.
func TestTidyAfterARush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(Config{MaxConnections: 100_000, NoLimits: true})
		ctx, stop := context.WithCancel(t.Context())
		var over sync.WaitGroup
		var at []time.Duration
		began := time.Now()
		over.Go(func() { g.tidyUp(ctx, func() { at = append(at, time.Since(began)) }) })
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
		come(rushLeast)
		stop()
		over.Wait()
	})
}

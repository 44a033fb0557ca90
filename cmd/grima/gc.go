package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// headroom is how much may at least be allocated between two collections. By
// itself Go collects whenever the heap has doubled, and a chat server's is so
// small that a few heavy requests do that a hundred times a second, each time
// with a processor that clients wait for.
const headroom = 64 << 20

// paceGC keeps the headroom until stop is called. What GOGC says goes before.
func paceGC() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	var over atomic.Bool
	percent := 100
	var again func(struct{})
	// A cleanup runs after the collection that found its object gone.
	arm := func() { runtime.AddCleanup(new([16]byte), again, struct{}{}) }
	again = func(struct{}) {
		if over.Load() {
			return
		}
		if p := percentFor(liveHeap()); p*10 < percent*9 || p*9 > percent*10 { // the change stops the world
			percent = p
			debug.SetGCPercent(p)
		}
		arm()
	}
	again(struct{}{})
	return func() {
		over.Store(true)
		debug.SetGCPercent(100)
	}
}

// percentFor is the GOGC with which a heap of live bytes has its headroom. Go
// takes a heap for one of 4 MiB at least.
func percentFor(live uint64) int {
	return int(max(100, 100*headroom/max(live, 4<<20)))
}

// liveHeap is what the last collection found alive.
func liveHeap() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

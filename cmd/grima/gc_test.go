package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestHeadroom(t *testing.T) {
	for live, want := range map[uint64]int{0: 1600, 4 << 20: 1600, 16 << 20: 400, 64 << 20: 100, 1 << 30: 100} {
		if got := percentFor(live); got != want {
			t.Errorf("%d bytes alive: GOGC %d, want %d", live, got, want)
		}
	}
}

// Between two collections there is room for the headroom, whatever lives: from
// the first or the second on, when it is known what does.
func TestPaceGC(t *testing.T) {
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	stop := paceGC()
	defer stop()
	goal := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}, {Name: "/gc/heap/live:bytes"}}
	for _, more := range []int{0, 8 << 20, 0} {
		block := make([]byte, more)
		room, limit := uint64(0), time.Now().Add(patience)
		for room < headroom*8/10 && time.Now().Before(limit) {
			runtime.GC()
			metrics.Read(goal)
			room = goal[0].Value.Uint64() - goal[1].Value.Uint64()
		}
		if room < headroom*8/10 {
			t.Errorf("with %d bytes more alive the next collection comes after %d bytes", more, room)
		}
		runtime.KeepAlive(block)
	}
}

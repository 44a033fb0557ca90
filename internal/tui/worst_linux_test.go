package tui

import (
	"runtime"
	"slices"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/sys/unix"
)

// frames plays a Model and measures what is drawn: each message it is given is a
// frame.
type frames struct {
	*driver
	took, ran []time.Duration // by the clock, and on the processor
}

func (f *frames) send(msg tea.Msg) {
	began, ran := time.Now(), cpuTime()
	_, cmd := f.m.Update(msg)
	Render(f.m.View(), f.m.width, f.m.height)
	f.took, f.ran = append(f.took, time.Since(began)), append(f.ran, cpuTime()-ran)
	f.do(cmd)
}

func (f *frames) do(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			f.do(c)
		}
	default:
		f.send(msg)
	}
}

// BenchmarkWorstFrame scrolls through 100,000 messages by pages, from the newest
// to the oldest and back, and tells the worst of all frames.
func BenchmarkWorstFrame(b *testing.B) {
	fake := longFake()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var worst, worstRan, p99 time.Duration
	var n int
	for b.Loop() {
		f := &frames{driver: play(b, fake, 120, 40)}
		c := f.m.open
		for !(c.messages()[0].Seq == 1 && c.scroll.seq > 0 && c.scroll.seq < 40) {
			f.send(keyCodes["pgup"])
		}
		for !c.scroll.follows() {
			f.send(keyCodes["pgdown"])
		}
		if newest := c.messages(); newest[len(newest)-1].Seq != 100_000 {
			b.Fatalf("the end is at %d", newest[len(newest)-1].Seq)
		}
		slices.Sort(f.took)
		worstRan = max(worstRan, slices.Max(f.ran))
		n = len(f.took)
		worst, p99 = max(worst, f.took[n-1]), max(p99, f.took[n*99/100])
	}
	b.ReportMetric(float64(n), "frames")
	b.ReportMetric(float64(worst.Microseconds())/1000, "worst-ms")
	b.ReportMetric(float64(worstRan.Microseconds())/1000, "worst-cpu-ms")
	b.ReportMetric(float64(p99.Microseconds())/1000, "p99-ms")
}

// cpuTime is how long the calling thread has run: what is left of a frame's time
// when others do not take the processor away in the middle of it.
func cpuTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

package aside

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// burn keeps a processor busy until this thread has run for d, by what the kernel
// says of it elsewhere, and gives the time on the clock.
func burn(t *testing.T, d time.Duration) time.Duration {
	t.Helper()
	began, from := time.Now(), used(t)
	for used(t)-from < d {
	}
	return time.Since(began)
}

func used(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// near says whether a measured time is what it should be: a little more, for what
// the measuring takes.
func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if slack := 10 * time.Millisecond; got < want-time.Millisecond || got > want+slack {
		t.Errorf("%s took %v, want %v", what, got, want)
	}
}

// crowd has a thread of its own keep this one's processor busy until the test is
// over; both stay on it.
func crowd(t *testing.T) (over func()) {
	t.Helper()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	for i := range 1024 {
		if all.IsSet(i) {
			one.Set(i)
			break
		}
	}
	pin := func() {
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			t.Error(err)
		}
	}
	pin()
	var end atomic.Bool
	begun, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // and never unlocked: the thread ends with us
		pin()
		close(begun)
		for !end.Load() { // it is to keep the processor
		}
	}()
	<-begun
	return func() { end.Store(true); <-ended }
}

// A job takes what its thread runs: not what it waits, not what others run
// meanwhile, not the time in which they keep its processor.
func TestProcessorTimeIsMeasured(t *testing.T) {
	const d = 30 * time.Millisecond
	p := New(1)
	defer p.Close()
	if err := p.Do(t.Context(), nil, func() {
		m := Start()
		burn(t, d)
		near(t, "running", m.Took(), d)

		others := make(chan struct{})
		go func() { defer close(others); runtime.LockOSThread(); burn(t, 3*d) }()
		<-others
		near(t, "waiting", m.Took(), d)

		over := crowd(t)
		clock := burn(t, d)
		over()
		near(t, "running in a crowd", m.Took(), 2*d)
		if clock < d*3/2 {
			t.Errorf("there was no crowd: it took %v", clock)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// What it waits for others who work for it counts, but for what that shares with
// what it runs and with what it waits for a processor.
func TestWorkElsewhereIsMeasured(t *testing.T) {
	const d = 30 * time.Millisecond
	p := New(1)
	defer p.Close()
	if err := p.Do(t.Context(), nil, func() {
		m := Start()
		was := queued()
		back := m.Elsewhere()
		others := make(chan struct{})
		go func() { defer close(others); runtime.LockOSThread(); burn(t, 3*d) }()
		<-others
		burn(t, d)
		back()
		if took, least := m.Took(), 4*d-(queued()-was); took < least {
			t.Errorf("it took %v, want %v at least", took, least)
		}

		m, over := Start(), crowd(t)
		back = m.Elsewhere()
		clock := burn(t, d)
		back()
		over()
		if took := m.Took(); took < d || took > clock*3/4 {
			t.Errorf("it took %v, %v on the clock in a crowd", took, clock)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// What measuring takes: of each job, and of each wait for work elsewhere.
func BenchmarkMeter(b *testing.B) {
	run := func(name string, do func()) {
		b.Run(name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for b.Loop() {
				do()
			}
		})
	}
	run("job", func() {
		if m := Start(); m.Took() < 0 {
			b.Error("it took less than nothing")
		}
	})
	run("elsewhere", func() {
		m := Start()
		m.Elsewhere()()
	})
}

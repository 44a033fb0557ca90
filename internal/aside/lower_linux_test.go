package aside

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// priority is this thread's, as the kernel tells it: 20 is the usual one, and
// lower ones are less.
func priority(t *testing.T) int {
	t.Helper()
	n, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
	if err != nil {
		t.Error(err)
	}
	return n
}

// What is carried out aside has a low priority and a place of its own, and
// nothing else gets the thread when it is over.
func TestPriority(t *testing.T) {
	if bounded {
		t.Skip("GOMAXPROCS is set")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	usual, places := priority(t), runtime.GOMAXPROCS(0)
	p := New(1)
	var aside, thread int
	if err := p.Do(t.Context(), nil, func() {
		aside, thread = priority(t), unix.Gettid()
		if n := runtime.GOMAXPROCS(0); n != places+1 {
			t.Errorf("%d places, want %d", n, places+1)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if want := max(1, min(usual, 20-nice)); aside != want {
		t.Errorf("priority %d aside, want %d", aside, want)
	}
	p.Close()
	if n := runtime.GOMAXPROCS(0); n != places {
		t.Errorf("%d places are left of %d", n, places)
	}
	for range 100 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if n := priority(t); n != usual || unix.Gettid() == thread {
				t.Errorf("priority %d afterwards, on thread %d", n, unix.Gettid())
			}
		}()
		<-done
	}
}

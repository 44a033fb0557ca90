package queue

import (
	"bytes"
	"runtime"
	"runtime/debug"
	"testing"
)

// Who comes alone has its turn where it was seen to come, with nobody woken for
// it. Meanwhile others have theirs, and what it has more to do is somebody else's.
func TestWhoComesAlone(t *testing.T) {
	q := newRing(1, 2)
	defer q.Close()
	onPoller := func() bool { return bytes.Contains(debug.Stack(), []byte("(*poller).run")) }

	other := &turner{t: t}
	turned := make(chan struct{}, 2)
	other.turn = func() Verdict {
		if onPoller() {
			t.Error("who was woken had its turn in the poller")
		}
		turned <- struct{}{}
		return Wait
	}
	near, far := pair(t)
	defer func() { _, _ = near.Close(), far.Close() }()
	lone := &turner{t: t}
	over := make(chan struct{})
	n := 0
	lone.turn = func() Verdict {
		n++
		switch n {
		case 1:
			return Park
		case 2:
			if !onPoller() {
				t.Error("somebody was woken for a turn of who came alone")
			}
			other.Wake()
			<-turned
			return Again
		}
		if onPoller() {
			t.Error("the poller goes on where it should look who comes")
		}
		close(over)
		return Done
	}
	if err := q.Add(&other.Handle, other, nil); err != nil {
		t.Fatal(err)
	}
	<-turned
	if err := q.Add(&lone.Handle, lone, near); err != nil {
		t.Fatal(err)
	}
	for q.Stats().Workers > 0 || q.Stats().Depth > 0 {
		runtime.Gosched()
	}
	if _, err := far.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	<-over
	lone.Leave()
}

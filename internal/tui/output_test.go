package tui

import (
	"io"
	"runtime"
	"strings"
	"testing"

	uv "github.com/charmbracelet/ultraviolet"
)

// gate is a terminal that takes what is written when the test says so.
type gate struct{ took chan string }

func (g gate) Write(p []byte) (int, error) {
	g.took <- string(p)
	return len(p), nil
}

func TestPicturesAreSkippedWhileTheTerminalIsBusy(t *testing.T) {
	d := play(t, port(), 80, 24)
	g := gate{make(chan string)}
	free := make(chan struct{}, 1)
	d.m.out = newOutput(g)
	d.m.out.onFree(func() { free <- struct{}{} })
	first := d.m.View().Content
	if _, err := io.WriteString(d.m.out, first); err != nil {
		t.Fatal(err)
	}
	d.keys("not yet")
	if d.m.View().Content != first || d.m.ed.String() != "not yet" {
		t.Errorf("it does not hold a picture back, or a key: %q", d.m.ed.String())
	}
	if got := <-g.took; got != first+"\x1b[c" {
		t.Errorf("the terminal was given %d bytes of %d", len(got), len(first))
	}
	<-free
	d.want("› not yet")
	if err := d.m.out.close(); err != nil {
		t.Fatal(err)
	}
}

// A terminal that answers is not given more than it has shown, and some.
func TestWhatIsUnderWayToATerminalIsBounded(t *testing.T) {
	d := play(t, port(), 80, 24)
	d.m.out = newOutput(io.Discard)
	free := make(chan struct{}, 100)
	d.m.out.onFree(func() { free <- struct{}{} })
	write := func(n int) {
		t.Helper()
		if _, err := io.WriteString(d.m.out, strings.Repeat("x", n)); err != nil {
			t.Fatal(err)
		}
		for d.m.out.atWork() {
			runtime.Gosched()
		}
	}
	write(3 * window)
	if d.m.out.busy() {
		t.Fatal("it waits for a terminal that never answered")
	}
	answer := uv.PrimaryDeviceAttributesEvent{62}
	d.send(answer)
	write(window)
	write(1)
	if !d.m.out.busy() {
		t.Fatal("it does not wait for the answer")
	}
	d.send(answer) // to what was asked behind the first of these
	if d.m.out.busy() {
		t.Fatal("it waits for what was answered")
	}
	// One that does not answer any more is not waited for.
	write(window + 1)
	if !d.m.out.busy() {
		t.Fatal("it does not wait for the answer")
	}
	d.m.out.unanswered()
	<-free
	if d.m.out.busy() {
		t.Fatal("it waits for an answer that does not come")
	}
	// Nothing is asked when the program ends: the shell would be answered.
	hushed := make(chan struct{})
	go func() {
		d.m.out.hush()
		close(hushed)
	}()
	d.send(answer)
	<-hushed
	if err := d.m.out.close(); err != nil {
		t.Fatal(err)
	}
}

// atWork reports whether something is being written.
func (o *output) atWork() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.writing || len(o.buf) > 0
}

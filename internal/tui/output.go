package tui

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// output is the way to a terminal that may be slow. Bubble Tea writes to it
// without waiting, so that keys and events are worked on while the terminal is
// busy; and as long as it is busy, no other picture is drawn for it than the one
// that is under way: pictures are skipped, not queued.
//
// A terminal at the end of a slow line is busy without its being seen here,
// because what lies between takes much. So it is asked now and then for
// something that every terminal answers (DA1), and when it does answer, not more
// than window is under way to it.
type output struct {
	w    io.Writer
	wake chan struct{} // for run: there is something to write
	done chan struct{} // closed when run has ended

	mu       sync.Mutex // guards everything below it
	buf      []byte     // to be written
	writing  bool       // what was in it before is being written
	err      error      // why nothing is written any more
	closed   bool
	withheld bool        // there is another picture than the one that was given
	free     func()      // called when that may be drawn
	sent     int         // bytes, ever
	reached  int         // of them, so many are known to have reached the terminal
	asked    int         // the terminal was asked behind so many; 0: there is no question
	answers  bool        // it does answer
	quiet    bool        // it is asked nothing more
	patience *time.Timer // for the answer
	settled  chan struct{}
}

const (
	askEvery   = 2 << 10
	window     = 8 << 10
	answerIn   = 10 * time.Second       // beyond, it is taken for one that does not answer
	lastAnswer = 500 * time.Millisecond // what is waited for an answer that the shell would get else
)

// newOutput makes one of w, which its own goroutine writes to until close.
func newOutput(w io.Writer) *output {
	o := &output{w: w, wake: make(chan struct{}, 1), done: make(chan struct{}), settled: make(chan struct{})}
	o.patience = time.AfterFunc(time.Hour, o.unanswered)
	o.patience.Stop()
	go o.run()
	return o
}

// Write takes p to write it as soon as it can be.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	o.buf = append(o.buf, p...)
	o.sent += len(p)
	if o.asked == 0 && !o.quiet && o.sent-o.reached > askEvery {
		o.buf = append(o.buf, ansi.RequestPrimaryDeviceAttributes...)
		o.asked = o.sent
		o.patience.Reset(answerIn)
	}
	o.nudge()
	return len(p), nil
}

func (o *output) nudge() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *output) run() {
	defer close(o.done)
	for range o.wake {
		for o.step() {
		}
		o.mu.Lock()
		over := o.closed && len(o.buf) == 0
		o.mu.Unlock()
		if over {
			return
		}
	}
}

// step writes what there is and reports whether that was something.
func (o *output) step() bool {
	o.mu.Lock()
	p := o.buf
	o.buf, o.writing = nil, len(p) > 0
	o.mu.Unlock()
	if len(p) == 0 {
		return false
	}
	_, err := o.w.Write(p)
	o.mu.Lock()
	o.writing = false
	if err != nil && o.err == nil {
		o.err = err
	}
	free := o.freed()
	o.mu.Unlock()
	if free != nil {
		free()
	}
	return true
}

// busyLocked reports whether no other picture shall be drawn. o.mu is held.
func (o *output) busyLocked() bool {
	return o.writing || len(o.buf) > 0 || o.answers && o.sent-o.reached > window
}

// freed is whom to call because something was withheld and need not be any more;
// or nil. o.mu is held, and must not be for the call.
func (o *output) freed() func() {
	if !o.withheld || o.busyLocked() {
		return nil
	}
	o.withheld = false
	return o.free
}

// busy reports whether the picture that there is now has to wait; who is told so
// hears of the end of it by the call of onFree.
func (o *output) busy() bool {
	if o == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.withheld = o.busyLocked()
	return o.withheld
}

func (o *output) onFree(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.free = f
}

// answered: the terminal has shown everything before the question.
func (o *output) answered() {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.asked > 0 {
		o.reached, o.asked, o.answers = o.asked, 0, true
		o.patience.Stop()
		if o.quiet {
			close(o.settled)
		}
	}
	// The picture that waited is drawn after this message anyhow.
}

// unanswered: it does not answer, or not any more.
func (o *output) unanswered() {
	o.mu.Lock()
	o.reached, o.answers = o.sent, false
	free := o.freed()
	o.mu.Unlock()
	if free != nil {
		free()
	}
}

// hush waits a little for the answer that is due, and asks nothing more: after
// the program the shell would be given it.
func (o *output) hush() {
	if o == nil {
		return
	}
	o.mu.Lock()
	due := o.asked > 0 && !o.quiet
	o.quiet = true
	o.mu.Unlock()
	if !due {
		return
	}
	timer := time.NewTimer(lastAnswer)
	defer timer.Stop()
	select {
	case <-o.settled:
	case <-timer.C:
	}
}

// close writes what is left and ends. It does not close the terminal.
func (o *output) close() error {
	o.mu.Lock()
	o.closed, o.quiet, o.free = true, true, nil
	o.patience.Stop()
	o.nudge()
	o.mu.Unlock()
	<-o.done
	return o.err
}

// file is what Bubble Tea looks for to know a terminal by.
type file interface {
	io.ReadWriteCloser
	Fd() uintptr
}

// tty is an output that is one.
type tty struct {
	file
	out *output
}

func (t tty) Write(p []byte) (int, error) { return t.out.Write(p) }

// drawMsg is that a picture that was withheld can be drawn.
type drawMsg struct{}

// run shows model, which is m or holds it, on a terminal until its user leaves or
// ctx ends.
func (m *Model) run(ctx context.Context, model tea.Model, in io.Reader, w io.Writer) (err error) {
	m.out = newOutput(w)
	defer func() { err = errors.Join(err, m.out.close()) }()
	to := io.Writer(m.out)
	if f, ok := w.(file); ok {
		to = tty{f, m.out}
	}
	p := tea.NewProgram(model, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(to))
	m.out.onFree(func() { p.Send(drawMsg{}) })
	_, err = p.Run()
	if errors.Is(err, tea.ErrInterrupted) {
		return nil
	}
	return err
}

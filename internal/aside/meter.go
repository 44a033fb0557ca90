package aside

import "time"

// Meter measures what a job takes: the processor time of its thread, and not the
// time on the clock, of which a thread of low priority spends most on waiting
// where others keep the processors busy. Where threads have no clocks of their own
// (all but Linux) it is the time on the clock.
//
// It is for one job, begun with Start and used on its goroutine only, which stays
// on its thread.
type Meter struct {
	began     usage
	elsewhere time.Duration // waited for work of others' for it
}

// usage is how a thread has spent its time up to now.
type usage struct {
	ran    time.Duration // on a processor
	queued time.Duration // ready, without a processor; only where somebody asks
	clock  time.Time
}

// Start begins to measure.
func Start() *Meter { return &Meter{began: ran()} }

// Took is what the job took since Start: what its thread ran, and what it waited
// Elsewhere.
func (m *Meter) Took() time.Duration { return ran().ran - m.began.ran + m.elsewhere }

// Elsewhere begins a wait for somebody who works for the job, a database in a
// process of its own. How long they work is not known, so all of the wait counts,
// up to the call of back, but for what is not theirs: what this thread runs
// meanwhile, which counts anyway, and how long it waits for a processor, to
// send the question or to take the answer.
func (m *Meter) Elsewhere() (back func()) {
	if !threadsHaveClocks {
		return func() {} // it counts
	}
	from := spent()
	return func() {
		to := spent()
		m.elsewhere += max(0, to.clock.Sub(from.clock)-(to.ran-from.ran)-(to.queued-from.queued))
	}
}

package harness

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
)

// Sweep runs a server under strace and kills it as it enters its K-th system
// call of one kind, for K = Every, 2*Every, ..., each time on what the kill
// before left behind, until one says all its Messages without coming so far.
//
// strace counts for each thread; so K is what one of them reached, and the
// report says how many the whole process had made by then. GOMAXPROCS=1 keeps
// the threads few.
type Sweep struct {
	Crash           // Rounds bounds the sweep; Wrap and SelfDestruct are the sweep's
	Strace []string // the command, and flags that name no calls
	Call   string
	Every  int
	Trace  string // a file for strace's output, overwritten
}

// SweepReport is what a Sweep did and found.
type SweepReport struct {
	CrashReport
	Call  string
	Every int
	// At is, for each kill, how many calls the process had made, ascending;
	// Total how many the run made that ended the sweep.
	At    []int
	Total int
}

// Complete says that the sweep came to its end: a run made no Every-th call
// more.
func (r SweepReport) Complete() bool { return r.Survived }

// Gap is the largest distance between two neighbouring kills, counted in calls
// of the process, and from its start to the first.
func (r SweepReport) Gap() int {
	gap, before := 0, 0
	for _, at := range r.At {
		gap = max(gap, at-before)
		before = at
	}
	return gap
}

func (r SweepReport) String() string {
	end := "NOT swept to the end"
	if r.Complete() {
		end = "swept to the end"
	}
	last, different := 0, len(slices.Compact(slices.Clone(r.At)))
	if len(r.At) > 0 {
		last = r.At[len(r.At)-1]
	}
	return fmt.Sprintf("%s, every %d, %s: died at %d different calls up to the process's %d-th, at most %d apart; the last run made %d; %v",
		r.Call, r.Every, end, different, last, r.Gap(), r.Total, r.CrashReport)
}

// Run does it.
func (s Sweep) Run() (SweepReport, error) {
	r := SweepReport{Call: s.Call, Every: s.Every}
	s.SelfDestruct = true
	var failed error
	count := func() int { // the calls of the round that is over
		n, err := countCalls(s.Trace, s.Call)
		failed = cmp.Or(failed, err)
		return n
	}
	s.Wrap = func(round int) []string {
		if round > 0 {
			r.At = append(r.At, count())
		}
		return append(slices.Clone(s.Strace), "-E", "GOMAXPROCS=1", "-s", "0", "-o", s.Trace, "-e", "trace="+s.Call,
			"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", s.Call, (round+1)*s.Every))
	}
	var err error
	if r.CrashReport, err = s.Crash.Run(); err != nil {
		return r, err
	}
	if r.Survived {
		r.Total = count()
	} else {
		r.At = append(r.At, count())
	}
	slices.Sort(r.At)
	return r, failed
}

// countCalls gives how many calls a trace holds.
func countCalls(trace, call string) (int, error) {
	text, err := os.ReadFile(trace)
	if err != nil {
		return 0, err
	}
	// One that another thread's interrupted stands there twice, the second time
	// as "<... pwrite64 resumed>".
	n := bytes.Count(text, []byte(" "+call+"("))
	if n == 0 {
		return 0, fmt.Errorf("%s holds no %s", trace, call)
	}
	return n, nil
}

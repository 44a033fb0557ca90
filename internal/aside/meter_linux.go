package aside

import (
	"bytes"
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const threadsHaveClocks = true

// ran is what this thread has run.
func ran() usage {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // every Linux has it
	}
	return usage{ran: time.Duration(t.Nano())}
}

// spent is how this thread has spent its time.
func spent() usage {
	u := ran()
	u.queued, u.clock = queued(), time.Now()
	return u
}

// queued is how long this thread was ready and waited for a processor. A kernel
// that does not say (one without CONFIG_SCHED_INFO) gives 0.
func queued() time.Duration {
	fd, err := unix.Open("/proc/thread-self/schedstat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	var all [64]byte // ns it ran, ns it was queued, how often
	n, err := unix.Read(fd, all[:])
	if errors.Join(err, unix.Close(fd)) != nil {
		return 0
	}
	fields := bytes.Fields(all[:n])
	if len(fields) < 2 {
		return 0
	}
	ns, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(ns)
}

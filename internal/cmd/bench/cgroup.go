//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// group is a control group of the kernel's: what its processes used of the
// processors is counted, of those that ended too, and can be bounded. It takes
// root, and version 1 or 2 of such groups.
type group struct {
	bound, count string // directories; the same where the kernel has version 2
	second       bool
}

const cgroups = "/sys/fs/cgroup"

// boundEvery is the time over which a bound holds: short, so that who has used
// up what it had waits for milliseconds.
const boundEvery = 10 * time.Millisecond

// newGroup makes an empty group without a bound.
func newGroup(name string) (*group, error) {
	name = fmt.Sprintf("grima-bench-%d-%s", os.Getpid(), name)
	g := &group{bound: filepath.Join(cgroups, "cpu", name), count: filepath.Join(cgroups, "cpuacct", name)}
	if _, err := os.Stat(filepath.Join(cgroups, "cgroup.controllers")); err == nil {
		g.second = true
		g.bound = filepath.Join(cgroups, name)
		g.count = g.bound
		if err := os.WriteFile(filepath.Join(cgroups, "cgroup.subtree_control"), []byte("+cpu"), 0); err != nil {
			return nil, fmt.Errorf("control groups: %w", err)
		}
	}
	for _, dir := range g.dirs() {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, errors.Join(fmt.Errorf("control groups: %w", err), g.remove())
		}
	}
	return g, nil
}

func (g *group) dirs() []string {
	if g.bound == g.count {
		return []string{g.bound}
	}
	return []string{g.bound, g.count}
}

// remove removes a group whose processes have ended.
func (g *group) remove() error {
	var errs []error
	for _, dir := range g.dirs() {
		if err := os.Remove(dir); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// wrap is what, before a command, runs it in the group.
func (g *group) wrap() []string {
	var enter strings.Builder
	for _, dir := range g.dirs() {
		fmt.Fprintf(&enter, "echo $$ >'%s/cgroup.procs' && ", dir)
	}
	return []string{"sh", "-c", enter.String() + `exec "$@"`, "sh"}
}

// take moves a process that is there into the group.
func (g *group) take(pid int) error {
	for _, dir := range g.dirs() {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("moving process %d: %w", pid, err)
		}
	}
	return nil
}

// limit lets the group have so many processors, less than one too; 0: all there
// are.
func (g *group) limit(processors float64) error {
	quota := int64(processors * float64(boundEvery.Microseconds()))
	write := func(file, value string) error { return os.WriteFile(filepath.Join(g.bound, file), []byte(value), 0) }
	switch {
	case g.second && quota == 0:
		return write("cpu.max", "max")
	case g.second:
		return write("cpu.max", fmt.Sprintf("%d %d", quota, boundEvery.Microseconds()))
	case quota == 0:
		return write("cpu.cfs_quota_us", "-1")
	}
	return errors.Join(write("cpu.cfs_period_us", fmt.Sprint(boundEvery.Microseconds())), write("cpu.cfs_quota_us", fmt.Sprint(quota)))
}

// used is the CPU time of all who are or were in the group.
func (g *group) used() (time.Duration, error) {
	if !g.second {
		ns, err := readNumber(filepath.Join(g.count, "cpuacct.usage"))
		return time.Duration(ns), err
	}
	b, err := os.ReadFile(filepath.Join(g.count, "cpu.stat"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, "usage_usec "); ok {
			us, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			return time.Duration(us) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("%s/cpu.stat does not say usage_usec", g.count)
}

func readNumber(file string) (int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

// childrenOf are the processes that a process started and that are still there.
func childrenOf(pid int) (children []int, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, file := range stats {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // it ended meanwhile
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(pid) {
			child, err := strconv.Atoi(strings.Split(file, "/")[2])
			if err != nil {
				return nil, err
			}
			children = append(children, child)
		}
	}
	return children, nil
}

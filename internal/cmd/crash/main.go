// Crash kills a real server again and again under load and checks that every
// acknowledged message is there once, in order, with its exact body. The tests
// do this fifty times; this does it as often as you like:
//
//	go run ./internal/cmd/crash -rounds 1000
//
// or, under strace, at every write, sync and truncation from a start through a
// bounded load, one after the other, until a run makes no more of them:
//
//	go run ./internal/cmd/crash -sweep pwrite64,fdatasync,ftruncate -every 1
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/grima-chat/grima/internal/harness"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

func run() error {
	c := harness.Crash{Progress: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }}
	var s harness.Sweep
	flag.IntVar(&c.Rounds, "rounds", 1000, "how often to kill; of a sweep, how often at most for each call")
	flag.IntVar(&c.Senders, "senders", 8, "connections that send")
	flag.IntVar(&c.Chats, "chats", 6, "groups they send into")
	flag.IntVar(&c.Window, "window", 32, "sends under way per connection")
	flag.DurationVar(&c.Life, "life", 300*time.Millisecond, "the longest a round lives under load; of a sweep, a minute")
	flag.Uint64Var(&c.Seed, "seed", uint64(time.Now().UnixNano()), "of everything random")
	calls := flag.String("sweep", "", "kill at every N-th of these system calls, between commas, instead of at random")
	flag.IntVar(&s.Every, "every", 1, "that N")
	flag.IntVar(&s.Messages, "messages", 100, "what each connection has to say in a round of a sweep")
	flag.Parse()
	dir, err := os.MkdirTemp("", "grima-crash")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if c.Bin, err = harness.Build(dir); err != nil {
		return err
	}
	if *calls == "" {
		return kill(c, dir)
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		return fmt.Errorf("a sweep needs strace: %w", err)
	}
	c.Life, c.Messages = time.Minute, s.Messages
	c.Args = []string{"--wal-mib", "1"} // so that the load also copies and restarts the log
	s.Strace, s.Trace = []string{strace, "-f", "-q"}, filepath.Join(dir, "trace")
	var errs []error
	for call := range strings.SplitSeq(*calls, ",") {
		s.Crash, s.Call = c, call
		errs = append(errs, sweep(s, dir))
	}
	return errors.Join(errs...)
}

func kill(c harness.Crash, dir string) error {
	c.Data = filepath.Join(dir, "data")
	begun := time.Now()
	report, err := c.Run()
	if err != nil {
		return err
	}
	fmt.Printf("seed %d: %v, in %v\n", c.Seed, report, time.Since(begun).Round(time.Second))
	return broken(report.Faults)
}

func sweep(s harness.Sweep, dir string) error {
	s.Data = filepath.Join(dir, "data-"+s.Call)
	begun := time.Now()
	report, err := s.Run()
	if err != nil {
		return fmt.Errorf("sweeping %s: %w", s.Call, err)
	}
	fmt.Printf("seed %d: %v, in %v\n", s.Seed, report, time.Since(begun).Round(time.Second))
	if err := broken(report.Faults); err != nil {
		return err
	}
	if !report.Complete() {
		return fmt.Errorf("%s: %d rounds did not come to the end; give more -rounds", s.Call, s.Rounds)
	}
	return nil
}

func broken(faults []string) error {
	for _, f := range faults {
		fmt.Println("FAULT", f)
	}
	if len(faults) > 0 {
		return fmt.Errorf("%d promises were broken", len(faults))
	}
	return nil
}

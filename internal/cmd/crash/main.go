// Crash kills a real server again and again under load and checks that every
// acknowledged message is there once, in order, with its exact body. The tests
// do this fifty times; this does it as often as you like:
//
//	go run ./internal/cmd/crash -rounds 1000
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
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
	flag.IntVar(&c.Rounds, "rounds", 1000, "how often to kill")
	flag.IntVar(&c.Senders, "senders", 8, "connections that send")
	flag.IntVar(&c.Chats, "chats", 6, "groups they send into")
	flag.IntVar(&c.Window, "window", 32, "sends under way per connection")
	flag.DurationVar(&c.Life, "life", 300*time.Millisecond, "the longest a round lives under load")
	flag.Uint64Var(&c.Seed, "seed", uint64(time.Now().UnixNano()), "of everything random")
	flag.Parse()
	dir, err := os.MkdirTemp("", "grima-crash")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if c.Bin, err = harness.Build(dir); err != nil {
		return err
	}
	c.Data = filepath.Join(dir, "data")
	begun := time.Now()
	report, err := c.Run()
	if err != nil {
		return err
	}
	fmt.Printf("seed %d: %v, in %v\n", c.Seed, report, time.Since(begun).Round(time.Second))
	for _, f := range report.Faults {
		fmt.Println("FAULT", f)
	}
	if len(report.Faults) > 0 {
		return fmt.Errorf("%d promises were broken", len(report.Faults))
	}
	return nil
}

// Faults lets things go wrong around three servers with a PostgreSQL and a NATS
// while people talk, checks that every promise was kept, and prints what it
// measured as a table (docs/notes.md has one):
//
//	go run ./internal/cmd/faults
//
// PostgreSQL has to be installed; the tests play a short version of the same.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/grima-chat/grima/internal/faults"
	"github.com/grima-chat/grima/internal/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	people := flag.Int("people", 6, "who talk")
	chats := flag.Int("chats", 4, "the groups that all of them are in")
	rate := flag.Int("rate", 20, "messages per second and person")
	only := flag.String("only", "", "the faults whose names have this in them")
	short := flag.Bool("short", false, "as long as in the tests")
	packets := flag.Bool("packets", true, "let packets get lost as well, in a network namespace, where there may be one")
	flag.Parse()
	list := faults.List()
	if faults.Inside() {
		list = append(list, faults.Losses()...)
	} else if *packets {
		cmd, err := faults.Namespace(ctx, os.Args[1:]...)
		if err == nil {
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			return cmd.Run()
		}
		fmt.Fprintln(os.Stderr, err)
	}
	dir, err := os.MkdirTemp("", "grima-faults")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bin, err := harness.Build(dir)
	if err != nil {
		return err
	}
	c, err := faults.Start(bin, dir, *people, "all", "all", "all")
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Printf("%d people in %d groups, %d messages per second and person, three servers\n\n", *people, *chats, *rate)
	fmt.Print(faults.Header)
	var wrong []error
	for _, f := range list {
		if !strings.Contains(f.Name, *only) {
			continue
		}
		lasts := f.Long
		if *short {
			lasts = f.Short
		}
		r, err := c.Run(ctx, f, lasts, faults.Talk{Chats: *chats, Rate: *rate, Lead: 2 * time.Second, Late: time.Minute})
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		fmt.Print(r.Row())
		for _, w := range append(r.Wrong, r.Missed()...) {
			wrong = append(wrong, fmt.Errorf("%s: %s", f.Name, w))
		}
	}
	return errors.Join(wrong...)
}

// Scalesim works out on paper what a hundred million users would take, and says
// what bounds first: a plan of processors, memory, disk and money for each of a
// few architectures, and a simulation of its busiest hour, message by message,
// for the time to a delivery. What things cost is taken from the tables of
// docs/bench-cluster.md, and the simulation is held against them first.
//
//	go run ./internal/cmd/scalesim [-seed 1] [-o docs]
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "scalesim:", err)
		os.Exit(1)
	}
}

type options struct {
	seed     uint64
	docs     string
	out      string
	messages int
	perDay   float64
	share    float64
}

func run(args []string) error {
	var o options
	f := flag.NewFlagSet("scalesim", flag.ContinueOnError)
	f.Uint64Var(&o.seed, "seed", 1, "seed of everything random")
	f.StringVar(&o.docs, "docs", "docs", "where the reports are: bench-cluster.md, bench.md, bench-live.md")
	f.StringVar(&o.out, "o", "", "also write scalesim.md and its plot into this directory")
	f.IntVar(&o.messages, "messages", 30_000, "messages simulated for each plan")
	f.Float64Var(&o.perDay, "per-day", people(1e6).perDay, "messages that a user sends in a day")
	f.Float64Var(&o.share, "connected", people(1e6).connected, "connections per user at the busiest hour")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.messages < 100 || !(o.perDay > 0) || !(o.share > 0) {
		return errors.New("-messages must be at least 100, and -per-day and -connected more than nothing")
	}
	r, err := o.report()
	if err != nil {
		return err
	}
	text := r.markdown()
	if o.out == "" {
		fmt.Print(text)
		return nil
	}
	return errors.Join(
		os.WriteFile(filepath.Join(o.out, "scalesim.md"), []byte(text), 0o644),
		os.WriteFile(filepath.Join(o.out, "scalesim.svg"), []byte(r.plot().SVG()), 0o644))
}

// many is the workload of so many users, with what the flags say of it.
func (o options) many(users float64) workload {
	w := people(users)
	w.perDay, w.connected = o.perDay, o.share
	return w
}

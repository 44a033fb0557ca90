//go:build linux

// Bench measures Grima against the limits of the machine it runs on and prints
// what it finds as a Markdown table: good figures and bad ones.
//
//	go run ./internal/cmd/bench [-suite store,live,cluster,soak] [-quick] [-o docs]
//
// A suite is one interleaved run: every round measures every case once, and
// what is compared is measured next to each other, so that a noisy machine
// shows as spread and not as a difference. Warm-ups are not measured. Figures
// are medians over the rounds, with their least and greatest.
//
// Its exit codes: 0 for a run that was made, 1 for one that was not, and 3 for
// one whose figures break a rule: that of suite soak, what a server has to give
// back.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/grima-chat/grima/internal/harness"
)

// suite is one family of measurements.
type suite struct {
	name, about string
	run         func(*bench) error
}

var suites = []suite{
	{"store", "sends, pages and bytes on disk beside what the bare driver and a bare log can do", runStore},
	{"live", "delivery to many, idle and busy clients, and hostile ones, beside bare loops and other servers", runLive},
	{"cluster", "one node and three, on SQLite and on PostgreSQL with NATS", runCluster},
	{"soak", "what a server still holds after a day of coming and going", runSoak},
}

// options are the flags. Every suite takes of them what it needs.
type options struct {
	Rounds  int
	Seconds float64 // measured, per case
	Warmup  float64 // before that, not measured
	Chats   int     // groups of a store
	Sizes   []int   // messages of the filled stores, ascending
	Pages   int     // requests per kind of page, store and round
	Body    int     // bytes of a message's content
	Seed    uint64
	Live    bool // senders also hear the live events
	Dir     string
	Out     string // a directory for the reports; empty: none

	Only     []string       // scenarios of suite live; empty: all
	Case     *regexp.Regexp // cases of suite live, servers of suite soak, by name; nil: all
	Before   string         // a directory with an older build, measured beside; empty: none
	Later    float64        // seconds after which idle memory is looked at once more; 0: not
	Cycles   int            // of the soak: people who come and go
	Messages int            // and what is stored meanwhile
	quick    bool
	noNATS   bool // building it takes longer than a test should
}

// bench is one run of the command.
type bench struct {
	options
	ctx    context.Context
	bin    string // the server's binary
	tmp    string // removed at the end
	report *report
	began  time.Time
	live   *live // of suites live and soak
}

// childCommand is the first argument of this program when it is to be one of the
// processes that it measures.
const childCommand = "child"

// asChild is the program as such a process: what it is, and its arguments.
func asChild(args []string) error {
	if len(args) == 0 || args[0] != "raw" {
		return fmt.Errorf("there is no child %q", args)
	}
	return runRaw(args[1:])
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == childCommand {
		if err := asChild(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(exitCode(err))
	}
}

// exitCode is 1 for a run that could not be made, and 3 for one that was and
// broke a rule of its suite.
func exitCode(err error) int {
	if errors.Is(err, errHeld) {
		return 3
	}
	return 1
}

func run(ctx context.Context, args []string) (err error) {
	o, names, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	b := &bench{options: o, ctx: ctx, began: time.Now()}
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return err
		}
	}
	if b.tmp, err = os.MkdirTemp(o.Dir, "grima-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.tmp)) }()
	b.progress("building the server")
	if b.bin, err = harness.Build(b.tmp); err != nil {
		return err
	}
	for _, s := range names {
		if err := b.suite(s, args); err != nil {
			return fmt.Errorf("suite %s: %w", s.name, err)
		}
	}
	return nil
}

// suite runs one, prints its report and writes it.
func (b *bench) suite(s suite, args []string) (err error) {
	began := time.Now()
	b.report = &report{name: s.name, about: s.about, command: "go run ./internal/cmd/bench " + strings.Join(args, " ")}
	if b.report.machine, err = describeMachine(); err != nil {
		return err
	}
	if err := s.run(b); err != nil {
		return err
	}
	b.report.took = time.Since(began)
	fmt.Print(b.report.markdown(""))
	if b.Out != "" {
		err = b.report.write(b.Out)
	}
	return errors.Join(err, b.report.broken)
}

func parse(args []string) (o options, chosen []suite, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	names := f.String("suite", "store,live", "suites to run, with commas between: store, live, cluster, soak")
	f.IntVar(&o.Rounds, "rounds", 5, "rounds: each measures every case once")
	f.Float64Var(&o.Seconds, "seconds", 3, "seconds measured per case")
	f.Float64Var(&o.Warmup, "warmup", 1, "seconds of warm-up before, not measured")
	f.IntVar(&o.Chats, "chats", 20_000, "groups in a store")
	sizes := f.String("sizes", "10000,1000000,10000000", "messages of the filled stores, with commas between")
	f.IntVar(&o.Pages, "pages", 2000, "requests per kind of page, store and round")
	f.IntVar(&o.Body, "body", 80, "bytes of a message's content")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of everything random")
	f.BoolVar(&o.Live, "live", false, "let the senders hear the live events of their chats, too")
	f.StringVar(&o.Dir, "dir", "", "keep the filled stores here for the next run (remove them when the schema changes); empty: a temporary directory")
	f.StringVar(&o.Out, "o", "", "also write each suite's report into this directory, with its plots beside it")
	only := f.String("only", "", "scenarios of suite live to run, with commas between: "+scenarioNames()+"; empty: all")
	cases := f.String("case", "", "cases of suite live, and servers of suite soak, to run: those whose name this regular expression matches; empty: all")
	f.StringVar(&o.Before, "before", "", "a directory with an older build, grima and grima-volatile (the latter with -tags grimabench), which suite live measures beside this one")
	f.Float64Var(&o.Later, "later", 0, "look at the memory of idle clients once more, after so many seconds; the garbage collector runs by itself every 120; 0: do not")
	f.IntVar(&o.Cycles, "cycles", 100_000, "people who come and go in suite soak")
	f.IntVar(&o.Messages, "messages", 1_000_000, "messages stored in suite soak")
	quick := f.Bool("quick", false, "a run of a minute, to see that everything works; its figures mean little")
	if err := f.Parse(args); err != nil {
		return o, nil, err
	}
	o.quick = *quick
	if *quick {
		set := map[string]bool{}
		f.Visit(func(f *flag.Flag) { set[f.Name] = true })
		for name, value := range map[string]string{
			"rounds": "2", "seconds": "0.5", "warmup": "0.2", "chats": "500", "sizes": "1000,10000,100000", "pages": "200",
			"cycles": "2000", "messages": "10000",
		} {
			if !set[name] {
				if err := f.Set(name, value); err != nil {
					return o, nil, err
				}
			}
		}
	}
	for s := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n <= 0 || len(o.Sizes) > 0 && n <= o.Sizes[len(o.Sizes)-1] {
			return o, nil, fmt.Errorf("-sizes wants ascending numbers of messages, not %q", *sizes)
		}
		o.Sizes = append(o.Sizes, n)
	}
	if o.Chats < hotChats || o.Rounds < 1 || o.Seconds <= 0 || o.Body < 1 || o.Pages < 1 {
		return o, nil, fmt.Errorf("-chats must be at least %d, and -rounds, -seconds, -body and -pages more than nothing", hotChats)
	}
	if o.Cycles < 1 || o.Messages < 1 {
		return o, nil, errors.New("-cycles and -messages must be more than nothing")
	}
	if *only != "" {
		o.Only = strings.Split(*only, ",")
		for _, name := range o.Only {
			if !slices.Contains(strings.Split(scenarioNames(), ", "), name) {
				return o, nil, fmt.Errorf("there is no scenario %q: there are %s", name, scenarioNames())
			}
		}
	}
	if *cases != "" {
		if o.Case, err = regexp.Compile(*cases); err != nil {
			return o, nil, fmt.Errorf("-case: %w", err)
		}
	}
	for name := range strings.SplitSeq(*names, ",") {
		i := 0
		for i < len(suites) && suites[i].name != name {
			i++
		}
		if i == len(suites) {
			return o, nil, fmt.Errorf("there is no suite %q", name)
		}
		chosen = append(chosen, suites[i])
	}
	return o, chosen, nil
}

// progress tells whoever waits.
func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%7.1fs  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

func (b *bench) measured() time.Duration { return time.Duration(b.Seconds * float64(time.Second)) }
func (b *bench) warmed() time.Duration   { return time.Duration(b.Warmup * float64(time.Second)) }

// settle makes the garbage of one case not the next one's work.
func settle() { runtime.GC() }

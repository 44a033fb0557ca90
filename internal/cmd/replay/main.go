// Replay says again what people once said on IRC: every message of a set of
// logs goes through the protocol, by an account of its own nick, into a group
// per log; then the server is killed, and everything is read back by paging in
// both directions and compared by hash with the logs.
//
//	go run ./internal/cmd/replay -logs DIR
//
// Logs are text files of lines such as "[12:34] <nick> text"; other lines (who
// came and went, "* nick does") are counted and left out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/grima-chat/grima/internal/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "replay:", err)
		stop()
		os.Exit(1)
	}
}

// replay is one run of the command.
type replay struct {
	logs, pattern string
	register      bool
	files         int
	again         bool

	ctx       context.Context
	out, diag io.Writer
	began     time.Time
	dir       string // the server's binary and data

	transcripts []*transcript
	accounts    map[string]account // by nick
}

func run(ctx context.Context, args []string, out, diag io.Writer) (err error) {
	r := &replay{ctx: ctx, out: out, diag: diag, began: time.Now()}
	f := flag.NewFlagSet("replay", flag.ContinueOnError)
	f.SetOutput(diag)
	corpora := ""
	if dir := os.Getenv("GRIMA_CORPORA"); dir != "" {
		corpora = filepath.Join(dir, "irc-ubuntu-threads", "train.tar.xz")
	}
	f.StringVar(&r.logs, "logs", corpora, "a directory of logs, or an archive that tar can unpack (default: $GRIMA_CORPORA/irc-ubuntu-threads/train.tar.xz)")
	f.StringVar(&r.pattern, "pattern", "*.raw.txt", "which files of it are logs")
	f.BoolVar(&r.register, "register", false, "make the accounts through users.create and a login with a password, which hashes twice for each; else as the operator does while no server runs, without passwords")
	f.IntVar(&r.files, "files", 32, "logs under way at a time; each has a connection for each of its nicks")
	f.BoolVar(&r.again, "again", false, "then send everything once more, and want every answer to be a duplicate")
	f.StringVar(&r.dir, "dir", "", "keep the data here; empty: a temporary directory")
	if err := f.Parse(args); err != nil {
		return err
	}
	if r.logs == "" || r.files < 1 {
		return errors.New("say where the logs are with -logs or $GRIMA_CORPORA, and at least one of them at a time")
	}
	if r.dir == "" {
		if r.dir, err = os.MkdirTemp("", "grima-replay-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	}
	return r.run()
}

func (r *replay) run() error {
	if err := r.read(); err != nil {
		return err
	}
	r.progress("building the server")
	bin, err := harness.Build(r.dir)
	if err != nil {
		return err
	}
	data := filepath.Join(r.dir, "data")
	if !r.register {
		if err := r.addAccounts(data); err != nil {
			return fmt.Errorf("adding accounts: %w", err)
		}
	}
	p, err := harness.Start(bin, data, nil)
	if err != nil {
		return err
	}
	defer func() { p.Kill() }()
	if r.register {
		if err := r.registerAccounts(p.Addr); err != nil {
			return fmt.Errorf("registering: %w", err)
		}
	}
	if err := r.send(p.Addr, false); err != nil {
		return fmt.Errorf("sending: %w\n%s", err, p.Log())
	}
	// Whatever was acknowledged must be there after this.
	p.Kill()
	if p, err = harness.Start(bin, data, nil); err != nil {
		return err
	}
	if r.again {
		if err := r.send(p.Addr, true); err != nil {
			return fmt.Errorf("sending again: %w\n%s", err, p.Log())
		}
	}
	if err := r.verify(p.Addr); err != nil {
		return fmt.Errorf("reading back: %w", err)
	}
	return p.Stop()
}

// progress tells whoever waits; say is a result.
func (r *replay) progress(format string, args ...any) {
	fmt.Fprintf(r.diag, "%7.1fs  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

func (r *replay) say(format string, args ...any) { fmt.Fprintf(r.out, format+"\n", args...) }

// perSecond prints how long n took.
func perSecond(n int, d time.Duration) string {
	return fmt.Sprintf("%.1f s, %.0f/s", d.Seconds(), float64(n)/d.Seconds())
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/grima-chat/grima/internal/store/postgres"
	"github.com/grima-chat/grima/internal/store/sqlite"
	"github.com/grima-chat/grima/internal/store/transfer"
)

type copyCmd struct {
	From     string `arg:"" help:"What to copy: sqlite:DIR, a data directory, or postgres://USER@HOST/DATABASE." predictor:"store"`
	To       string `arg:"" help:"Where to, in the same way. It is made if it is not there, and must be empty, or an older state of the same." predictor:"store"`
	NewEpoch bool   `help:"Make a store of its own, with which clients begin anew, and leave what was copied in service: to restore a backup, to take one, to try something out."`
}

func (*copyCmd) Help() string {
	return `Moves everything: people, sessions, chats, messages, read marks. After it, serve with --store TO: people notice a reconnect and nothing else.

While a server has FROM open, its state of this moment is copied, which may take long and disturbs nobody. Then stop the server and run the same command again: it looks at every row and brings over what has changed, checks both sides by counts and hashes, and is done. FROM is then marked as moved, and no server starts on it. It may be stopped or killed at any moment; run it again, and it goes on.

    grima copy sqlite:/var/lib/grima postgres://grima@db.example.org/grima
    systemctl stop grima
    grima copy sqlite:/var/lib/grima postgres://grima@db.example.org/grima
    grima copy postgres://grima@db.example.org/grima sqlite:/var/lib/grima             # back again
    grima copy --new-epoch sqlite:/backup/grima sqlite:/var/lib/grima                  # restore

A password is better in ~/.pgpass or PGPASSWORD than in the URL, where others on this machine can read it. More in docs/operations.md#moving.`
}

// Run copies.
func (c *copyCmd) Run(ctx context.Context, std stdio) (err error) {
	if err := errors.Join(checkPlace(c.From), checkPlace(c.To)); err != nil {
		return usageError{err}
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	from, err := openSource(ctx, c.From, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := openDestination(ctx, c.To, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()

	began := time.Now()
	show := newCopyProgress(std.err)
	r, err := transfer.Copy(ctx, transfer.Config{
		From: from, To: to, Fork: c.NewEpoch, ToName: placeName(c.To), Progress: show.progress,
	})
	show.end()
	if err != nil {
		if ctx.Err() != nil {
			return errors.New("stopped; run the same command again, and it goes on")
		}
		return err
	}
	return c.report(std.out, r, time.Since(began))
}

func (c *copyCmd) report(w io.Writer, r transfer.Result, took time.Duration) error {
	d := r.Digest
	text := fmt.Sprintf("%s users, %s chats, %s messages: the same on both sides, row by row (%s); %s rows were written now, in %s\n",
		thousands(d.Rows("users")), thousands(d.Rows("chats")), thousands(d.Rows("messages")), d, thousands(r.Written), took.Round(100*time.Millisecond))
	switch {
	case r.Finished && c.NewEpoch:
		text += fmt.Sprintf("done: %s is a store of its own, with which clients begin anew\n", placeName(c.To))
	case r.Finished:
		text += fmt.Sprintf("done: serve with %s; nothing starts on %s any more\n", serveWith(c.To), placeName(c.From))
	default:
		text += fmt.Sprintf("not done: a server has %s open, and goes on. Stop it, and run the same command again: it brings over what has changed\n", placeName(c.From))
	}
	_, err := io.WriteString(w, text)
	return err
}

// place is a store that is copied from or to.
type place interface {
	transfer.Store
	io.Closer
}

func openSource(ctx context.Context, name string, log *slog.Logger) (place, error) {
	if dir, ok := strings.CutPrefix(name, sqliteStore); ok {
		data := dataFlags{Data: dirOf(dir)}
		if err := data.findData(); err != nil {
			return nil, err
		}
		return sqlite.OpenSource(ctx, sqlite.Config{Dir: data.Data, Log: log})
	}
	return postgres.OpenSource(ctx, postgres.Config{URL: name, Log: log})
}

func openDestination(ctx context.Context, name string, log *slog.Logger) (place, error) {
	if dir, ok := strings.CutPrefix(name, sqliteStore); ok {
		dir = dirOf(dir)
		if err := prepareData(dir); err != nil {
			return nil, err
		}
		return sqlite.OpenDestination(ctx, sqlite.Config{Dir: dir, Log: log})
	}
	return postgres.OpenDestination(ctx, postgres.Config{URL: name, Log: log})
}

// dirOf is the directory that sqlite:DIR names; without one, where serve keeps
// its data.
func dirOf(dir string) string {
	if dir != "" {
		return dir
	}
	if dir := os.Getenv("GRIMA_DATA"); dir != "" {
		return dir
	}
	return defaultData()
}

func checkPlace(name string) error {
	if strings.HasPrefix(name, sqliteStore) {
		return nil
	}
	f := dataFlags{Store: name}
	if err := f.checkStore(); err != nil || !f.shared() {
		return fmt.Errorf("%s is no store: one is sqlite:DIR, a data directory, or postgres://USER@HOST/DATABASE", storeWithoutPassword(name))
	}
	return nil
}

// placeName is what may be shown of a place.
func placeName(name string) string {
	if dir, ok := strings.CutPrefix(name, sqliteStore); ok {
		dir = dirOf(dir)
		if full, err := filepath.Abs(dir); err == nil {
			dir = full
		}
		return sqliteStore + dir
	}
	return storeWithoutPassword(name)
}

// serveWith are the flags that serve a place.
func serveWith(name string) string {
	if dir, ok := strings.CutPrefix(placeName(name), sqliteStore); ok {
		return "--data " + dir
	}
	return "--store " + placeName(name)
}

// thousands writes a number for people.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// copyProgress tells people how far a copy has come: on a terminal by one line
// that changes, elsewhere by a line now and then.
type copyProgress struct {
	w        io.Writer
	terminal bool
	every    time.Duration
	began    time.Time
	shown    time.Time
	last     transfer.Progress
}

func newCopyProgress(w io.Writer) *copyProgress {
	p := &copyProgress{w: w, every: 10 * time.Second, began: time.Now(), shown: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.terminal, p.every = true, 200*time.Millisecond
	}
	return p
}

func (p *copyProgress) progress(now transfer.Progress) {
	p.last = now
	if t := time.Now(); t.Sub(p.shown) >= p.every {
		p.shown = t
		p.show()
	}
}

func (p *copyProgress) show() {
	doing := "copying"
	if p.last.Checking {
		doing = "checking"
	}
	line := fmt.Sprintf("%s %s: %s rows, %s written so far, %s", doing, p.last.Table, thousands(p.last.Rows), thousands(p.last.Written),
		time.Since(p.began).Round(time.Second))
	if p.terminal {
		line = "\r" + line + "\x1b[K"
	} else {
		line += "\n"
	}
	_, _ = io.WriteString(p.w, line) // who does not want to read it need not
}

// end takes the line away.
func (p *copyProgress) end() {
	if p.terminal {
		_, _ = io.WriteString(p.w, "\r\x1b[K")
	}
}

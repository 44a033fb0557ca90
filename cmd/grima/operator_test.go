package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/protocol"
)

// bounded is an operator that looks whether its requests have an end.
type bounded struct{ operator }

func (b bounded) do(ctx context.Context, req protocol.Request) (protocol.Response, error) {
	if _, ok := ctx.Deadline(); !ok {
		return protocol.Response{}, errors.New("the request has no bound")
	}
	return protocol.Response{Type: protocol.TypeDataResponse, Op: req.Op, Result: jsontext.Value("{}")}, nil
}

// The bound on a request once held for the whole command, with the time that
// somebody needs to type a password.
func TestOnlyRequestsAreBounded(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if err := prepareData(data); err != nil {
		t.Fatal(err)
	}
	err := (&dataFlags{Data: data}).withOperator(t.Context(), stdio{err: io.Discard}, func(ctx context.Context, op operator) error {
		if deadline, ok := ctx.Deadline(); ok {
			t.Errorf("the command has to be done by %v", deadline)
		}
		_, err := ask(ctx, bounded{op}, protocol.OpUsersMe, protocol.Empty{}, new(protocol.Empty))
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Whoever else has a data directory is told so before they change the settings of
// the server on it, or leave files there that it cannot read. config check, asked
// by root, once found everything in order.
func TestSomebodyElsesData(t *testing.T) {
	theirs := "/" // which is root's
	if os.Geteuid() == 0 {
		theirs = t.TempDir()
		if err := os.Chown(theirs, 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr strings.Builder
	for _, args := range [][]string{{"config", "check"}, {"serve", "--listen", "127.0.0.1:0"}, {"user", "add", "ana"}} {
		stdout.Reset()
		stderr.Reset()
		code := run(t.Context(), append(args, "--data", theirs), strings.NewReader("battery staple"), &stdout, &stderr)
		if code != exitFailed || !strings.Contains(stderr.String(), theirs+" belongs to the user with id ") {
			t.Errorf("%v: code %d\n%s%s", args, code, stdout.String(), stderr.String())
		}
	}
}

// A stop that was clean but for the store once ended with "%!w(<nil>)".
func TestStoreFailed(t *testing.T) {
	cause := errors.New("the disk is gone")
	for _, err := range []error{nil, errors.New("some connections were cut off"), cause} {
		got := (&dataFlags{Data: "/srv/grima"}).storeFailed(err, cause)
		if !errors.Is(got, cause) || err != nil && !errors.Is(got, err) ||
			strings.Contains(got.Error(), "%!") || strings.Count(got.Error(), cause.Error()) != 1 {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// TERM once waited for a signal handler that came to read only after the store
// had opened.
func TestStopWhileOpening(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	r, err := startServer(t.TempDir(), []string{"GRIMA_DATA=" + data})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// Somebody has the database to themselves, so that opening it waits.
	db, err := sqlite3.Open(filepath.Join(data, databaseFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT"); err != nil {
		t.Fatal(err)
	}
	r, err = launch(t.TempDir(), []string{"GRIMA_DATA=" + data})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.await("opening the store"); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(syscall.SIGTERM); err == nil || err.Error() != "signal: terminated" {
		t.Errorf("it ended with %v:\n%s", err, r.output())
	}
}

// What keeps a server from its data directory is said before it starts, with what
// to do.
func TestDataDirectoryThatIsNoUse(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := lookAtData(closed); err == nil || !strings.Contains(err.Error(), "chmod 700 "+closed) {
		t.Errorf("one that cannot be written to: %v", err)
	}
	if err := prepareData(filepath.Join(closed, "data")); err == nil || !strings.Contains(err.Error(), "install -d -o grima -m 700 ") {
		t.Errorf("one that cannot be made: %v", err)
	}
}

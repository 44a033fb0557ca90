package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/password"
	"github.com/grima-chat/grima/internal/server"
	"github.com/grima-chat/grima/internal/store/sqlite"
	"github.com/grima-chat/grima/protocol"
)

// controlSocket is the name of the socket, in the data directory, on which a
// running server takes the operator's requests
// (docs/operations.md#control-socket).
const controlSocket = "control.sock"

// operatorTimeout bounds one request of an operator's command.
const operatorTimeout = 30 * time.Second

// operator answers requests as whoever runs the server: a command need not
// know whether one runs.
type operator interface {
	do(ctx context.Context, req protocol.Request) (protocol.Response, error)
	close() error
}

// databaseFile is the store's file in the data directory.
const databaseFile = "grima.db"

// openOperator speaks to the server that runs on the data directory, or opens
// the store itself if there is none. A server that is just starting or stopping
// has no socket and holds the directory: opening the store then says so.
func (f *dataFlags) openOperator(ctx context.Context, log *slog.Logger) (operator, error) {
	op, err := dialOperator(ctx, filepath.Join(f.Data, controlSocket))
	if err == nil {
		return op, nil
	}
	// Left behind by a server that was killed, or not there at all.
	if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	store, err := f.openStore(ctx, sqlite.Config{Dir: f.Data, Log: log})
	if err != nil {
		return nil, err
	}
	svc := chat.NewService(chat.Config{
		Store:     store,
		Publisher: nobodyListens{},
		Passwords: password.New(password.Params{}),
		Log:       log,
	})
	return &storeOperator{store, api.New(svc)}, nil
}

// prepareData makes the data directory, for its owner alone, or sees that it is
// ours.
func prepareData(data string) error {
	keepPrivate()
	if there, err := lookAtData(data); there || err != nil {
		return err
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("making the data directory: %w; make it as root for whom the server runs as (install -d -o grima -m 700 %s), or choose another with --data DIR", err, data)
	}
	return nil
}

// lookAtData reports whether the data directory is there, and sees that it is
// ours if it is.
func lookAtData(data string) (there bool, err error) {
	if data == "" {
		return false, usagef("there is no home directory to keep data in: say where with --data DIR or GRIMA_DATA")
	}
	info, err := os.Stat(data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("looking at the data directory: %w; choose another with --data DIR", err)
	case !info.IsDir():
		return false, usagef("%s is not a directory: choose another with --data DIR", data)
	}
	return true, checkOwner(data, info)
}

// findData sees that there is a data directory with something in it, and that
// it is ours: a mistyped name is no reason to make another.
func (f *dataFlags) findData() error {
	data := f.Data
	if data != "" && !f.shared() {
		if _, err := os.Stat(filepath.Join(data, databaseFile)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no data directory of Grima's at %s; grima serve and grima user add make one, --data DIR and GRIMA_DATA name another", data)
		}
	}
	return prepareData(data)
}

// storeOperator works on the store of a server that does not run.
type storeOperator struct {
	store chat.Store
	api   *api.API
}

func (o *storeOperator) do(ctx context.Context, req protocol.Request) (protocol.Response, error) {
	answer := make(chan protocol.Response, 1)
	o.api.Do(ctx, api.Caller{Actor: chat.Actor{Operator: true}}, req, func(r protocol.Response) { answer <- r })
	return <-answer, nil
}

func (o *storeOperator) close() error {
	o.api.Close()
	return o.store.Close()
}

// socketOperator speaks to a running server.
type socketOperator struct {
	conn  net.Conn
	lines *protocol.LineReader
}

func dialOperator(ctx context.Context, path string) (*socketOperator, error) {
	conn, err := server.DialControl(ctx, path)
	if err != nil {
		return nil, err
	}
	o := &socketOperator{conn, protocol.NewLineReader(conn, 64*protocol.MaxFrame)}
	var hello protocol.Hello
	if err := o.read(&hello); err != nil {
		return nil, errors.Join(fmt.Errorf("waiting for the server's Hello: %w", err), conn.Close())
	}
	if hello.Type != protocol.TypeHello || hello.Protocol != protocol.Version {
		return nil, errors.Join(fmt.Errorf("the server speaks version %d of the protocol and this grima %d", hello.Protocol, protocol.Version), conn.Close())
	}
	return o, nil
}

func (o *socketOperator) do(_ context.Context, req protocol.Request) (protocol.Response, error) {
	line, err := protocol.AppendFrame(nil, req)
	if err != nil {
		return protocol.Response{}, err
	}
	if _, err := o.conn.Write(line); err != nil {
		return protocol.Response{}, fmt.Errorf("asking the server: %w", err)
	}
	var answer protocol.Response
	if err := o.read(&answer); err != nil {
		return protocol.Response{}, fmt.Errorf("waiting for the server's answer: %w", err)
	}
	return answer, nil
}

func (o *socketOperator) read(frame any) error {
	if err := o.conn.SetReadDeadline(time.Now().Add(operatorTimeout)); err != nil {
		return err
	}
	line, err := o.lines.Next()
	if err != nil {
		return err
	}
	return json.Unmarshal(line, frame)
}

func (o *socketOperator) close() error { return o.conn.Close() }

// nobodyListens is the Publisher of a store without a server.
type nobodyListens struct{}

func (nobodyListens) Publish(chat.Event)                           {}
func (nobodyListens) PublishPlace(chat.Participant, bool)          {}
func (nobodyListens) PublishTyping(chat.ChatID, chat.UserID, bool) {}
func (nobodyListens) PublishPresence(chat.UserID)                  {}
func (nobodyListens) PublishUser(chat.UserID)                      {}
func (nobodyListens) EndSessions([]chat.SessionID)                 {}

// ask makes one request with params and reads its result into out; raw is that
// result as it came. A refusal comes back as a *protocol.Error.
func ask(ctx context.Context, op operator, name string, params, out any) (raw jsontext.Value, err error) {
	encoded, err := json.Marshal(params)
	if err != nil {
		return nil, fmt.Errorf("encoding the parameters of %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, operatorTimeout)
	defer cancel()
	answer, err := op.do(ctx, protocol.Request{Type: protocol.TypeDataRequest, Op: name, Params: encoded})
	if err != nil {
		return nil, err
	}
	if answer.Error != nil {
		return nil, answer.Error
	}
	if err := json.Unmarshal(answer.Result, out); err != nil {
		return nil, fmt.Errorf("reading the answer to %s: %w", name, err)
	}
	return answer.Result, nil
}

// asOperator opens an operator for the data directory that is there, runs do
// with it, and closes it. Only requests are bounded in time: do may ask people.
func (f *dataFlags) asOperator(ctx context.Context, std stdio, do func(context.Context, operator) error) error {
	if err := f.findData(); err != nil {
		return err
	}
	return f.withOperator(ctx, std, do)
}

// withOperator is asOperator for a data directory that has been prepared.
func (f *dataFlags) withOperator(ctx context.Context, std stdio, do func(context.Context, operator) error) (err error) {
	if err := f.checkStore(); err != nil {
		return err
	}
	op, err := f.openOperator(ctx, slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, op.close()) }()
	return do(ctx, op)
}

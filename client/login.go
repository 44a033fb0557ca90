package client

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/protocol"
)

// Credentials is what [Login] makes.
type Credentials struct {
	Token     string
	ExpiresAt string
	User      protocol.User
	SessionID string
}

// Login logs in with a password, over a connection of its own, for a token that
// a Client can be opened with. Each login is another session, which cfg.Device
// names for its user. cfg's Token is not used.
func Login(ctx context.Context, cfg Config, username, password string) (Credentials, error) {
	cfg = cfg.withDefaults()
	no := false
	var r protocol.SessionStartResult
	err := once(ctx, cfg, protocol.OpSessionStart, protocol.SessionStartParams{
		Mechanism: protocol.MechanismPlain, Username: username, Password: password,
		Device: cfg.Device, Client: cfg.Agent, Subscribe: &no,
	}, &r)
	if err == nil && r.Token == "" {
		err = broke("a login was answered without a token")
	}
	return Credentials{Token: r.Token, ExpiresAt: r.ExpiresAt, User: r.User, SessionID: r.SessionID}, err
}

// Register makes an account, with an invite where one is needed. It does not log
// in.
func Register(ctx context.Context, cfg Config, p protocol.UsersCreateParams) (protocol.User, error) {
	var r protocol.UserResult
	err := once(ctx, cfg.withDefaults(), protocol.OpUsersCreate, p, &r)
	return r.User, err
}

// Anonymous calls an operation without being logged in, over a connection of its
// own: session.start or users.create. cfg's Token is not used.
func Anonymous(ctx context.Context, cfg Config, op string, params jsontext.Value) (result jsontext.Value, err error) {
	return result, once(ctx, cfg.withDefaults(), op, params, &result)
}

// once asks one thing that needs no login, over a connection of its own.
func once(ctx context.Context, cfg Config, op string, params, result any) error {
	d, err := newDialer(cfg)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(params)
	if err != nil {
		return protocol.NewError(protocol.CodeInvalidUTF8, err.Error())
	}
	line, err := protocol.AppendFrame(nil, protocol.Request{Type: frameOf(op), ID: protocol.ID("1"), Op: op, Params: raw})
	if err != nil {
		return protocol.NewError(protocol.CodeInvalidRequest, err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.DialTimeout)
	defer cancel()
	t, err := d.dial(ctx)
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", cfg.Server, err)
	}
	defer closeWith(ctx, t)()
	err = exchange(t, line, result)
	if ctx.Err() != nil {
		err = fmt.Errorf("waiting for the server's answer: %w", ctx.Err())
	}
	return err
}

// exchange writes a request with id 1 and reads its answer.
func exchange(t transport, line []byte, result any) error {
	if err := t.write(line); err != nil {
		return fmt.Errorf("asking the server: %w", err)
	}
	for {
		line, err := t.next()
		if err != nil {
			return fmt.Errorf("waiting for the server's answer: %w", err)
		}
		frame, bad := protocol.DecodeFrame(line)
		if bad != nil {
			return broke("a line that is none: %v", bad)
		}
		switch f := frame.(type) {
		case *protocol.Response:
			switch {
			case string(f.ID) != "1":
			case f.Error != nil:
				return f.Error
			default:
				return decode(f.Result, result)
			}
		case *protocol.ErrorFrame:
			return f.Error
		case *protocol.Goodbye:
			return &GoodbyeError{*f}
		}
	}
}

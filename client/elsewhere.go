package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/protocol"
)

// Servers may share the work (docs/protocol.md#roles). A client that is sent to
// another one goes there: with its connection, if it came to a server for data,
// and for a single answer, over HTTP, if it asks one for live connections for
// data.

// misdirected is err, if it says where to go.
func misdirected(err error) *protocol.Error {
	e, ok := errors.AsType[*protocol.Error](err)
	if ok && e.Code == protocol.CodeMisdirected && e.URL != "" {
		return e
	}
	return nil
}

// follow makes the next connections to where err sends the client. It gives an
// error that is no reason to stop, or err if there is nowhere to go. Where the
// client was sent and came to nothing, it asks anew where to go.
func (c *Client) follow(err error) error {
	cfg := c.cfg
	e := misdirected(err)
	switch {
	case e != nil && e.URL != c.dialer.cfg.Server:
		cfg.Server = e.URL
	case e != nil || permanent(err) || c.loggedIn():
		return err
	}
	if cfg.Server == c.dialer.cfg.Server {
		return err
	}
	d, wrong := newDialer(cfg)
	if wrong != nil {
		return err
	}
	c.dialer = d
	if e == nil {
		return err
	}
	return fmt.Errorf("live connections are served by %s", e.URL)
}

// loggedIn reports whether the connection came to something.
func (c *Client) loggedIn() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.s.ready
}

// maxAnswer bounds the answer of another server.
const maxAnswer = 64 << 20

// askElsewhere asks the server that e names.
func (c *Client) askElsewhere(ctx context.Context, e *protocol.Error, op string, params jsontext.Value) Answer {
	at, err := parseAddress(e.URL)
	if err != nil || !strings.HasPrefix(e.URL, "http") || !at.tls && !c.cfg.Insecure && !thisMachine(at.name) {
		return Answer{Err: e}
	}
	frame := frameOf(op)
	body, err := protocol.AppendFrame(nil, protocol.Request{Type: frame, Op: op, Params: params})
	if err != nil {
		return Answer{Err: protocol.NewError(protocol.CodeInvalidRequest, err.Error())}
	}
	path := "/v1/data"
	if frame == protocol.TypeBroadcastRequest {
		path = "/v1/broadcast"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(e.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return Answer{Err: fmt.Errorf("asking %s: %w", e.URL, err)}
	}
	req.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	req.Header.Set("Content-Type", "application/json")
	lost := func(err error) Answer {
		if ctx.Err() != nil {
			return Answer{Err: ctx.Err()}
		}
		if !protocol.Repeatable(op, params) {
			err = fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
		}
		return Answer{Err: fmt.Errorf("asking %s: %w", e.URL, err)}
	}
	res, err := c.web().Do(req)
	if err != nil {
		return lost(err)
	}
	defer func() { _ = res.Body.Close() }() // all that counts of it was read
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return lost(err)
	}
	var answer protocol.Response
	if err := json.Unmarshal(text, &answer); err != nil || answer.Op != op {
		return lost(fmt.Errorf("it answered %s, and with no frame", res.Status))
	}
	if answer.Error != nil {
		return Answer{Err: answer.Error}
	}
	return Answer{Result: answer.Result}
}

// web makes a client for HTTP that reaches what the dialer reaches, and follows
// no redirects: the token is for whom the server named.
func (c *Client) web() *http.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http == nil {
		t := &http.Transport{
			DialContext: c.cfg.Dial, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost: 2, IdleConnTimeout: c.cfg.Heartbeat, ForceAttemptHTTP2: false,
		}
		if c.cfg.TLS != nil {
			t.TLSClientConfig = c.cfg.TLS.Clone()
		}
		c.http = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return c.http
}

// refusedElsewhere is what the answer to a WebSocket's handshake says of where to
// go; nil: nothing.
func refusedElsewhere(res *http.Response) error {
	if res == nil || res.StatusCode != http.StatusMisdirectedRequest {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil {
		return nil
	}
	var p struct {
		Detail string        `json:"detail"`
		Code   protocol.Code `json:"code"`
		URL    string        `json:"url"`
	}
	if json.Unmarshal(text, &p) != nil || p.Code != protocol.CodeMisdirected {
		return nil
	}
	e := protocol.NewError(p.Code, p.Detail)
	e.URL = p.URL
	return &LoginError{e}
}

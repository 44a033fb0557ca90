package apitest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// Direct leads into an API in this process, without a transport.
func Direct(a *api.API) Door { return &direct{a, map[string]chat.Actor{}} }

type direct struct {
	api    *api.API
	actors map[string]chat.Actor
}

func (d *direct) Frames() bool { return true }

func (d *direct) Do(t testing.TB, who string, req protocol.Request) protocol.Response {
	t.Helper()
	answers := make(chan protocol.Response, 1)
	d.api.Do(context.Background(), api.Caller{
		Actor: d.actors[who],
		OnLogin: func(l chat.Login, _ protocol.SessionStartParams) (int64, error) {
			d.actors[who] = l.Actor
			return 0, nil
		},
	}, req, func(r protocol.Response) { answers <- r })
	return <-answers
}

// Lines leads over connections that dial makes, one for each who.
func Lines(t testing.TB, dial func() (net.Conn, error)) Door {
	d := &lines{dial: dial, conns: map[string]*lineConn{}}
	t.Cleanup(func() {
		for _, c := range d.conns {
			c.Close()
		}
	})
	return d
}

type lines struct {
	dial  func() (net.Conn, error)
	conns map[string]*lineConn
}

type lineConn struct {
	net.Conn
	*protocol.LineReader
}

func (d *lines) Frames() bool { return true }

func (d *lines) Do(t testing.TB, who string, req protocol.Request) protocol.Response {
	t.Helper()
	c := d.conns[who]
	if c == nil {
		conn, err := d.dial()
		if err != nil {
			t.Fatal(err)
		}
		c = &lineConn{conn, protocol.NewLineReader(conn, 1<<20)}
		d.conns[who] = c
	}
	line, err := protocol.AppendFrame(nil, req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(line); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := c.Next()
		if err != nil {
			t.Fatalf("%s waits for an answer to %s: %v", who, req.Op, err)
		}
		var r protocol.Response // Hello and events have no such id
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if string(r.ID) == string(req.ID) {
			return r
		}
	}
}

// Several leads into several servers of one store in turn: each request goes to
// the next one. Who is logged in is so on all of them, with one token.
func Several(doors ...Door) Door {
	return &several{doors: doors, tokens: map[string]string{}, known: map[string][]bool{}}
}

type several struct {
	doors  []Door
	next   int
	tokens map[string]string // of who is logged in
	known  map[string][]bool // at which doors
}

func (d *several) Frames() bool { return d.doors[0].Frames() }

func (d *several) Do(t testing.TB, who string, req protocol.Request) protocol.Response {
	t.Helper()
	i := d.next % len(d.doors)
	d.next++
	if d.tokens[who] != "" && !d.known[who][i] {
		no := false
		params, err := json.Marshal(protocol.SessionStartParams{Mechanism: protocol.MechanismToken, Token: d.tokens[who], Subscribe: &no})
		if err != nil {
			t.Fatal(err)
		}
		login := protocol.Request{Type: protocol.TypeSessionRequest, ID: protocol.ID(`"login"`), Op: protocol.OpSessionStart, Params: params}
		if r := d.doors[i].Do(t, who, login); r.Error != nil {
			t.Fatalf("%s is not let in at server %d: %v", who, i+1, r.Error)
		}
		d.known[who][i] = true
	}
	r := d.doors[i].Do(t, who, req)
	if req.Op == protocol.OpSessionStart && r.Error == nil {
		var started protocol.SessionStartResult
		var asked protocol.SessionStartParams
		if err := errors.Join(json.Unmarshal(r.Result, &started), json.Unmarshal(req.Params, &asked)); err != nil {
			t.Fatalf("%s: %v", r.Result, err)
		}
		d.tokens[who], d.known[who] = cmp.Or(started.Token, asked.Token), make([]bool, len(d.doors))
		d.known[who][i] = true
	}
	return r
}

// HTTPFrames leads to POST /v1/data and /v1/broadcast of the server at base
// ("http://127.0.0.1:7007"), and for sessions, which have no door for frames, to
// their routes.
func HTTPFrames(base string, client *http.Client) Door {
	return &frames{resources{base, client, map[string]string{}}}
}

type frames struct{ resources }

func (d *frames) Frames() bool { return true }

func (d *frames) Do(t testing.TB, who string, req protocol.Request) protocol.Response {
	t.Helper()
	path := "/v1/data"
	switch req.Type {
	case protocol.TypeSessionRequest:
		return d.resources.Do(t, who, req)
	case protocol.TypeBroadcastRequest:
		path = "/v1/broadcast"
	}
	body, err := protocol.AppendFrame(nil, req)
	if err != nil {
		t.Fatal(err)
	}
	res, text := d.send(t, who, http.MethodPost, path, body, false)
	var r protocol.Response
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	want := http.StatusOK
	if r.Error != nil {
		want = r.Error.Code.Info().Status
	}
	if res.StatusCode != want || string(r.ID) != string(req.ID) || r.Op != req.Op || r.Type != req.Type.Response() {
		t.Fatalf("%s has status %d, want %d, and answers %s %s", text, res.StatusCode, want, req.Type, req.ID)
	}
	return r
}

// Resources leads to the resource-shaped routes of the server at base.
func Resources(base string, client *http.Client) Door {
	return &resources{base, client, map[string]string{}}
}

type resources struct {
	base   string
	client *http.Client
	tokens map[string]string
}

func (d *resources) Frames() bool { return false }

var wildcard = regexp.MustCompile(`\{([a-z_]+)\}`)

func (d *resources) Do(t testing.TB, who string, req protocol.Request) protocol.Response {
	t.Helper()
	op, ok := api.Lookup(req.Op)
	if !ok {
		t.Fatalf("%s has no route", req.Op)
	}
	params := map[string]jsontext.Value{}
	if len(req.Params) > 0 {
		if err := json.Unmarshal(req.Params, &params); err != nil {
			t.Fatalf("%s: %v", req.Params, err)
		}
	}
	method, path, _ := strings.Cut(route(op, params), " ")
	path = wildcard.ReplaceAllStringFunc(path, func(m string) string {
		name := strings.Trim(m, "{}")
		value := plain(t, params[name])
		delete(params, name)
		return url.PathEscape(value)
	})
	var body []byte
	switch method {
	case http.MethodGet, http.MethodDelete:
		q := url.Values{}
		for name, value := range params {
			q.Set(name, plain(t, value))
		}
		if len(q) > 0 {
			path += "?" + q.Encode()
		}
	default:
		var err error
		if body, err = json.Marshal(params); err != nil {
			t.Fatal(err)
		}
	}
	res, text := d.send(t, who, method, path, body, req.Strict)
	r := protocol.Response{Type: req.Type.Response(), ID: req.ID, Op: req.Op}
	for name := range strings.SplitSeq(res.Header.Get("Grima-Ignored"), ", ") {
		if unquoted, err := strconv.Unquote(name); err == nil {
			r.Ignored = append(r.Ignored, unquoted)
		}
	}
	if res.StatusCode < 300 {
		r.Result = bytes.TrimSpace(text)
		if req.Op == protocol.OpSessionStart {
			var started protocol.SessionStartResult
			if err := json.Unmarshal(r.Result, &started); err != nil {
				t.Fatalf("%s: %v", r.Result, err)
			}
			if d.tokens[who] = started.Token; started.Token == "" {
				d.tokens[who] = plain(t, params["token"])
			}
		}
		return r
	}
	r.Error = new(protocol.Error)
	if err := json.Unmarshal(text, r.Error); err != nil || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%s %s: %s %s is no problem: %v", method, path, res.Status, text, err)
	}
	var problem struct {
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}
	if err := json.Unmarshal(text, &problem); err != nil {
		t.Fatal(err)
	}
	if problem.Status != res.StatusCode || problem.Status != r.Error.Code.Info().Status {
		t.Fatalf("%s %s: %s %s", method, path, res.Status, text)
	}
	r.Error.Message = problem.Detail
	return r
}

// route picks the route whose wildcards the params can fill.
func route(op *api.Operation, params map[string]jsontext.Value) string {
	for _, r := range op.Routes {
		fits := true
		for _, m := range wildcard.FindAllStringSubmatch(r, -1) {
			_, ok := params[m[1]]
			fits = fits && ok
		}
		if _, other := params["user_id"]; fits && !(other && strings.HasSuffix(r, "/me")) {
			return r
		}
	}
	return op.Routes[0]
}

// plain is a JSON value as it stands in a path or a query.
func plain(t testing.TB, v jsontext.Value) string {
	t.Helper()
	var list []string
	switch v.Kind() {
	case '"':
		var s string
		if err := json.Unmarshal(v, &s); err != nil {
			t.Fatal(err)
		}
		return s
	case '[':
		if err := json.Unmarshal(v, &list); err != nil {
			t.Fatal(err)
		}
		return strings.Join(list, ",")
	case 'n':
		return ""
	}
	return string(v)
}

func (d *resources) send(t testing.TB, who, method, path string, body []byte, strict bool) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequest(method, d.base+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if len(body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	if token := d.tokens[who]; token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if strict {
		r.Header.Set("Prefer", "handling=strict")
	}
	res, err := d.client.Do(r)
	if err != nil {
		t.Fatal(fmt.Errorf("%s %s: %w", method, path, err))
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, text
}

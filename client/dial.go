package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/grima-chat/grima/protocol"
)

const (
	defaultPort = "7007"
	subprotocol = "grima.v1.json"
	// maxLine bounds a line of the server's: a page has up to 1 MiB of
	// content, which JSON's escapes make six times as long at most, and some
	// hundred rows around it.
	maxLine = 8 << 20
	// writeTime is how long a write may take until the connection counts as
	// dead.
	writeTime = 30 * time.Second
)

// transport carries lines.
type transport interface {
	// next is the next line, valid until the next call.
	next() ([]byte, error)
	// write writes whole lines, each with its newline.
	write(lines []byte) error
	// received is how many bytes have come.
	received() int64
	// close ends next and write; it may be called at any time and again.
	close()
}

// closeWith closes t when ctx ends, or at the latest when its user is done with
// it, who then calls done.
func closeWith(ctx context.Context, t transport) (done func()) {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		t.close()
		close(closed)
	})
	return func() {
		if !stop() {
			<-closed
		}
		t.close()
	}
}

// address is a parsed Config.Server.
type address struct {
	ws, tls bool
	host    string // and port
	name    string // without port
	url     string // of a WebSocket
}

// Address normalizes a server's address as [Config.Server] has it, or says what
// is wrong with it. A bare host gets its scheme and port.
func Address(server string) (string, error) {
	a, err := parseAddress(server)
	switch {
	case err != nil:
		return "", err
	case a.ws:
		return a.url, nil
	case a.tls:
		return "grimas://" + a.host, nil
	}
	return "grima://" + a.host, nil
}

func parseAddress(server string) (address, error) {
	text := server
	if ip, err := netip.ParseAddr(text); err == nil && ip.Is6() && ip.Zone() == "" {
		text = "[" + text + "]"
	}
	if !strings.Contains(text, "://") {
		text = "//" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return address{}, fmt.Errorf("the server's address: %w", err)
	}
	unbracketed := strings.Contains(u.Hostname(), ":") && !strings.HasPrefix(u.Host, "[")
	if u.Hostname() == "" || unbracketed || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return address{}, fmt.Errorf("the server's address is a host, as grimas://chat.example.com, and not %q", server)
	}
	a := address{name: u.Hostname()}
	port := defaultPort
	switch u.Scheme {
	case "":
		a.tls = !thisMachine(a.name)
	case "grima":
	case "grimas":
		a.tls = true
	case "ws", "http":
		a.ws, port = true, "80"
	case "wss", "https":
		a.ws, a.tls, port = true, true, "443"
	default:
		return address{}, fmt.Errorf("the server's address begins with grima, grimas, ws or wss, and not %q", u.Scheme)
	}
	if u.Port() != "" {
		port = u.Port()
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return address{}, fmt.Errorf("the server's port is 1 to 65535, and not %s", port)
		}
	}
	a.host = net.JoinHostPort(a.name, port)
	switch path := u.Path; {
	case a.ws:
		w := url.URL{Scheme: "ws", Host: u.Host, Path: path}
		if a.tls {
			w.Scheme = "wss"
		}
		if path == "" || path == "/" {
			w.Path = "/v1/ws"
		}
		a.url = w.String()
	case path != "" && path != "/":
		return address{}, fmt.Errorf("the address of lines has no path: %q", path)
	}
	return a, nil
}

// thisMachine reports whether host is the machine itself by its name.
func thisMachine(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

// dialer makes connections to one server.
type dialer struct {
	cfg Config
	at  address
}

func newDialer(cfg Config) (dialer, error) {
	at, err := parseAddress(cfg.Server)
	if err == nil && !at.tls && !cfg.Insecure && !thisMachine(at.name) {
		err = fmt.Errorf("%w: %s (Config.Insecure allows it)", ErrInsecure, cfg.Server)
	}
	return dialer{cfg, at}, err
}

// dial connects, within Config.DialTimeout.
func (d dialer) dial(ctx context.Context) (transport, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.DialTimeout)
	defer cancel()
	counted := &counting{}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		do := (&net.Dialer{}).DialContext
		if d.cfg.Dial != nil {
			do = d.cfg.Dial
		}
		c, err := do(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		counted.Conn = c
		return counted, nil
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if d.cfg.TLS != nil {
		secure = d.cfg.TLS.Clone()
	}
	if secure.ServerName == "" {
		secure.ServerName = d.at.name
	}
	if d.at.ws {
		return d.webSocket(ctx, counted, dial, secure)
	}
	conn, err := dial(ctx, "tcp", d.at.host)
	if err != nil {
		return nil, err
	}
	if d.at.tls {
		t := tls.Client(conn, secure)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("the TLS handshake: %w", err), conn.Close())
		}
		conn = t
	}
	lines := protocol.NewLineReader(conn, maxLine)
	lines.SetMaxSkip(maxLine)
	return &lineTransport{conn: conn, counted: counted, lines: lines}, nil
}

// counting counts what comes.
type counting struct {
	net.Conn

	n atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.Add(int64(n))
	return n, err
}

type lineTransport struct {
	conn    net.Conn
	counted *counting
	lines   *protocol.LineReader
}

func (t *lineTransport) next() ([]byte, error) {
	line, err := t.lines.Next()
	if long, ok := errors.AsType[*protocol.Error](err); ok {
		return nil, broke("%s", long.Message)
	}
	if errors.Is(err, protocol.ErrEndlessLine) {
		return nil, broke("a line without end")
	}
	return line, err
}

func (t *lineTransport) write(lines []byte) error {
	if err := t.conn.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	_, err := t.conn.Write(lines)
	return err
}

func (t *lineTransport) received() int64 { return t.counted.n.Load() }

// close closes the socket itself: TLS's goodbye could block.
func (t *lineTransport) close() { _ = t.counted.Close() } // what could be wrong with it is moot

func (d dialer) webSocket(ctx context.Context, counted *counting, dial func(context.Context, string, string) (net.Conn, error), secure *tls.Config) (transport, error) {
	tr := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dial, TLSClientConfig: secure,
		DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
	}
	ws, resp, err := websocket.Dial(ctx, d.at.url, &websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		HTTPHeader:   d.cfg.Header,
		Subprotocols: []string{subprotocol},
	})
	if err != nil {
		tr.CloseIdleConnections()
		if elsewhere := refusedElsewhere(resp); elsewhere != nil {
			return nil, elsewhere
		}
		if resp != nil {
			return nil, fmt.Errorf("the WebSocket handshake was answered %s: %w", resp.Status, err)
		}
		return nil, err
	}
	ws.SetReadLimit(maxLine)
	live, cancel := context.WithCancel(context.Background())
	return &wsTransport{ws: ws, counted: counted, ctx: live, cancel: cancel}, nil
}

type wsTransport struct {
	ws      *websocket.Conn
	counted *counting
	ctx     context.Context // of the connection: its end ends reads and writes
	cancel  context.CancelFunc
}

func (t *wsTransport) next() ([]byte, error) {
	kind, message, err := t.ws.Read(t.ctx)
	if closed, ok := errors.AsType[websocket.CloseError](err); ok && closed.Code >= 4500 && closed.Code < 5000 {
		// The Goodbye got lost, or was never there.
		return nil, &GoodbyeError{protocol.Goodbye{
			Type: protocol.TypeGoodbye, Code: protocol.GoodbyeCode(fmt.Sprint(int(closed.Code))), Message: closed.Reason,
		}}
	}
	switch {
	case errors.Is(err, websocket.ErrMessageTooBig):
		return nil, broke("a message of more than %d bytes", maxLine)
	case err != nil:
		return nil, err
	case kind != websocket.MessageText:
		return nil, broke("a binary message")
	}
	return message, nil
}

func (t *wsTransport) write(lines []byte) error {
	ctx, cancel := context.WithTimeout(t.ctx, writeTime)
	defer cancel()
	for line := range bytes.Lines(lines) {
		if err := t.ws.Write(ctx, websocket.MessageText, bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			return err
		}
	}
	return nil
}

func (t *wsTransport) received() int64 { return t.counted.n.Load() }

func (t *wsTransport) close() {
	t.cancel()
	_ = t.ws.CloseNow() // what could be wrong with it is moot
}

package hostile

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// Attack is a number of hostile clients.
type Attack struct {
	Addr    string
	Tokens  []string // of the accounts they have got
	Names   []string // ids to play with
	Samples [][]byte // lines to begin with
	Clients int
	Frames  int64
	Seed    uint64
	// Fault is told what the server must not do. It may be called from any
	// goroutine.
	Fault func(format string, args ...any)
	// Progress is told how many frames were sent, each time as many more were.
	Every    int64
	Progress func(sent int64, conns map[string]int64)
}

// Run attacks until all frames were sent, or ctx is over.
func (a *Attack) Run(ctx context.Context) (sent int64, conns map[string]int64) {
	r := &run{Attack: a, conns: map[string]int64{}}
	var clients sync.WaitGroup
	for i := range a.Clients {
		clients.Go(func() {
			m := &maker{rng: rand.New(rand.NewPCG(a.Seed, uint64(i))), samples: a.Samples, names: a.Names}
			for r.sent.Load() < a.Frames && ctx.Err() == nil {
				r.client(m)
			}
		})
	}
	clients.Wait()
	return r.sent.Load(), r.conns
}

type run struct {
	*Attack

	sent  atomic.Int64
	mu    sync.Mutex
	conns map[string]int64 // by kind
}

func (r *run) count(kind string, frames int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.sent.Add(frames) - frames
	r.conns[kind]++
	if r.Every > 0 && before/r.Every != (before+frames)/r.Every {
		r.Progress(before+frames, r.conns)
	}
}

// patience is how long a server may take to end a conversation that is over.
const patience = 2 * time.Minute

// client is one connection from its beginning to its end.
func (r *run) client(m *maker) {
	nc, err := net.Dial("tcp", r.Addr)
	if err != nil {
		r.Fault("connecting: %v", err)
		return
	}
	defer nc.Close()
	token := r.Tokens[m.rng.IntN(len(r.Tokens))]
	must(nc.SetDeadline(time.Now().Add(patience)))
	switch n := m.rng.IntN(20); {
	case n < 10:
		r.lines(m, nc, "lines", token)
	case n < 12:
		secure := tls.Client(nc, testserver.TLSConfig())
		if err := secure.Handshake(); err != nil {
			// Who is silent for 200 ms is taken for one that speaks lines, and on
			// a busy machine this test may be.
			r.count("TLS, too late", 0)
			return
		}
		r.lines(m, secure, "lines in TLS", token)
	case n < 15:
		r.webSocket(m, nc, token)
	case n < 17:
		r.bytes(m, nc, "HTTP", func() []byte { return m.http(token) }, 1+m.rng.IntN(4))
	case n < 18:
		r.bytes(m, nc, "TLS", m.hello, 1)
	default:
		r.bytes(m, nc, "bytes", m.odd, 1+m.rng.IntN(3))
	}
}

// lines speaks lines, most often after having logged in. At the end, if the
// server has not sent it away, as many lines have been answered as were sent.
func (r *run) lines(m *maker, nc net.Conn, kind, token string) {
	r.rude(m, nc, kind, func(out *bytes.Buffer) (frames, due int64) {
		// A server that was told nothing says Hello after a while; a blank line
		// asks for it.
		out.WriteString("\n")
		if m.rng.IntN(5) > 0 {
			fmt.Fprintf(out, `{"type":"SessionRequest","id":"in","op":"session.start","params":{"mechanism":"TOKEN","token":%q,"subscribe":%v}}`+"\n", token, m.rng.IntN(4) > 0)
			due++
		}
		for range 1 + m.rng.IntN(60) {
			raw := append(m.line(), '\n')
			frames++
			out.Write(raw)
			for line := range bytes.Lines(raw) {
				due += answers(line[:len(line)-1])
			}
		}
		return frames, due
	})
}

// answers says how many answers a line gets.
func answers(line []byte) int64 {
	if len(bytes.Trim(line, " \t\r")) == 0 {
		return 0
	}
	if req, bad := protocol.DecodeRequest(bytes.TrimSuffix(line, []byte("\r"))); bad == nil && req.Type == protocol.TypePong && len(line) <= protocol.MaxFrame {
		return 0
	}
	return 1
}

// rude sends what fill makes, cut up anywhere, and looks at what comes back:
// most often all of it, sometimes nothing.
func (r *run) rude(m *maker, nc net.Conn, kind string, fill func(*bytes.Buffer) (frames, due int64)) {
	var out bytes.Buffer
	frames, due := fill(&out)
	switch m.rng.IntN(10) {
	case 0: // never reads, and goes
		must(nc.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)))
		_, _ = nc.Write(out.Bytes()) // as much as the server takes
		r.count(kind+", not read", frames)
		return
	case 1: // goes in the middle
		_, _ = nc.Write(out.Bytes()[:m.rng.IntN(out.Len())])
		r.count(kind+", left", frames)
		return
	}
	var reader sync.WaitGroup
	var got int64
	var bye bool
	var ended error
	reader.Go(func() { got, bye, ended = r.read(nc) })
	var writing error
	for b := out.Bytes(); len(b) > 0 && writing == nil; {
		n := len(b)
		if m.rng.IntN(3) == 0 {
			n = 1 + m.rng.IntN(min(len(b), 3000))
		}
		_, writing = nc.Write(b[:n])
		b = b[n:]
	}
	if writing == nil {
		writing = nc.(interface{ CloseWrite() error }).CloseWrite()
	}
	reader.Wait()
	r.count(kind, frames)
	switch {
	case bye:
	case timeout(ended):
		r.Fault("%s: the server neither answers nor ends: %d of %d answers", kind, got, due)
	case writing != nil || ended != nil:
		r.Fault("%s: the server ends without a Goodbye: %v, %v", kind, writing, ended)
	case got != due:
		r.Fault("%s: %d lines were answered %d times:\n%.3000q", kind, due, got, out.Bytes())
	}
}

func timeout(err error) bool {
	t, is := errors.AsType[net.Error](err)
	return is && t.Timeout()
}

// read counts answers up to the end. All that the server says must be frames.
func (r *run) read(nc net.Conn) (got int64, bye bool, err error) {
	lines := protocol.NewLineReader(nc, 32<<20)
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return got, bye, nil
		}
		if err != nil {
			return got, bye, err
		}
		frame, bad := protocol.DecodeFrame(line)
		if bad != nil {
			r.Fault("the server's line is no frame: %v\n%.300q", bad, line)
			continue
		}
		switch f := frame.(type) {
		case *protocol.Response:
			got++
			r.fine(f.Error, line)
		case *protocol.ErrorFrame:
			got++
			r.fine(f.Error, line)
		case *protocol.Goodbye:
			bye = true
			if f.Code == protocol.GoodbyeInternal || f.Code == protocol.GoodbyeShutdown {
				r.Fault("Goodbye: %s", line)
			}
		}
	}
}

func (r *run) fine(e *protocol.Error, line []byte) {
	if e != nil && (e.Code == protocol.CodeInternal || e.Code == protocol.CodeTimeout || e.Code == protocol.CodeUnavailable) {
		r.Fault("an error of the server's own: %.300s", line)
	}
}

// webSocket opens a WebSocket and sends frames of it. What is wrong with one of
// them ends it.
func (r *run) webSocket(m *maker, nc net.Conn, token string) {
	ws, err := testserver.DialWebSocket(func() (net.Conn, error) { return nc, nil })
	if err != nil {
		if strings.Contains(err.Error(), "malformed HTTP response") {
			r.count("WebSocket, too late", 0) // as with TLS
		} else {
			r.Fault("opening a WebSocket: %v", err)
		}
		return
	}
	var out bytes.Buffer
	out.Write(testserver.Frame(0x81, fmt.Sprintf(`{"type":"SessionRequest","op":"session.start","params":{"mechanism":"TOKEN","token":%q}}`, token)))
	frames := int64(1 + m.rng.IntN(40))
	for range frames {
		out.Write(m.frame())
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		if _, _, err := r.read(ws); timeout(err) {
			r.Fault("a WebSocket neither ends nor answers")
		}
	})
	// The server may have ended it in the middle.
	_, err = nc.Write(out.Bytes())
	if err == nil {
		_ = ws.CloseWrite()
		_ = nc.(*net.TCPConn).CloseWrite()
	}
	reader.Wait()
	r.count("WebSocket", frames)
}

// bytes sends what is nothing in particular, and waits for the end.
func (r *run) bytes(m *maker, nc net.Conn, kind string, each func() []byte, times int) {
	for range times {
		if _, err := nc.Write(each()); err != nil {
			break // it was enough
		}
	}
	r.count(kind, int64(times))
	if m.rng.IntN(3) == 0 {
		return
	}
	_ = nc.(*net.TCPConn).CloseWrite() // unless the server has closed it
	if _, err := io.Copy(io.Discard, nc); timeout(err) {
		r.Fault("%s: the server does not end", kind)
	}
}

// Watchdog is a bystander: it asks one thing after the other, and looks at how
// long it waits.
type Watchdog struct {
	Conn net.Conn // logged in
	Chat string   // that it reads
}

// Watch asks until ctx is over and gives how long it waited each time.
func (w *Watchdog) Watch(ctx context.Context) (waits []time.Duration, err error) {
	lines := protocol.NewLineReader(w.Conn, 32<<20)
	list, err := json.Marshal(protocol.MessagesListParams{ChatID: w.Chat, Limit: 20})
	must(err)
	for i := 0; ctx.Err() == nil; i++ {
		line := fmt.Sprintf(`{"type":"Ping","id":%d}`+"\n", i)
		if i%2 == 1 {
			line = fmt.Sprintf(`{"type":"DataRequest","id":%d,"op":"messages.list","params":%s}`+"\n", i, list)
		}
		begun := time.Now()
		must(w.Conn.SetDeadline(begun.Add(patience)))
		if _, err := io.WriteString(w.Conn, line); err != nil {
			return waits, fmt.Errorf("asking: %w", err)
		}
		for {
			line, err := lines.Next()
			if err != nil {
				return waits, fmt.Errorf("waiting for an answer for %v: %w", time.Since(begun), err)
			}
			var f struct {
				ID    *int            `json:"id"`
				Error *protocol.Error `json:"error"`
			}
			if err := json.Unmarshal(line, &f); err != nil {
				return waits, err
			}
			if f.Error != nil {
				return waits, f.Error
			}
			if f.ID != nil && *f.ID == i {
				break
			}
		}
		waits = append(waits, time.Since(begun))
	}
	return waits, nil
}

func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("hostile: %v", err))
	}
}

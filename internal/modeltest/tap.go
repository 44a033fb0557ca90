package modeltest

import (
	"bytes"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/grima-chat/grima/protocol"
)

// tap listens to one connection, in both directions, and holds what it hears
// against docs/protocol.md: answers, the order of events, who may see what, and
// what was committed. It knows nothing of the client that it listens to.
type tap struct {
	net.Conn // of lines

	w    *World
	name string
	user string // its id
	wire *faultyConn
	over line
	past *past // of the device; nil: there is none

	once   sync.Once
	closed chan struct{} // the client has closed it

	writing sync.Mutex // nothing is written after the half-close

	mu       sync.Mutex
	sent     beginning
	got      beginning
	asked    []asked // what is to be answered
	log      []string
	rude     bool // a line too long, or not UTF-8
	hello    bool
	live     bool // logged in and subscribed
	bye      bool
	half     bool // the client said that nothing more will come
	finished bool
	chats    map[string]*told
	begun    map[string]int // how far the chats were, at the latest, when events began to come
}

// asked is a line of the client's that is to be answered.
type asked struct {
	kind   protocol.Type
	id, op string
	chat   string
	silent bool // session.start without events
}

// told is what was said of a chat on this connection.
type told struct {
	heard  bool // an event
	pos    int64
	out    bool  // the user is not in it any more
	base   int64 // the least position an answer told; every event above it is due. 0: none
	read   int64 // the last own read mark an event told
	marked int64 // the highest that an answer told, in this membership
	joined int64
	sent   int64 // the number of the last message sent here
}

func newTap(w *World, name, user string, over line, lines net.Conn, wire *faultyConn) *tap {
	return &tap{Conn: lines, w: w, over: over, name: name, user: user, wire: wire, chats: map[string]*told{}, closed: make(chan struct{})}
}

func (t *tap) Write(b []byte) (int, error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.mu.Lock()
	if t.half {
		t.mu.Unlock()
		return 0, net.ErrClosed
	}
	t.sent.feed(b, t.request)
	t.mu.Unlock()
	return t.Conn.Write(b)
}

func (t *tap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.got.feed(b[:n], t.heard)
	t.w.hear()
	if err != nil {
		t.ended()
	}
	return n, err
}

// CloseWrite is the half-close.
func (t *tap) CloseWrite() error {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.mu.Lock()
	t.half = true
	t.note("> ", []byte("(nothing more)"))
	t.mu.Unlock()
	return t.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// Close closes without further ado: what is below TLS would have to say so.
func (t *tap) Close() error {
	t.once.Do(func() { close(t.closed) })
	return t.wire.Close()
}

// beginning is that of a line whose end has not come yet.
type beginning []byte

// feed takes what follows, and gives each line that is not blank.
func (l *beginning) feed(b []byte, each func([]byte)) {
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			*l = append(*l, b...)
			return
		}
		line := b[:i]
		if len(*l) > 0 {
			*l = append(*l, line...)
			line = *l
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			each(line)
		}
		*l, b = (*l)[:0], b[i+1:]
	}
}

func (t *tap) note(mark string, line []byte) {
	const most, width = 60, 260
	s := string(line)
	if len(s) > width {
		s = fmt.Sprintf("%s... (%d bytes)", s[:width], len(line))
	}
	if len(t.log) >= most {
		t.log = slices.Delete(t.log, 0, most/2)
	}
	t.log = append(t.log, mark+s)
	if t.past != nil {
		t.past.add(t.name, mark, line)
	}
}

// past is what was said to and by a device on all its connections.
type past struct {
	mu    sync.Mutex
	lines []string
}

func (p *past) add(name, mark string, line []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	const most = 20_000
	if len(p.lines) >= most {
		p.lines = slices.Delete(p.lines, 0, most/2)
	}
	p.lines = append(p.lines, name+" "+mark+string(long.ReplaceAll(line, []byte("..."))))
}

// long is what only fills lines.
var long = regexp.MustCompile(`x{8,}`)

// of gives the last lines that name a chat; all, if there is none to name.
func (p *past) of(chat string) (lines []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	const most, width = 60, 600
	for _, l := range p.lines {
		if chat == "" || strings.Contains(l, `"`+chat+`"`) || strings.Contains(l, `"op":"sync"`) || strings.Contains(l, "(the end)") {
			if i := strings.Index(l, `"`+chat+`"`); i > width/2 {
				l = l[:width/4] + "..." + l[i-width/4:]
			}
			lines = append(lines, l[:min(len(l), width)])
		}
	}
	return lines[max(0, len(lines)-most):]
}

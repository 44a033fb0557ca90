package testserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grima-chat/grima/protocol"
)

// patience is how long a test waits for what must come at once. It is not how
// fast that has to be: a machine may be slow.
const patience = time.Minute

// Conn is a connection that a test types into, line by line.
type Conn struct {
	net.Conn

	t        testing.TB
	lines    *protocol.LineReader
	patience time.Duration
}

// NewConn makes a Conn of any connection. It is closed with the test.
func NewConn(t testing.TB, nc net.Conn) *Conn {
	t.Helper()
	t.Cleanup(func() { _ = nc.Close() }) // the test may have closed it
	return &Conn{nc, t, protocol.NewLineReader(nc, 16<<20), patience}
}

// Patience sets how long the test waits for a line.
func (c *Conn) Patience(d time.Duration) { c.patience = d }

// Line sends lines.
func (c *Conn) Line(lines ...string) {
	c.t.Helper()
	for _, l := range lines {
		c.Raw(l + "\n")
	}
}

// Raw sends bytes.
func (c *Conn) Raw(s string) {
	c.t.Helper()
	must(c.SetWriteDeadline(time.Now().Add(c.patience)))
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.t.Fatalf("sending: %v", err)
	}
}

// EOF says that no more lines will come (nc -N).
func (c *Conn) EOF() {
	c.t.Helper()
	if err := c.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
}

// Next gives the next line.
func (c *Conn) Next() string {
	c.t.Helper()
	line, err := c.TryNext()
	if err != nil {
		c.t.Fatalf("waiting for a line: %v", err)
	}
	return line
}

// TryNext gives the next line, or why there is none.
func (c *Conn) TryNext() (string, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.patience)); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return "", err
	}
	line, err := c.lines.Next()
	return string(line), err
}

// Want checks that the next lines say at least what is wanted: members that
// are not mentioned may be there, "*" stands for any string.
func (c *Conn) Want(frames ...string) {
	c.t.Helper()
	for _, want := range frames {
		got := c.Next()
		if why := Differs(want, got); why != "" {
			c.t.Fatalf("%s\nwant %s\ngot  %s", why, want, got)
		}
	}
}

// WantEnd checks that the server closes the connection without another word.
func (c *Conn) WantEnd() {
	c.t.Helper()
	if line, err := c.TryNext(); !errors.Is(err, io.EOF) {
		c.t.Fatalf("want the end, got %s %v", line, err)
	}
}

// WantSilence checks with a Ping that nothing else was said.
func (c *Conn) WantSilence() {
	c.t.Helper()
	c.Line(`{"type":"Ping","id":"silence?"}`)
	c.Want(`{"type":"Pong","id":"silence?"}`)
}

// Differs says in which way the JSON got does not say what want says. Members
// that want does not mention do not count, and its "*" is any string.
func Differs(want, got string) string {
	w, err := decode(want)
	if err != nil {
		return fmt.Sprintf("what is wanted is not JSON: %v", err)
	}
	g, err := decode(got)
	if err != nil {
		return fmt.Sprintf("what came is not JSON: %v", err)
	}
	return differs("", w, g)
}

func decode(s string) (v any, err error) {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

func differs(path string, want, got any) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %v", path, got)
		}
		for k, v := range w {
			has, there := g[k]
			if !there {
				return fmt.Sprintf("%s.%s is missing", path, k)
			}
			if why := differs(path+"."+k, v, has); why != "" {
				return why
			}
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("%s is %v", path, got)
		}
		for i := range w {
			if why := differs(fmt.Sprintf("%s[%d]", path, i), w[i], g[i]); why != "" {
				return why
			}
		}
	case string:
		if g, ok := got.(string); !ok || w != "*" && w != g {
			return fmt.Sprintf("%s is %v", path, got)
		}
	default:
		if want != got {
			return fmt.Sprintf("%s is %v", path, got)
		}
	}
	return ""
}

// frame is any line of the server's, as far as a Client looks at it.
type frame struct {
	Type    protocol.Type   `json:"type"`
	ID      json.RawMessage `json:"id"`
	Op      string          `json:"op"`
	Event   string          `json:"event"`
	ChatID  string          `json:"chat_id"`
	Seq     int64           `json:"seq"`
	UserID  string          `json:"user_id"`
	Message json.RawMessage `json:"message"` // of an event: a row; of a Goodbye: a sentence
	Result  json.RawMessage `json:"result"`
	Error   *protocol.Error `json:"error"`
	Code    string          `json:"code"`

	line string
}

func parse(line string) (f frame, err error) {
	err = json.Unmarshal([]byte(line), &f)
	f.line = line
	return f, err
}

// content is what an event's message says.
func (f frame) content() string {
	var m protocol.Message
	if json.Unmarshal(f.Message, &m) != nil {
		return ""
	}
	return m.Content
}

// User is somebody with an account.
type User struct {
	Name     string
	ID       string
	Password string

	srv *Server
}

// User makes an account; its password is its name's.
func (s *Server) User(name string) *User {
	s.t.Helper()
	u := &User{Name: name, Password: "password of " + name, srv: s}
	op := s.DialOperator()
	defer func() { must(op.Close()) }()
	op.Want(`{"type":"Hello"}`)
	c := &Client{Conn: op, User: u}
	var made protocol.UserResult
	c.Do(protocol.OpUsersCreate, protocol.UsersCreateParams{Username: name, Password: u.Password}, &made)
	u.ID = made.User.UserID
	return u
}

// At is the same person, who goes to another server of the same store.
func (u *User) At(s *Server) *User {
	there := *u
	there.srv = s
	return &there
}

// Client is somebody's device, logged in.
type Client struct {
	*Conn
	*User

	Token string
	calls int
	heard []frame // events that came while an answer was waited for
}

// Connect logs in over TCP.
func (u *User) Connect() *Client {
	u.srv.t.Helper()
	return u.Login(u.srv.Dial())
}

// ConnectTLS logs in over TLS.
func (u *User) ConnectTLS() *Client {
	u.srv.t.Helper()
	return u.Login(u.srv.DialTLS())
}

// Login logs in on a connection that has said nothing yet.
func (u *User) Login(c *Conn) *Client {
	c.t.Helper()
	c.Want(`{"type":"Hello"}`)
	d := &Client{Conn: c, User: u}
	var started protocol.SessionStartResult
	d.Do(protocol.OpSessionStart, protocol.SessionStartParams{Mechanism: protocol.MechanismPlain, Username: u.Name, Password: u.Password, Device: "test"}, &started)
	d.Token = started.Token
	return d
}

// Try makes a request and waits for its answer; events that come before it are
// kept for Expect.
func (d *Client) Try(op string, params any) (result []byte, failure *protocol.Error) {
	d.t.Helper()
	d.calls++
	d.Line(Request(fmt.Sprint(d.calls), op, params))
	for {
		f := d.frame()
		if string(f.ID) == fmt.Sprint(d.calls) {
			return f.Result, f.Error
		}
		d.heard = append(d.heard, f)
	}
}

// Do is Try for what has to succeed. Result may be nil.
func (d *Client) Do(op string, params, result any) {
	d.t.Helper()
	raw, failure := d.Try(op, params)
	if failure != nil {
		d.t.Fatalf("%s: %v", op, failure)
	}
	if result != nil {
		if err := json.Unmarshal(raw, result); err != nil {
			d.t.Fatalf("the result of %s: %v", op, err)
		}
	}
}

// Request is the line that asks for op. Id is JSON; empty: none.
func Request(id, op string, params any) string {
	kind := protocol.TypeDataRequest
	switch {
	case strings.HasPrefix(op, "session."):
		kind = protocol.TypeSessionRequest
	case strings.HasPrefix(op, "message.") || op == protocol.OpTyping:
		kind = protocol.TypeBroadcastRequest
	}
	raw, err := json.Marshal(params)
	must(err)
	req := protocol.Request{Type: kind, Op: op, Params: raw}
	if id != "" {
		req.ID = protocol.ID(id)
	}
	line, err := protocol.AppendFrame(nil, &req)
	must(err)
	return string(bytes.TrimSuffix(line, []byte("\n")))
}

func (d *Client) frame() frame {
	d.t.Helper()
	line := d.Next()
	f, err := parse(line)
	if err != nil {
		d.t.Fatalf("a line that is no JSON: %v\n%s", err, line)
	}
	return f
}

// event gives the next event that is wanted; others before it are dropped.
func (d *Client) event(wanted func(frame) bool) frame {
	d.t.Helper()
	for i, f := range d.heard {
		if wanted(f) {
			d.heard = slices.Delete(d.heard, 0, i+1)
			return f
		}
	}
	d.heard = nil
	for {
		if f := d.frame(); wanted(f) {
			return f
		}
	}
}

// Expect checks that the next new messages say this.
func (d *Client) Expect(contents ...string) {
	d.t.Helper()
	for _, want := range contents {
		f := d.event(func(f frame) bool { return f.Event == protocol.EventMessageCreated })
		if f.content() != want {
			d.t.Fatalf("%s wants %q, got %s", d.User.Name, want, f.line)
		}
	}
}

// ExpectPrefix checks that the next new message begins with this.
func (d *Client) ExpectPrefix(want string) {
	d.t.Helper()
	f := d.event(func(f frame) bool { return f.Event == protocol.EventMessageCreated })
	if !strings.HasPrefix(f.content(), want) {
		d.t.Fatalf("%s wants %q, got %.200s", d.User.Name, want, f.line)
	}
}

// ExpectEvent waits for an event of that name and gives its line.
func (d *Client) ExpectEvent(name string) string {
	d.t.Helper()
	return d.event(func(f frame) bool { return f.Event == name }).line
}

// ExpectGoodbye checks that the server ends the connection with code.
func (d *Client) ExpectGoodbye(code protocol.GoodbyeCode) {
	d.t.Helper()
	f := d.event(func(f frame) bool { return f.Type == protocol.TypeGoodbye })
	if f.Code != string(code) {
		d.t.Fatalf("want Goodbye %s, got %s", code, f.line)
	}
	d.WantEnd()
}

// Hear gives the lines of the events that have come. Whatever was answered to
// anybody before Hear is among them: Hear writes, and what is written is
// published in order; then it waits for the hub, and asks for something, which
// is answered behind what the hub has handed over.
func (d *Client) Hear() (lines []string) {
	d.t.Helper()
	d.Do(protocol.OpUsersUpdate, protocol.UsersUpdateParams{Name: &d.User.Name}, nil)
	d.srv.Hub.Settle()
	d.Do(protocol.OpUsersMe, struct{}{}, nil)
	for _, f := range d.heard {
		lines = append(lines, f.line)
	}
	d.heard = nil
	return lines
}

// ExpectNothing checks that no event has come.
func (d *Client) ExpectNothing() {
	d.t.Helper()
	for _, line := range d.Hear() {
		d.t.Errorf("%s wants nothing, got %s", d.User.Name, line)
	}
}

// Forget drops the events that have come so far.
func (d *Client) Forget() {
	d.t.Helper()
	d.Hear()
}

// Group makes a group chat with others in it.
func (d *Client) Group(title string, others ...*Client) (chatID string) {
	d.t.Helper()
	p := protocol.ChatsCreateParams{Kind: "group", Title: title}
	for _, o := range others {
		p.UserIDs = append(p.UserIDs, o.ID)
	}
	var made protocol.ChatsCreateResult
	d.Do(protocol.OpChatsCreate, p, &made)
	return made.Chat.ChatID
}

// Send says something and waits until it is stored.
func (d *Client) Send(chatID, content string) protocol.MessageSendResult {
	d.t.Helper()
	var sent protocol.MessageSendResult
	d.Do(protocol.OpMessageSend, protocol.MessageSendParams{ChatID: chatID, Content: content}, &sent)
	return sent
}

// Add and Remove change who is in a chat.
func (d *Client) Add(chatID string, who *User) {
	d.t.Helper()
	d.Do(protocol.OpParticipantsAdd, protocol.ParticipantsAddParams{ChatID: chatID, UserIDs: []string{who.ID}}, nil)
}

func (d *Client) Remove(chatID string, who *User) {
	d.t.Helper()
	d.Do(protocol.OpParticipantsRemove, protocol.ParticipantParams{ChatID: chatID, UserID: who.ID}, nil)
}

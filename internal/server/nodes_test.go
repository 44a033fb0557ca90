package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	sdk "github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/hub/natsbus"
	"github.com/grima-chat/grima/internal/hub/natsbus/natstest"
	"github.com/grima-chat/grima/internal/limits"
	"github.com/grima-chat/grima/internal/pgtest"
	"github.com/grima-chat/grima/internal/server"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// cluster is servers on one store, tied together by NATS.
type cluster struct {
	t       testing.TB
	nats    *natstest.Server
	servers []*testserver.Server
	buses   []*natsbus.Bus
}

// startCluster starts a server for each of the options. The first one has the
// store.
func startCluster(t testing.TB, options ...testserver.Options) *cluster {
	t.Helper()
	c := &cluster{t: t, nats: natstest.Start(t, nil)}
	for i, o := range options {
		o.Leaks = true // those of NATS
		o.Bus = func(epoch string) hub.Bus {
			b, err := natsbus.New(natsbus.Config{URL: c.nats.URL, Prefix: c.nats.Prefix, Epoch: epoch, ReconnectWait: 10 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			c.buses = append(c.buses, b)
			return b
		}
		if i > 0 {
			o.Beside = c.servers[0]
		}
		c.servers = append(c.servers, testserver.Start(t, o))
	}
	c.meet()
	return c
}

// meet waits until the servers have heard of each other.
func (c *cluster) meet() {
	c.t.Helper()
	for _, s := range c.servers {
		eventually(c.t, "they meet", func() bool { return s.Hub.Nodes() == len(c.servers) })
	}
}

// patience is how long a test waits for what must come.
const patience = time.Minute

// eventually waits for what nobody tells of.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	late := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: never", what)
		}
	}
}

// often makes hubs look around often, for tests of what is found that way, and
// seldom for those of what must come without.
func often(c *hub.Config)  { c.Scan, c.Sessions = 50*time.Millisecond, 50*time.Millisecond }
func seldom(c *hub.Config) { c.Scan, c.Sessions, c.Lease = time.Hour, time.Hour, time.Hour }

func TestPeopleOnSeveralServers(t *testing.T) {
	o := testserver.Options{Hub: seldom}
	c := startCluster(t, o, o, o)
	one, two, three := c.servers[0], c.servers[1], c.servers[2]
	ana := one.User("ana").Connect()
	bob, cem := one.User("bob").At(two).Connect(), one.User("cem").At(three).Connect()
	port := ana.Group("Port", bob)
	bob.ExpectEvent(protocol.EventParticipantAdded)

	ana.Send(port, "hello, bob")
	bob.Expect("hello, bob")
	bob.Send(port, "hello, ana")
	ana.Expect("hello, bob", "hello, ana")
	ana.Add(port, cem.User)
	cem.ExpectEvent(protocol.EventParticipantAdded)
	cem.Send(port, "and I")
	ana.Expect("and I")
	bob.Expect("hello, ana", "and I")

	ana.Do(protocol.OpTyping, protocol.TypingParams{ChatID: port}, nil)
	if line := bob.ExpectEvent(protocol.EventTyping); !strings.Contains(line, `"user_id":"`+ana.ID+`"`) {
		t.Errorf("%s", line)
	}
	laptop := ana.User.At(three).Connect()
	ana.Do(protocol.OpReadSet, protocol.ReadSetParams{ChatID: port, Seq: 3}, nil)
	for _, d := range []*testserver.Client{laptop, bob} {
		if line := d.ExpectEvent(protocol.EventRead); !strings.Contains(line, `"read_seq":3`) {
			t.Errorf("%s", line)
		}
	}
	// What somebody wants to be told is theirs alone, wherever they are.
	for _, level := range []string{"mentions", "all"} {
		ana.Do(protocol.OpParticipantsUpdate, protocol.ParticipantsUpdateParams{ChatID: port, UserID: ana.ID, Notify: &level}, nil)
		if line := laptop.ExpectEvent(protocol.EventRead); !strings.Contains(line, `"read_seq":3,"notify":"`+level+`"`) {
			t.Errorf("%s", line)
		}
	}
	var watched protocol.PresenceWatchResult
	eventually(t, "ana is seen from elsewhere", func() bool {
		bob.Do(protocol.OpPresenceWatch, protocol.PresenceParams{UserIDs: []string{ana.ID, cem.ID}}, &watched)
		return fmt.Sprint(watched.Presence) == fmt.Sprintf("[{%s online} {%s online}]", ana.ID, cem.ID)
	})
	must(t, cem.Conn.Close())
	for gone := false; !gone; {
		line := bob.ExpectEvent(protocol.EventPresence)
		gone = strings.Contains(line, `"status":"offline"`)
		// That somebody is online, by a laptop too, may be news as late as this.
		if gone && !strings.Contains(line, cem.ID) || !gone && !strings.Contains(line, `"status":"online"`) {
			t.Errorf("%s", line)
		}
	}

	// What others see of somebody is told everywhere, to oneself too.
	name := "Ana Lima"
	ana.Do(protocol.OpUsersUpdate, protocol.UsersUpdateParams{Name: &name}, nil)
	for _, d := range []*testserver.Client{laptop, bob} {
		if line := d.ExpectEvent(protocol.EventUser); !strings.Contains(line, `"user_id":"`+ana.ID+`","username":"ana","name":"Ana Lima"`) {
			t.Errorf("%s", line)
		}
	}

	// A session ends everywhere, at once.
	ended := time.Now()
	ana.Do(protocol.OpSessionsRevoke, protocol.SessionParams{SessionID: sessionOf(t, laptop)}, nil)
	laptop.ExpectGoodbye(protocol.GoodbyeSessionRevoked)
	t.Logf("revoked on another server in %v", time.Since(ended))
	phone := bob.User.At(three).Connect()
	password := "a new password"
	bob.Do(protocol.OpUsersUpdate, protocol.UsersUpdateParams{Password: &password, CurrentPassword: &bob.Password}, nil)
	phone.ExpectGoodbye(protocol.GoodbyeSessionRevoked)
	bob.Send(port, "with a new password") // whoever changes it stays
	ana.Expect("with a new password")
	if st := two.Hub.Stats(); st.Scans > 0 {
		t.Errorf("%+v", st)
	}
}

// sessionOf is the id of the session that a device is logged in with.
func sessionOf(t *testing.T, d *testserver.Client) string {
	t.Helper()
	var list protocol.SessionsListResult
	d.Do(protocol.OpSessionsList, struct{}{}, &list)
	for _, s := range list.Sessions {
		if s.Current {
			return s.SessionID
		}
	}
	t.Fatal("it has no session")
	return ""
}

// NATS is killed in the middle of a conversation. Everything goes on, found in
// the store, sessions end all the same, and when NATS is back so is the rest.
func TestWithoutNATSForAWhile(t *testing.T) {
	o := testserver.Options{Hub: often}
	c := startCluster(t, o, o)
	if !c.nats.Own() {
		t.Skip("another's NATS is not killed")
	}
	ana := c.servers[0].User("ana").Connect()
	bob := c.servers[0].User("bob").At(c.servers[1]).Connect()
	port := ana.Group("Port", bob)
	c.nats.Stop()
	eventually(t, "they know", func() bool { return !c.buses[0].Connected() && !c.buses[1].Connected() })
	var want []string
	for i := range 50 {
		say := fmt.Sprint("without ", i)
		ana.Send(port, say)
		want = append(want, say)
	}
	bob.Expect(want...)
	laptop := ana.User.At(c.servers[1]).Connect()
	ana.Do(protocol.OpSessionsRevoke, protocol.SessionParams{SessionID: sessionOf(t, laptop)}, nil)
	laptop.ExpectGoodbye(protocol.GoodbyeSessionRevoked)
	cem := c.servers[0].User("cem").At(c.servers[1]).Connect()
	ana.Add(port, cem.User)
	cem.ExpectEvent(protocol.EventParticipantAdded)

	c.nats.Restart()
	eventually(t, "they are back", func() bool { return c.buses[0].Connected() && c.buses[1].Connected() })
	c.meet()
	bob.Send(port, "back")
	ana.Expect(append(want, "back")...)
	bob.Expect("back")
	if st := c.servers[1].Hub.Stats(); st.Bus.Missed != 1 || st.FoundBehind == 0 || st.FoundEnded == 0 {
		t.Errorf("%+v", st)
	}
}

// A transaction of somebody else's in the same cluster, in another database and
// open for long, keeps change stamps from being final. This once hid everything
// new from servers that heard of it from nobody, until that transaction ended.
func TestWithoutNATSBehindAForeignTransaction(t *testing.T) {
	o := onPostgres(t, testserver.Options{Hub: often})
	c := startCluster(t, o, o)
	if !c.nats.Own() {
		t.Skip("another's NATS is not killed")
	}
	ana := c.servers[0].User("ana").Connect()
	bob := c.servers[0].User("bob").At(c.servers[1]).Connect()
	port := ana.Group("Port", bob)
	bob.ExpectEvent(protocol.EventParticipantAdded)

	foreign, err := pgx.Connect(t.Context(), pgtest.New(t))
	must(t, err)
	defer foreign.Close(context.Background())
	_, err = foreign.Exec(t.Context(), `BEGIN; SELECT pg_current_xact_id()`)
	must(t, err)
	c.nats.Stop()
	eventually(t, "they know", func() bool { return !c.buses[0].Connected() && !c.buses[1].Connected() })

	for i := range 3 {
		say := fmt.Sprint("behind it ", i)
		ana.Send(port, say)
		bob.Expect(say)
	}
	cem := c.servers[0].User("cem").At(c.servers[1]).Connect()
	ana.Add(port, cem.User)
	cem.ExpectEvent(protocol.EventParticipantAdded)
	ana.Do(protocol.OpParticipantsRemove, protocol.ParticipantParams{ChatID: port, UserID: cem.ID}, nil)
	cem.ExpectEvent(protocol.EventParticipantRemoved)
	// In and out again, and nobody else there is in it.
	alone := ana.Group("Alone")
	ana.Add(alone, cem.User)
	ana.Do(protocol.OpParticipantsRemove, protocol.ParticipantParams{ChatID: alone, UserID: cem.ID}, nil)
	cem.ExpectEvent(protocol.EventParticipantRemoved)
	_, err = foreign.Exec(t.Context(), `COMMIT`)
	must(t, err)
}

// What was missed while cut off is looked for at once when the bus is back, and
// not with the next scan.
func TestBackIsComplete(t *testing.T) {
	o := testserver.Options{Hub: seldom}
	c := startCluster(t, o, o)
	if !c.nats.Own() {
		t.Skip("another's NATS is not killed")
	}
	ana := c.servers[0].User("ana").Connect()
	bob, cem := c.servers[0].User("bob").At(c.servers[1]).Connect(), c.servers[0].User("cem").At(c.servers[1]).Connect()
	port := ana.Group("Port", bob)
	bob.ExpectEvent(protocol.EventParticipantAdded)
	laptop := ana.User.At(c.servers[1]).Connect()
	session := sessionOf(t, laptop)
	c.nats.Stop()
	eventually(t, "they know", func() bool { return !c.buses[0].Connected() && !c.buses[1].Connected() })
	ana.Send(port, "missed")
	ana.Add(port, cem.User)
	ana.Do(protocol.OpSessionsRevoke, protocol.SessionParams{SessionID: session}, nil)
	c.nats.Restart()
	eventually(t, "they are back", func() bool { return c.buses[0].Connected() && c.buses[1].Connected() })
	began := time.Now()
	bob.Expect("missed")
	cem.ExpectEvent(protocol.EventParticipantAdded)
	laptop.ExpectGoodbye(protocol.GoodbyeSessionRevoked)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("complete after %v", took)
	}
}

// Anybody who can publish at NATS can ring the bell, and no more.
func TestHandmadeHints(t *testing.T) {
	o := testserver.Options{Hub: seldom}
	c := startCluster(t, o, o)
	ana := c.servers[0].User("ana").Connect()
	bob := c.servers[0].User("bob").At(c.servers[1]).Connect()
	port := ana.Group("Port", bob)
	bob.ExpectEvent(protocol.EventParticipantAdded)
	hand, err := natsbus.New(natsbus.Config{URL: c.nats.URL, Prefix: c.nats.Prefix, Epoch: c.servers[0].Store.Epoch()})
	must(t, err)
	defer hand.Close()
	for i := range 200 {
		for _, kind := range hub.Kinds {
			for _, b := range [][]byte{
				{1, 1, byte(i), 0},          // a hint of chat 1
				{1, 1, 0xff, 0x7f, 1, 2},    // far ahead, with bob coming in
				{1, 1, 2, 0x7f},             // a mark, bob's
				{1, 1}, {1, 2}, {1, 3}, {1}, // sessions that live
				[]byte("garbage"), bytes.Repeat([]byte{1}, i), nil,
			} {
				must(t, hand.Publish(kind, b))
			}
		}
	}
	ana.Send(port, "hi")
	bob.Expect("hi")
	eventually(t, "all of it has come", func() bool { return c.servers[1].Hub.Stats().Bus.Received >= 200*6*10 })
	for _, line := range bob.Hear() {
		if strings.Contains(line, `"seq":`) {
			t.Errorf("bob hears %s", line)
		}
	}
	st := c.servers[1].Hub.Stats()
	if st.Bus.Garbage == 0 || st.Bus.Garbage >= st.Bus.Received {
		t.Errorf("%+v", st)
	}
	t.Logf("%+v", st.Bus)
}

// The limit on an account's connections holds on all servers together, and a
// place is free again when its server is gone.
func TestConnectionsOfAnAccountOnSeveralServers(t *testing.T) {
	o := testserver.Options{Rates: &limits.Config{NoRates: true, Connections: 3}}
	c := startCluster(t, o, o)
	one, two := c.servers[0], c.servers[1]
	ana := one.User("ana")
	for range 2 {
		ana.At(two).Connect()
	}
	eventually(t, "they are counted", func() bool { return one.Hub.Elsewhere(1) == 2 })
	third := ana.Connect()
	eventually(t, "they are counted", func() bool { return two.Hub.Elsewhere(1) == 1 })
	for _, at := range []*testserver.Server{one, two} {
		d := at.Dial()
		d.Want(`{"type":"Hello"}`)
		d.Line(testserver.Request("1", protocol.OpSessionStart, protocol.SessionStartParams{Mechanism: protocol.MechanismToken, Token: third.Token}))
		d.Want(`{"id":1,"error":{"code":"rate_limited"}}`, `{"type":"Goodbye","code":"too_many_connections"}`)
	}
	two.RestartAfter(func() {
		eventually(t, "the places are free", func() bool { return one.Hub.Elsewhere(1) == 0 })
		ana.Connect()
	})
}

// Split roles: each serves its own and says where the rest is.
func TestRoles(t *testing.T) {
	c := startCluster(t,
		testserver.Options{Hub: seldom, Roles: api.Roles{Role: api.RoleStream, DataURL: "https://data.example.org", StreamURL: "https://chat.example.org"}},
		testserver.Options{Hub: seldom, Roles: api.Roles{Role: api.RoleData, DataURL: "https://data.example.org", StreamURL: "https://chat.example.org"}},
	)
	stream, data := c.servers[0], c.servers[1]
	user := stream.User("ana")
	hello := stream.Dial()
	hello.Want(`{"type":"Hello","data_url":"https://data.example.org","stream_url":"https://chat.example.org"}`)
	ana := user.Connect()

	// What is live is not on a data server.
	d := data.Dial()
	d.Want(`{"type":"Hello"}`)
	login := protocol.SessionStartParams{Mechanism: protocol.MechanismToken, Token: ana.Token}
	d.Line(testserver.Request("1", protocol.OpSessionStart, login))
	d.Want(`{"id":1,"error":{"code":"misdirected","retryable":false,"url":"https://chat.example.org"}}`)
	no := false
	login.Subscribe = &no
	d.Line(testserver.Request("2", protocol.OpSessionStart, login))
	d.Want(`{"id":2,"result":{}}`)
	d.Line(testserver.Request("3", protocol.OpChatsCreate, protocol.ChatsCreateParams{Kind: "group", Title: "Port"}))
	d.Want(`{"id":3,"result":{"chat":{"chat_id":"c_1"}}}`)
	ana.ExpectEvent(protocol.EventChatCreated)
	d.Line(testserver.Request("4", protocol.OpMessageSend, protocol.MessageSendParams{ChatID: "c_1", Content: "hi"}))
	d.Want(`{"id":4,"error":{"code":"misdirected"}}`)
	for _, path := range []string{"/v1/events", "/v1/ws"} {
		wantMisdirected(t, get(t, data, ana.Token, path), "https://chat.example.org")
	}

	// Of data, a stream server has what belongs to being live.
	ana.Send("c_1", "hi")
	ana.Do(protocol.OpSync, protocol.SyncParams{}, nil)
	ana.Do(protocol.OpChangesList, protocol.ChangesListParams{ChatID: "c_1"}, nil)
	ana.Do(protocol.OpReadSet, protocol.ReadSetParams{ChatID: "c_1", Seq: 2}, nil)
	_, refused := ana.Try(protocol.OpMessagesList, protocol.MessagesListParams{ChatID: "c_1"})
	if refused == nil || refused.Code != protocol.CodeMisdirected || refused.URL != "https://data.example.org" {
		t.Errorf("%v", refused)
	}
	wantMisdirected(t, get(t, stream, ana.Token, "/v1/chats/c_1/messages"), "https://data.example.org")
	wantMisdirected(t, get(t, stream, ana.Token, "/v1/sync"), "https://data.example.org")
	if res := get(t, data, ana.Token, "/v1/chats/c_1/messages"); res.StatusCode != http.StatusOK {
		t.Errorf("%s", res.Status)
	}
	l := listen(t, stream, ana.Token, "?cursor=")
	for _, want := range []string{`"type":"Hello"`, `"op":"sync"`} {
		if line, err := l.next(); err != nil || !strings.Contains(line, want) {
			t.Errorf("%s %v", line, err)
		}
	}
	var doc struct{ Servers []struct{ URL string } }
	res := get(t, data, "", "/v1/openapi.json")
	if err := json.NewDecoder(res.Body).Decode(&doc); err != nil || len(doc.Servers) != 3 || doc.Servers[2].URL != "https://chat.example.org" {
		t.Errorf("%+v %v", doc, err)
	}
	// Pictures are on both.
	for _, srv := range c.servers {
		if res := get(t, srv, ana.Token, "/v1/avatars/none"); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s", res.Status)
		}
	}
	// The operator asks anywhere.
	op := stream.DialOperator()
	op.Want(`{"type":"Hello"}`)
	op.Line(testserver.Request("1", protocol.OpUsersList, struct{}{}))
	op.Want(`{"id":1,"result":{}}`)

	// Without the data server the conversation goes on.
	data.RestartAfter(func() {
		ana.Send("c_1", "alone")
		ana.Expect("hi", "alone")
	})
	if res := get(t, data, ana.Token, "/v1/chats/c_1/messages"); res.StatusCode != http.StatusOK {
		t.Errorf("%s", res.Status)
	}
}

// A server whose store cannot be reached is sent nobody.
func TestReadyWithAStoreElsewhere(t *testing.T) {
	var away atomic.Bool
	srv := testserver.Start(t, testserver.Options{Server: func(c *server.Config) {
		c.Reach = func() error {
			if away.Load() {
				return errors.New("the store cannot be reached")
			}
			return nil
		}
	}})
	for _, want := range []bool{true, false, true} {
		away.Store(!want)
		if err := srv.Front.Ready(); (err == nil) != want {
			t.Errorf("ready: %v, want %v", err, want)
		}
		if res := get(t, srv, "", "/readyz"); (res.StatusCode == http.StatusOK) != want {
			t.Errorf("%s, want %v", res.Status, want)
		}
	}
}

// behind is an address that is known before the server behind it.
type behind struct {
	*httptest.Server

	addr atomic.Pointer[string]
}

func newBehind(t *testing.T) *behind {
	b := &behind{}
	b.Server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", *b.addr.Load()
			r.Out.Host = r.Out.URL.Host
		},
		ErrorLog: log.New(t.Output(), "", 0),
	})
	t.Cleanup(b.Close)
	return b
}

// The SDK goes where it is sent: with its connection, and to ask.
func TestClientGoesWhereItIsSent(t *testing.T) {
	forData, forStream := newBehind(t), newBehind(t)
	c := startCluster(t,
		testserver.Options{Hub: seldom, Roles: api.Roles{Role: api.RoleStream, DataURL: forData.URL, StreamURL: forStream.URL}},
		testserver.Options{Hub: seldom, Roles: api.Roles{Role: api.RoleData, DataURL: forData.URL, StreamURL: forStream.URL}},
	)
	forStream.addr.Store(&c.servers[0].Addr)
	forData.addr.Store(&c.servers[1].Addr)
	token := c.servers[0].User("ana").Connect().Token
	for _, server := range []string{"grima://" + c.servers[1].Addr, "ws://" + c.servers[1].Addr} {
		ana, err := sdk.Open(sdk.Config{Server: server, Token: token, MinBackoff: time.Millisecond})
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		must(t, ana.Ready(ctx))
		made, err := ana.ChatsCreate(ctx, protocol.ChatsCreateParams{Kind: "group", Title: "Port"})
		must(t, err)
		id := made.Chat.ChatID
		_, err = ana.Send(ctx, sdk.Draft{ChatID: id, Content: "hi"})
		must(t, err)
		page, err := ana.MessagesList(ctx, protocol.MessagesListParams{ChatID: id})
		must(t, err)
		if len(page.Messages) != 1 || page.Messages[0].Content != "hi" {
			t.Errorf("%s: %+v", server, page)
		}
		for {
			e, err := ana.Next(ctx)
			must(t, err)
			if e.Kind == sdk.MessageCreated && e.ChatID == id {
				break
			}
		}
		var refused *protocol.Error
		if _, err := ana.ChatsGet(ctx, protocol.ChatParams{ChatID: "c_99"}); !errors.As(err, &refused) || refused.Code != protocol.CodeNotFound {
			t.Errorf("%v", err)
		}
		cancel()
		must(t, ana.Close())
	}
}

func wantMisdirected(t *testing.T, res *http.Response, url string) {
	t.Helper()
	var p struct{ Code, URL string }
	if err := json.NewDecoder(res.Body).Decode(&p); err != nil || res.StatusCode != http.StatusMisdirectedRequest || p.Code != "misdirected" || p.URL != url {
		t.Errorf("%s: %s %+v %v", res.Request.URL, res.Status, p, err)
	}
}

// BenchmarkAcross is the way of a message from a person's line to another's, who
// is on the same server, or on another one behind NATS.
func BenchmarkAcross(b *testing.B) {
	o := testserver.Options{Hub: seldom}
	c := startCluster(b, o, o)
	ana := c.servers[0].User("ana").Connect()
	for i, name := range []string{"same server", "another server"} {
		b.Run(name, func(b *testing.B) {
			bob := c.servers[0].User(fmt.Sprintf("bob%dx%d", i, b.N)).At(c.servers[i]).Connect()
			port := ana.Group("Port", bob)
			bob.ExpectEvent(protocol.EventParticipantAdded)
			for b.Loop() {
				ana.Send(port, "hi")
				bob.Expect("hi")
			}
		})
	}
}

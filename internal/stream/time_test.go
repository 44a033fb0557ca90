package stream_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/password"
	"github.com/grima-chat/grima/internal/store/storetest"
	"github.com/grima-chat/grima/internal/stream"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// clockwork is a stream server inside a bubble, where time passes only when
// everybody waits. Connections are pipes.
type clockwork struct {
	*testing.T
	*stream.Server

	svc *chat.Service
	hub *hub.Hub
}

func inBubble(t *testing.T, test func(clockwork), set ...func(*stream.Config)) {
	onStore(t, func(s chat.Store) chat.Store { return s }, test, set...)
}

// onStore is inBubble with the store wrapped.
func onStore(t *testing.T, wrap func(chat.Store) chat.Store, test func(clockwork), set ...func(*stream.Config)) {
	synctest.Test(t, func(t *testing.T) {
		store := wrap(storetest.NewMemory())
		h := hub.New(hub.Config{
			Encode: api.AppendEvent, EncodeRead: api.AppendRead, EncodePlace: api.AppendPlace, EncodeTyping: api.AppendTyping, EncodePresence: api.AppendPresence, EncodeUser: api.AppendUser,
			Source: chat.NewLog(store),
		})
		svc := chat.NewService(chat.Config{
			Store: store, Publisher: h, Passwords: password.New(password.Params{Memory: 64, Time: 1}),
			Registration: chat.RegistrationOpen, NoLimits: true, Statuses: h.Statuses,
		})
		cfg := stream.Config{API: api.New(svc), Service: svc, Hub: h, Workers: testserver.Workers()}
		for _, f := range set {
			f(&cfg)
		}
		s := stream.New(cfg)
		t.Cleanup(func() {
			if err := s.Shutdown(context.Background(), protocol.GoodbyeShutdown, "the test is over"); err != nil {
				t.Error(err)
			}
			cfg.API.Close()
			h.Close()
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
		test(clockwork{t, s, svc, h})
	})
}

func (w clockwork) dial() *testserver.Conn {
	w.Helper()
	near, far := net.Pipe()
	go w.Serve(near, stream.Peer{Addr: netip.MustParseAddr("192.0.2.1")})
	c := testserver.NewConn(w.T, far)
	c.Want(`{"type":"Hello"}`)
	return c
}

// dialWebSocket is dial with the lines as messages.
func (w clockwork) dialWebSocket() (*testserver.Conn, *testserver.WebSocket) {
	w.Helper()
	near, far := net.Pipe()
	go w.Serve(near, stream.Peer{Addr: netip.MustParseAddr("192.0.2.1"), WebSocket: true})
	ws := testserver.NewWebSocket(far)
	c := testserver.NewConn(w.T, ws)
	c.Want(`{"type":"Hello"}`)
	return c, ws
}

// token makes an account and a token for it.
func (w clockwork) token() string {
	w.Helper()
	return w.login().Token
}

func (w clockwork) login() chat.Login {
	w.Helper()
	u, err := w.svc.Register(w.Context(), chat.Actor{Operator: true}, netip.Addr{}, chat.NewUser{Username: "ana", Password: "password of ana"})
	if err != nil {
		w.Fatal(err)
	}
	l, err := w.svc.NewToken(w.Context(), chat.Actor{User: u.ID}, "test", time.Hour)
	if err != nil {
		w.Fatal(err)
	}
	return l
}

func TestNoLoginInTime(t *testing.T) {
	inBubble(t, func(w clockwork) {
		c := w.dial()
		began := time.Now()
		for range 50 {
			time.Sleep(time.Second) // talking is not logging in
			c.Line(`{"type":"Ping"}`)
			c.Want(`{"type":"Pong"}`)
		}
		c.Patience(time.Hour)
		c.Want(`{"type":"Goodbye","code":"auth_timeout","reconnect":true}`)
		c.WantEnd()
		if waited := time.Since(began); waited.Round(time.Second) != 60*time.Second {
			t.Errorf("after %v", waited)
		}
	})
}

func TestNoHeartbeatUnlessAskedFor(t *testing.T) {
	inBubble(t, func(w clockwork) {
		c := w.dial()
		c.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: w.token()}))
		c.Want(`{"id":1,"result":{"heartbeat_ms":0}}`)
		time.Sleep(24 * 30 * time.Minute)
		c.WantSilence()
	})
}

func TestHeartbeat(t *testing.T) {
	inBubble(t, func(w clockwork) {
		c := w.dial()
		c.Patience(time.Hour)
		c.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: w.token(), HeartbeatMS: 30_000}))
		c.Want(`{"id":1,"result":{"heartbeat_ms":30000}}`)
		began := time.Now()
		at := func(want time.Duration) {
			t.Helper()
			if is := time.Since(began); is != want {
				t.Fatalf("at %v, want %v", is, want)
			}
		}
		c.Want(`{"type":"Ping"}`)
		at(30 * time.Second)
		time.Sleep(9 * time.Second)
		c.Line(`{"type":"Ping","id":1}`)
		c.Want(`{"type":"Pong","id":1}`) // what is sent puts the next Ping off
		at(39 * time.Second)
		c.Want(`{"type":"Ping"}`)
		at(69 * time.Second)
		time.Sleep(5 * time.Second)
		c.Raw("\n") // any byte is a sign of life
		c.Want(`{"type":"Ping"}`, `{"type":"Ping"}`)
		at(129 * time.Second)
		c.Want(`{"type":"Goodbye","code":"idle_timeout","reconnect":true}`)
		c.WantEnd()
		at(134 * time.Second)
	})
}

func TestHeartbeatHasBounds(t *testing.T) {
	inBubble(t, func(w clockwork) {
		c := w.dial()
		c.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: w.token(), HeartbeatMS: 1}))
		c.Want(`{"id":1,"result":{"heartbeat_ms":5000}}`)
		for _, tt := range []struct{ ask, want string }{
			{"3600000", `{"result":{"heartbeat_ms":600000}}`},
			{"-1", `{"error":{"code":"invalid_request"}}`},
			{"0", `{"result":{"heartbeat_ms":0}}`},
		} {
			c.Line(`{"type":"SessionRequest","op":"session.update","params":{"heartbeat_ms":` + tt.ask + `}}`)
			c.Want(tt.want)
		}
		time.Sleep(time.Hour)
		c.WantSilence()
	})
}

func TestWriteWithoutProgress(t *testing.T) {
	inBubble(t, func(w clockwork) {
		near, far := net.Pipe()
		served := make(chan struct{})
		began := time.Now()
		go func() {
			w.Serve(near, stream.Peer{})
			close(served)
		}()
		<-served // Hello is never read, and for 15 s more no Goodbye
		if waited := time.Since(began); waited != 30*time.Second {
			t.Errorf("after %v", waited)
		}
		if err := far.Close(); err != nil {
			t.Error(err)
		}
	})
}

// meddled is a store that lets something happen after its next View.
type meddled struct {
	chat.Store

	next func()
}

func (m *meddled) View(ctx context.Context, fn func(chat.Reader) error) error {
	err := m.Store.View(ctx, fn)
	if next := m.next; next != nil {
		m.next = nil
		next()
	}
	return err
}

// A session that is revoked after its token was looked up, and before its
// connection could be told, does not come alive.
func TestRevokedWhileItLogsIn(t *testing.T) {
	store := &meddled{}
	onStore(t, func(s chat.Store) chat.Store {
		store.Store = s
		return store
	}, func(w clockwork) {
		l := w.login()
		c := w.dial()
		store.next = func() {
			if err := w.svc.EndSession(w.Context(), chat.Actor{User: l.User.ID, Session: l.Session.ID}); err != nil {
				w.Error(err)
			}
		}
		c.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: l.Token}),
			testserver.Request("2", "users.me", protocol.Empty{}))
		c.Want(`{"id":1,"error":{"code":"*"}}`, `{"id":2,"error":{"code":"unauthenticated"}}`)
	})
}

func TestRevokedWhileItDoesNotRead(t *testing.T) {
	inBubble(t, func(w clockwork) {
		l := w.login()
		near, far := net.Pipe()
		served := make(chan struct{})
		go func() {
			w.Serve(near, stream.Peer{})
			close(served)
		}()
		c := testserver.NewConn(w.T, far)
		c.Want(`{"type":"Hello"}`)
		c.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: l.Token}))
		synctest.Wait() // the answer is being written
		began := time.Now()
		if err := w.svc.EndSession(w.Context(), chat.Actor{User: l.User.ID, Session: l.Session.ID}); err != nil {
			t.Fatal(err)
		}
		<-served
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("after %v", waited)
		}
	})
}

// A reader that fell behind and reads again in time is told all of it, in order.
func TestSlowReaderMissesNothing(t *testing.T) {
	inBubble(t, func(w clockwork) {
		l := w.login()
		me := chat.Actor{User: l.User.ID, Session: l.Session.ID}
		st, _, err := w.svc.CreateChat(w.Context(), me, chat.NewChat{Kind: chat.KindGroup, Title: "Port"})
		if err != nil {
			w.Fatal(err)
		}
		c := w.dial()
		c.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: l.Token}))
		c.Want(`{"id":1,"result":{}}`)
		const messages = 50
		for range messages {
			sent := make(chan error)
			w.svc.Send(me, chat.NewMessage{Chat: st.Chat.ID, Content: strings.Repeat("x", 100)}, nil, func(_ chat.SendResult, err error) { sent <- err })
			if err := <-sent; err != nil {
				w.Fatal(err)
			}
		}
		synctest.Wait()
		for seq := range messages {
			c.Want(fmt.Sprintf(`{"event":"message.created","seq":%d}`, seq+2))
		}
	}, func(c *stream.Config) { c.Outbox = 1000 })
}

// slowReads is a store whose views wait while it is slow.
type slowReads struct {
	chat.Store

	slow atomic.Bool
	gate chan struct{}
}

func (s *slowReads) View(ctx context.Context, fn func(chat.Reader) error) error {
	if s.slow.Load() {
		<-s.gate
	}
	return s.Store.View(ctx, fn)
}

// Who comes back, and sends sync with the login, has both answers in one write.
func TestComingBackIsOneWrite(t *testing.T) {
	inBubble(t, func(w clockwork) {
		l := w.login()
		c := w.dial()
		synctest.Wait()
		before := w.Stats()
		c.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: l.Token}) + "\n" +
			testserver.Request("2", "sync", protocol.SyncParams{}) + "\n" + `{"type":"Ping","id":3}`)
		c.Want(`{"id":1,"result":{}}`, `{"id":2,"result":{}}`, `{"type":"Pong","id":3}`)
		synctest.Wait()
		after := w.Stats()
		if frames, writes := after.FramesOut-before.FramesOut, after.Writes-before.Writes; frames != 3 || writes > 2 {
			t.Errorf("%d answers in %d writes", frames, writes)
		}
	})
}

// If they come at once, Hello leaves with the answers.
func TestHelloLeavesWithTheAnswers(t *testing.T) {
	inBubble(t, func(w clockwork) {
		l := w.login()
		lines := testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: l.Token}) + "\n" +
			testserver.Request("2", "sync", protocol.SyncParams{}) + "\n"
		near, far := net.Pipe()
		go w.Serve(near, stream.Peer{Early: []byte(lines)})
		c := testserver.NewConn(w.T, far)
		c.Want(`{"type":"Hello","capabilities":["edit","delete","typing","find","presence"]}`, `{"id":1,"result":{}}`, `{"id":2,"result":{}}`)
		synctest.Wait()
		if st := w.Stats(); st.FramesOut != 3 || st.Writes != 1 {
			t.Errorf("%d lines in %d writes", st.FramesOut, st.Writes)
		}
	})
}

// What is ready does not wait for a page of rows.
func TestAnswersBeforeASlowOneLeave(t *testing.T) {
	store := &slowReads{gate: make(chan struct{})}
	onStore(t, func(s chat.Store) chat.Store { store.Store = s; return store }, func(w clockwork) {
		l := w.login()
		c := w.dial()
		c.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: l.Token}))
		c.Want(`{"id":1,"result":{}}`)
		store.slow.Store(true)
		c.Line(`{"type":"Ping","id":2}` + "\n" + testserver.Request("3", "messages.list", protocol.MessagesListParams{ChatID: "c_1"}))
		c.Want(`{"type":"Pong","id":2}`)
		store.slow.Store(false)
		close(store.gate)
		c.Want(`{"id":3,"error":{"code":"not_found"}}`)
	})
}

// Events pass a read that takes its time. They were held back behind it, and a
// client of busy chats was sent away as slow for waiting for the server.
func TestEventsPassASlowRead(t *testing.T) {
	store := &slowReads{gate: make(chan struct{})}
	onStore(t, func(s chat.Store) chat.Store { store.Store = s; return store }, func(w clockwork) {
		l := w.login()
		me := chat.Actor{User: l.User.ID, Session: l.Session.ID}
		st, _, err := w.svc.CreateChat(w.Context(), me, chat.NewChat{Kind: chat.KindGroup, Title: "Port"})
		if err != nil {
			w.Fatal(err)
		}
		c := w.dial()
		c.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: l.Token}))
		c.Want(`{"id":1,"result":{}}`)
		store.slow.Store(true)
		c.Line(testserver.Request("2", "messages.list", protocol.MessagesListParams{ChatID: api.FormatChat(st.Chat.ID)}))
		for range 50 {
			w.svc.Send(me, chat.NewMessage{Chat: st.Chat.ID, Content: strings.Repeat("x", 100)}, nil, func(_ chat.SendResult, err error) {
				if err != nil {
					w.Error(err)
				}
			})
			c.Want(`{"event":"message.created"}`)
		}
		store.slow.Store(false)
		close(store.gate)
		c.Want(`{"id":2,"result":{}}`)
		c.Line(`{"type":"Ping"}`)
		c.Want(`{"type":"Pong"}`)
	}, func(c *stream.Config) { c.Outbox = 1000 })
}

func TestShutdownWaitsForNobodyLongerThanItMay(t *testing.T) {
	inBubble(t, func(w clockwork) {
		near, far := net.Pipe()
		go w.Serve(near, stream.Peer{})
		synctest.Wait() // it is writing Hello, which nobody reads
		ctx, cancel := context.WithTimeout(w.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if err := w.Shutdown(ctx, protocol.GoodbyeShutdown, "restarting"); err == nil {
			t.Error("a clean end")
		}
		if waited := time.Since(began); waited != 3*time.Second {
			t.Errorf("after %v", waited)
		}
		if err := far.Close(); err != nil {
			t.Error(err)
		}
	})
}

// away is a store that cannot be read for a while.
type away struct {
	chat.Store

	is atomic.Bool
}

func (a *away) View(ctx context.Context, fn func(chat.Reader) error) error {
	if a.is.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return a.Store.View(ctx, fn)
}

// Who has said all they wanted hears the events of it, which the hub may be
// reading for; a stop does not wait for that either.
func TestShutdownDoesNotWaitForWhatIsToBeHeard(t *testing.T) {
	store := &away{}
	onStore(t, func(s chat.Store) chat.Store { store.Store = s; return store }, func(w clockwork) {
		c := w.dial()
		c.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: w.token()}))
		c.Want(`{"id":1,"result":{}}`)
		store.is.Store(true)
		c.Line(testserver.Request("2", "chats.create", protocol.ChatsCreateParams{Kind: "group", Title: "Port"}))
		c.Want(`{"id":2,"result":{}}`)
		if err := c.Close(); err != nil {
			w.Fatal(err)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(w.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if err := w.Shutdown(ctx, protocol.GoodbyeShutdown, "restarting"); err == nil {
			t.Error("a clean end")
		}
		if waited := time.Since(began); waited != 3*time.Second {
			t.Errorf("after %v", waited)
		}
	})
}

// The same through TLS, whose closing would rather have a word with the client.
func TestShutdownDoesNotWaitForTLSEither(t *testing.T) {
	inBubble(t, func(w clockwork) {
		near, far := net.Pipe()
		go w.Serve(tls.Server(near, testserver.ServerTLS()), stream.Peer{})
		client := tls.Client(far, testserver.TLSConfig())
		if err := client.HandshakeContext(w.Context()); err != nil {
			w.Fatal(err)
		}
		synctest.Wait() // it is writing Hello, which nobody reads
		ctx, cancel := context.WithTimeout(w.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if err := w.Shutdown(ctx, protocol.GoodbyeShutdown, "restarting"); err == nil {
			w.Error("a clean end")
		}
		if waited := time.Since(began); waited != 3*time.Second {
			w.Errorf("after %v", waited)
		}
		_ = client.Close()
	})
}

func TestComingDuringShutdown(t *testing.T) {
	inBubble(t, func(w clockwork) {
		c := w.dial()
		done := make(chan error)
		go func() { done <- w.Shutdown(w.Context(), protocol.GoodbyeShutdown, "restarting") }()
		c.Want(`{"type":"Goodbye","code":"shutdown","message":"restarting","reconnect":true}`)
		c.WantEnd()
		if err := <-done; err != nil {
			t.Error(err)
		}
		near, far := net.Pipe()
		go w.Serve(near, stream.Peer{})
		late := testserver.NewConn(w.T, far)
		var bye protocol.Goodbye
		line := late.Next()
		if err := json.Unmarshal([]byte(line), &bye); err != nil || bye.Type != protocol.TypeGoodbye || bye.Code != protocol.GoodbyeShutdown || bye.ReconnectAfterMS < 500 {
			w.Errorf("%s, %v", line, err)
		}
		late.WantEnd()
	})
}

// Being connected is a use of a session: a device that never logs in again
// stays, and its token with it (it used to expire under the connection). What
// has an end of its own ends the connection, too.
func TestSessionsOfOpenConnections(t *testing.T) {
	inBubble(t, func(w clockwork) {
		ctx, cancel := context.WithCancel(w.Context())
		checking := make(chan struct{})
		go func() { defer close(checking); w.CheckSessions(ctx) }()

		script := w.dial()
		script.Line(`{"type":"SessionRequest","op":"session.start","params":{"mechanism":"TOKEN","token":"` + w.token() + `"}}`)
		script.Want(`{"type":"SessionResponse","op":"session.start"}`)
		phone, err := w.svc.LoginPassword(w.Context(), netip.Addr{}, "ana", "password of ana", "phone", "")
		if err != nil {
			t.Fatal(err)
		}
		device := w.dial()
		device.Line(`{"type":"SessionRequest","op":"session.start","params":{"mechanism":"TOKEN","token":"` + phone.Token + `"}}`)
		device.Want(`{"type":"SessionResponse","op":"session.start"}`)

		script.Patience(3 * time.Hour)
		script.Want(`{"type":"Goodbye","code":"session_revoked","reconnect":false}`)

		time.Sleep(60 * 24 * time.Hour)
		device.Line(`{"type":"Ping","id":1}`)
		device.Want(`{"type":"Pong","id":1}`)
		if _, err := w.svc.Authenticate(w.Context(), phone.Token); err != nil {
			t.Errorf("after 60 days connected the token is refused: %v", err)
		}

		device.Patience(31 * 24 * time.Hour) // 90 days are the end of any login
		device.Want(`{"type":"Goodbye","code":"session_revoked","reconnect":false}`)
		cancel()
		<-checking
	})
}

// A notice is heard and is no news to the cursor. The next sign of life comes in
// its time after it (it used to come up to twice as late).
func TestBeatAfterANotice(t *testing.T) {
	inBubble(t, func(w clockwork) {
		ana := w.login().Actor
		st, _, err := w.svc.CreateChat(w.Context(), ana, chat.NewChat{Kind: chat.KindGroup, Title: "Port"})
		if err != nil {
			w.Fatal(err)
		}
		near, far := net.Pipe()
		go w.Serve(near, stream.Peer{Events: &stream.Events{Actor: ana}})
		c := testserver.NewConn(w.T, far)
		c.Want(`{"type":"Hello"}`, `{"op":"sync"}`)
		time.Sleep(10 * time.Second)
		if _, err := w.svc.SetRead(w.Context(), ana, st.Chat.ID, 1); err != nil {
			w.Fatal(err)
		}
		c.Want(`{"event":"read"}`)
		if err := far.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
			w.Fatal(err)
		}
		began := time.Now()
		for range 2 {
			beat := make([]byte, 1)
			if _, err := far.Read(beat); err != nil || beat[0] != '\n' {
				w.Fatalf("%q %v", beat, err)
			}
			if after := time.Since(began).Round(time.Second); after != 25*time.Second {
				w.Errorf("a beat after %v", after)
			}
			began = time.Now()
		}
		if err := far.Close(); err != nil {
			w.Error(err)
		}
	})
}

// What a client that only listens sends is not looked at, nor taken for a reason
// not to let it hear something now and then.
func TestBeatsForWhoKeepsSending(t *testing.T) {
	inBubble(t, func(w clockwork) {
		near, far := net.Pipe()
		go w.Serve(near, stream.Peer{Events: &stream.Events{Actor: w.login().Actor}})
		c := testserver.NewConn(w.T, far)
		c.Want(`{"type":"Hello"}`, `{"op":"sync"}`)
		if err := far.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
			w.Fatal(err)
		}
		over := make(chan struct{})
		go func() {
			defer close(over)
			for {
				time.Sleep(10 * time.Second)
				if _, err := far.Write([]byte("x")); err != nil {
					return // the test is over
				}
			}
		}()
		began := time.Now()
		beat := make([]byte, 1)
		for i := range 4 {
			if _, err := far.Read(beat); err != nil || beat[0] != '\n' {
				w.Fatalf("%q %v", beat, err)
			}
			if after := time.Since(began).Round(time.Second); after != time.Duration(i+1)*25*time.Second {
				w.Errorf("beat %d after %v", i+1, after)
			}
		}
		if err := far.Close(); err != nil {
			w.Error(err)
		}
		<-over
	})
}

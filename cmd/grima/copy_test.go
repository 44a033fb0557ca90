package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/client/cache"
	"github.com/grima-chat/grima/internal/pgtest"
	"github.com/grima-chat/grima/internal/store/sqlite"
	"github.com/grima-chat/grima/internal/store/transfer"
)

// grimaWants runs a command here, and wants its exit code.
func grimaWants(t *testing.T, code int, args ...string) string {
	t.Helper()
	var out strings.Builder
	if got := run(t.Context(), args, strings.NewReader(""), &out, &out); got != code {
		t.Fatalf("grima %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, code, out.String())
	}
	return out.String()
}

// mover is somebody whose server moves under him.
type mover struct {
	*client.Client

	t       *testing.T
	heard   []string // contents, each once and in order
	seqs    map[string]int64
	resyncs int
}

// hears waits until a message was told, and sees that each is told once.
func (m *mover) hears(content string) {
	m.t.Helper()
	m.until(content, func(e client.Event) bool { return e.Message != nil && e.Message.Content == content })
}

// synced waits until the client was up to date on so many connections. What is
// told live may come before that.
func (m *mover) synced(times int) {
	m.t.Helper()
	if m.resyncs < times {
		m.until("synced", func(client.Event) bool { return m.resyncs >= times })
	}
}

func (m *mover) until(what string, done func(client.Event) bool) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	for {
		e, err := m.Next(ctx)
		if err != nil {
			m.t.Fatalf("waiting for %q: %v; heard %q, %d times synced", what, err, m.heard, m.resyncs)
		}
		switch e.Kind {
		case client.Reset:
			m.t.Fatal("the client had to begin anew")
		case client.Synced:
			m.resyncs++
		case client.MessageCreated, client.MessageUpdated:
			if last := m.seqs[e.ChatID]; e.PrevSeq != last && last != 0 || e.Message.Seq != e.Seq {
				m.t.Errorf("event %d of %s comes behind %d", e.Seq, e.ChatID, last)
			}
			m.seqs[e.ChatID] = e.Seq
			m.heard = append(m.heard, e.Message.Content)
		}
		if done(e) {
			return
		}
	}
}

// A server is moved to PostgreSQL and back while people are connected: they
// notice a reconnect, and nothing else. Tokens, a client's cache, an old cursor
// and the keys of sends are good everywhere.
func TestMoveUnderPeople(t *testing.T) {
	database, data := pgtest.New(t), filepath.Join(t.TempDir(), "data")
	var addr atomic.Value
	start := func(args ...string) *member {
		t.Helper()
		r, err := startServer(t.TempDir(), []string{"GRIMA_DATA=" + data}, append(args, "--registration", "open")...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.kill)
		at, err := r.await(`listening on (\S+)`)
		if err != nil {
			t.Fatal(err)
		}
		addr.Store(at)
		return &member{r, t, at}
	}
	server := start()
	const password = `"password":"correct horse battery"`
	login := func(name string) (id, token string) {
		t.Helper()
		id = server.get(`"user_id":"(u_\d+)"`, "POST", "/v1/users", "", `{"username":"`+name+`",`+password+`}`)
		return id, server.get(`"token":"(gt_[^"]+)"`, "POST", "/v1/sessions", "", `{"mechanism":"PLAIN","username":"`+name+`",`+password+`}`)
	}
	_, ana := login("ana")
	bobsID, bob := login("bob")
	id := server.get(`"chat_id":"(c_\d+)"`, "POST", "/v1/chats", ana, `{"kind":"group","title":"Port","user_ids":["`+bobsID+`"]}`)
	quiet := server.get(`"chat_id":"(c_\d+)"`, "POST", "/v1/chats", ana, `{"kind":"group","title":"Quiet","user_ids":["`+bobsID+`"]}`)
	say := func(what string) string {
		t.Helper()
		return server.get(`"seq":(\d+)`, "POST", "/v1/chats/"+id+"/messages", ana, `{"content":"`+what+`","client_msg_id":"key of `+what+`"}`)
	}
	sync := func(cursor string) (answer, next string) {
		t.Helper()
		status, answer := server.ask("GET", "/v1/sync?cursor="+url.QueryEscape(cursor), bob, "")
		if status != http.StatusOK || strings.Contains(answer, `"has_more":true`) {
			t.Fatalf("sync with the cursor %s: %d %s", cursor, status, answer)
		}
		return answer, strings.SplitN(strings.SplitN(answer, `"cursor":"`, 2)[1], `"`, 2)[0]
	}
	changed := func(cursor, what string, chats ...string) (next string) {
		t.Helper()
		answer, next := sync(cursor)
		if n := strings.Count(answer, `"chat_id":"c_`) - strings.Count(answer, `"messages":[{"chat_id":"c_`); n != len(chats) {
			t.Errorf("%s: sync lists %d chats, want %v: %s", what, n, chats, answer)
		}
		for _, c := range chats {
			if !strings.Contains(answer, `"chat_id":"`+c+`"`) {
				t.Errorf("%s: sync does not list %s: %s", what, c, answer)
			}
		}
		return next
	}

	kept, err := cache.Open(filepath.Join(t.TempDir(), "cache.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	}()
	bobs, err := client.Open(client.Config{
		Server: "grima://127.0.0.1:1", Token: bob, Store: kept, MinBackoff: 10 * time.Millisecond, MaxBackoff: 100 * time.Millisecond,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr.Load().(string))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := bobs.Close(); err != nil {
			t.Error(err)
		}
	}()
	m := &mover{Client: bobs, t: t, seqs: map[string]int64{}}
	ready, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := bobs.Ready(ready); err != nil {
		t.Fatal(err)
	}
	first := say("one")
	m.hears("one")
	_, old := sync("")

	here := "sqlite:" + data
	for round, hop := range []struct {
		from, to string
		flags    []string
		refusal  string
	}{
		{here, database, []string{"--store", database}, "it was moved to postgres"},
		{database, here, nil, "it was moved to sqlite:" + data},
	} {
		name := func(what string) string { return fmt.Sprint(what, " ", round) }
		if out := grimaWants(t, 0, "copy", hop.from, hop.to); !strings.Contains(out, "not done: a server has") {
			t.Errorf("beside a server:\n%s", out)
		}
		say(name("said meanwhile"))
		m.hears(name("said meanwhile"))
		if err := server.stop(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if out := grimaWants(t, 0, "copy", hop.from, hop.to); !strings.Contains(out, "done: serve with") || strings.Contains(out, "not done") {
			t.Errorf("with the server stopped:\n%s", out)
		}
		refused := []string{"serve", "--listen", "127.0.0.1:0", "--data", data}
		if hop.from == database {
			refused = append(refused, "--store", database)
		}
		if out := grimaWants(t, 1, refused...); !strings.Contains(out, hop.refusal) {
			t.Errorf("what was moved away:\n%s", out)
		}
		if out := grimaWants(t, 1, "copy", hop.from, hop.to); !strings.Contains(out, "moved there already") {
			t.Errorf("moved twice:\n%s", out)
		}

		server = start(hop.flags...)
		if again := say("one"); again != first {
			t.Errorf("a send that is said again has seq %s, and had %s", again, first)
		}
		changed(old, name("an old cursor"), id)
		now := changed(old, name("the same again"), id)
		changed(now, name("the cursor of now"))
		say(name("said after it"))
		now = changed(now, name("the cursor from before"), id)
		m.hears(name("said after it"))
		server.get(`"seq":(\d+)`, "POST", "/v1/chats/"+quiet+"/messages", ana, `{"content":"psst"}`)
		old = changed(now, name("the other chat"), quiet)
		server.get(`"seq":(\d+)`, "POST", "/v1/chats/"+quiet+"/messages", ana, `{"content":"psst"}`)
		changed(old, name("the other chat again"), quiet)
		say(name("and on"))
		old = changed(old, name("both"), id, quiet)
		m.hears(name("and on"))
		// One chat is to be found by the old cursor of the next round.
	}
	m.synced(3) // at each place, or this proves nothing
	if err := server.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// A copy is killed as it makes its K-th write, for growing K; each goes on where
// the one before it was, and in the end all is there.
func TestCopyKilled(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must have strace")
		}
		t.Skip("strace is not installed (apt-get install strace)")
	}
	source := filepath.Join(t.TempDir(), "source")
	fill(t, source, 30_000)
	target := pgtest.New(t)
	back := filepath.Join(t.TempDir(), "back")
	for _, hop := range []struct{ from, to, call string }{
		{"sqlite:" + source, target, "write"},
		{target, "sqlite:" + back, "pwrite64"},
	} {
		kills := 0
		for k := 1; ; k = k*3/2 + 1 {
			cmd := exec.Command(strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace="+hop.call,
				"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", hop.call, k), "grima", "copy", hop.from, hop.to)
			out, err := cmd.CombinedOutput()
			if err == nil {
				if !strings.Contains(string(out), "30,000 messages") {
					t.Errorf("it was copied:\n%s", out)
				}
				break
			}
			if strings.Contains(string(out), "moved there already") { // it was killed behind its last step
				break
			}
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok || !exit.Sys().(syscall.WaitStatus).Signaled() {
				t.Fatalf("grima copy, to be killed at %s %d: %v\n%s", hop.call, k, err, out)
			}
			kills++
		}
		if kills < 4 {
			t.Errorf("it was killed %d times only", kills)
		}
		t.Logf("killed %d times", kills)
	}
}

// fill makes a store with a user, a few groups and many messages.
func fill(t *testing.T, dir string, messages int64) {
	t.Helper()
	ctx := t.Context()
	s, err := sqlite.OpenDestination(ctx, sqlite.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	tables := map[string]*transfer.Table{}
	for _, table := range transfer.Tables {
		tables[table.Name] = table
	}
	n := func(v int64) transfer.Value { return transfer.Value{Int: v} }
	text := func(v string) transfer.Value { return transfer.Value{Bytes: []byte(v)} }
	null := transfer.Value{Null: true}
	hash := transfer.Value{Bytes: make([]byte, 16)}
	const groups = 7
	write := func(table string, rows []transfer.Row) {
		t.Helper()
		if err := s.Write(ctx, tables[table], nil, rows); err != nil {
			t.Fatal(err)
		}
	}
	write("users", []transfer.Row{{n(1), text("ana"), text("Ana"), text("owner"), n(0), n(0), text(""), n(1), n(0), text(""), text("")}})
	var chats, people, said, sent []transfer.Row
	for c := int64(1); c <= groups; c++ {
		last := 1 + (messages+groups-c)/groups
		chats = append(chats, transfer.Row{n(c), text("group"), text("Port"), text(""), text("all"), null, null, n(1), null, hash, n(1), null, n(last), n(1), n(c), n(0)})
		people = append(people, transfer.Row{n(c), n(1), text("owner"), n(1), n(0), n(1), n(1), n(0), text("")})
		for seq := int64(2); seq <= last; seq++ {
			said = append(said, transfer.Row{n(c), n(seq), n(seq), n(1), text("The crane is free."), null, null, n(0), n(seq), null, null})
			sent = append(sent, transfer.Row{text(fmt.Sprintf("t%d/%08d", c, seq)), n(1), n(c), n(seq), hash, n(seq)})
		}
	}
	write("chats", chats)
	write("participants", people)
	write("messages", said)
	write("sent", sent)
	if err := s.Finish(ctx, transfer.Facts{Epoch: "7f3a", Stamp: groups, Counters: map[string]int64{"chat": groups, "invite": 0, "session": 0, "user": 1}}); err != nil {
		t.Fatal(err)
	}
}

func TestPlaces(t *testing.T) {
	t.Setenv("GRIMA_DATA", "/var/lib/grima")
	for name, shown := range map[string]string{
		"sqlite:": "sqlite:/var/lib/grima", "sqlite:/srv/chat": "sqlite:/srv/chat",
		"postgres://grima:sesame@db/grima": "postgres://grima@db/grima",
	} {
		if err := checkPlace(name); err != nil || placeName(name) != shown {
			t.Errorf("%s is shown as %s, %v", name, placeName(name), err)
		}
	}
	for _, name := range []string{"", "/var/lib/grima", "mysql://db/grima", "postgres://u:ses ame@[/grima", "host=db password=sesame"} {
		if err := checkPlace(name); err == nil || strings.Contains(err.Error(), "ame") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
}

// On a terminal there is one line, which goes away; elsewhere one now and then.
func TestCopyProgress(t *testing.T) {
	at := transfer.Progress{Table: "messages", Rows: 12345, Written: 6789}
	for terminal, want := range map[bool]string{
		true:  "\rcopying messages: 12,345 rows, 6,789 written so far, 0s\x1b[K\r\x1b[K",
		false: "copying messages: 12,345 rows, 6,789 written so far, 0s\n",
	} {
		synctest.Test(t, func(t *testing.T) { // it says how long it took
			var out strings.Builder
			p := newCopyProgress(&out)
			p.progress(at)
			if out.Len() > 0 {
				t.Errorf("it says at once: %q", out.String())
			}
			p.terminal, p.every = terminal, 0
			p.progress(at)
			p.end()
			if out.String() != want {
				t.Errorf("terminal %v: %q", terminal, out.String())
			}
		})
	}
}

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/hub/natsbus/natstest"
	"github.com/grima-chat/grima/internal/pgtest"
)

// member is a server of several on one store.
type member struct {
	*running

	t    *testing.T
	addr string
}

// startMember starts `grima serve` as an operator does.
func startMember(t *testing.T, conf, role, name string) *member {
	t.Helper()
	env := []string{"GRIMA_DATA=" + filepath.Join(t.TempDir(), "data"), "GRIMA_CONFIG=" + conf}
	r, err := startServer(t.TempDir(), env, "--role", role, "--server-id", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.kill)
	addr, err := r.await(`listening on (\S+)`)
	if err != nil {
		t.Fatal(err)
	}
	return &member{r, t, addr}
}

// logs waits until the server has said something.
func (m *member) logs(what string) {
	m.t.Helper()
	if _, err := m.await("(" + what + ")"); err != nil {
		m.t.Fatal(err)
	}
}

// ask gives the answer's status and body.
func (m *member) ask(method, path, token, body string) (int, string) {
	m.t.Helper()
	r, err := http.NewRequestWithContext(m.t.Context(), method, "http://"+m.addr+path, strings.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		m.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// get asks, and gives what the first group of a pattern matches in the answer.
func (m *member) get(pattern, method, path, token, body string) string {
	m.t.Helper()
	status, answer := m.ask(method, path, token, body)
	found := regexp.MustCompile(pattern).FindStringSubmatch(answer)
	if status >= 300 || found == nil {
		m.t.Fatalf("%s %s: no %s in %d %s", method, path, pattern, status, answer)
	}
	return found[1]
}

// refuses checks that this is another server's to answer.
func (m *member) refuses(url, method, path, token, body string) {
	m.t.Helper()
	status, answer := m.ask(method, path, token, body)
	if status != http.StatusMisdirectedRequest || !strings.Contains(answer, url) {
		m.t.Errorf("%s %s: %d %s", method, path, status, answer)
	}
}

// Three servers on one PostgreSQL, tied by NATS.
func TestThreeServers(t *testing.T) {
	nats, database := natstest.Start(t, nil), pgtest.New(t)
	conf := filepath.Join(t.TempDir(), "grima.conf")
	text := fmt.Sprintf("store = \"%s\"\nbus = %s\nbus-prefix = %s\nregistration = open\nstream-url = https://chat.example.org\n",
		database, nats.URL, nats.Prefix)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	one, stream, data := startMember(t, conf, "all", "n1"), startMember(t, conf, "stream", "n2"), startMember(t, conf, "data", "n3")

	const password = `"password":"correct horse battery"`
	login := func(name string) (id, token string) {
		t.Helper()
		id = data.get(`"user_id":"(u_\d+)"`, "POST", "/v1/users", "", `{"username":"`+name+`",`+password+`}`)
		return id, data.get(`"token":"(gt_[^"]+)"`, "POST", "/v1/sessions", "", `{"mechanism":"PLAIN","username":"`+name+`",`+password+`}`)
	}
	_, ana := login("ana")
	bobsID, bob := login("bob")
	id := data.get(`"chat_id":"(c_\d+)"`, "POST", "/v1/chats", ana, `{"kind":"group","title":"Port","user_ids":["`+bobsID+`"]}`)
	messages := "/v1/chats/" + id + "/messages"
	say := func(what string) {
		t.Helper()
		one.get(`"seq":(\d+)`, "POST", messages, ana, `{"content":"`+what+`"}`)
	}

	nc, err := net.Dial("tcp", stream.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	fmt.Fprintf(nc, `{"type":"SessionRequest","op":"session.start","params":{"mechanism":"TOKEN","token":"%s"}}`+"\n", bob)
	lines := bufio.NewScanner(nc)
	lines.Buffer(nil, 1<<20)
	await := func(want string) {
		t.Helper()
		if err := nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			if strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("never %s: %v\n%s", want, lines.Err(), stream.output())
	}
	await(`"op":"session.start"`)

	say("hello")
	await(`"content":"hello"`)
	data.refuses("https://chat.example.org", "POST", messages, ana, `{"content":"x"}`)
	stream.refuses("serves live connections", "GET", "/v1/chats", ana, "")

	// Without NATS, by the scan; and ready, if degraded.
	if nats.Own() {
		nats.Stop()
		one.logs("the connection to NATS is lost")
		say("without a bus")
		await(`"content":"without a bus"`)
		if status, body := one.ask("GET", "/readyz", "", ""); status != http.StatusOK || !strings.Contains(body, "degraded") {
			t.Errorf("%d %s", status, body)
		}
		nats.Restart()
		one.logs("connected to NATS")
		stream.logs("connected to NATS")
	}
	// One is killed, one is frozen.
	data.kill()
	if err := stream.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	say("while it was frozen")
	if err := stream.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	await(`"content":"while it was frozen"`)
	// A session is ended elsewhere.
	session := one.get(`"session_id":"(s_\d+)"`, "GET", "/v1/sessions", bob, "")
	if status, body := one.ask("DELETE", "/v1/sessions/"+session, bob, ""); status != http.StatusOK {
		t.Fatal(status, body)
	}
	await(`"session_revoked"`)
}

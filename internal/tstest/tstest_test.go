package tstest

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/hub/natsbus"
	"github.com/grima-chat/grima/internal/hub/natsbus/natstest"
	"github.com/grima-chat/grima/internal/testserver"
)

const sdk = "../../sdk/ts"

// need skips the test, or fails it where everything has to be there.
func need(t *testing.T, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(format, args...)
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip(text)
}

// command runs something in the SDK's directory.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = sdk
	return cmd
}

// build compiles the SDK and its tests.
func build(t *testing.T) {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			need(t, "the TypeScript SDK is tested with %s, which is not there: on Debian, apt-get install nodejs npm", tool)
		}
	}
	version, err := exec.CommandContext(t.Context(), "node", "--version").Output()
	if err != nil {
		t.Fatal("node --version: ", err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(string(version), "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < 20 {
		need(t, "the TypeScript SDK is for Node.js 20 and newer, and here is %s", strings.TrimSpace(string(version)))
	}
	lock, err := os.Stat(filepath.Join(sdk, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	if there, err := os.Stat(filepath.Join(sdk, "node_modules/.package-lock.json")); err != nil || there.ModTime().Before(lock.ModTime()) {
		if out, err := command(t, "npm", "ci", "--no-progress").CombinedOutput(); err != nil {
			need(t, "npm ci: %v\n%s", err, out)
		}
	}
	if out, err := command(t, "node_modules/.bin/tsc", "-p", "tsconfig.test.json").CombinedOutput(); err != nil {
		t.Fatalf("tsc: %v\n%s", err, out)
	}
}

// The lockfiles are the same everywhere, and name no registry.
func TestLockfile(t *testing.T) {
	for _, dir := range []string{sdk, filepath.Join(sdk, "../../web")} {
		text, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, `"resolved": "http`) {
				t.Errorf("%s/package-lock.json has %s", dir, strings.TrimSpace(line))
			}
		}
	}
}

// What the SDK's tests may do with the server is asked at this address, and done
// by the test's own goroutine.
type control struct {
	t    *testing.T
	srv  *testserver.Server
	way  *testserver.Proxy
	work chan func()
}

func (c *control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	done := make(chan error, 1)
	c.work <- func() { done <- c.do(r) }
	if err := <-done; err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func (c *control) do(r *http.Request) error {
	switch r.URL.Path {
	case "/cut": // every connection, once
		c.way.KillAll()
	case "/chop": // every later connection, after some bytes
		least, err1 := strconv.Atoi(r.FormValue("least"))
		most, err2 := strconv.Atoi(r.FormValue("most"))
		if err1 != nil || err2 != nil {
			return fmt.Errorf("least and most are numbers: %v, %v", err1, err2)
		}
		c.way.KillBetween(least, most)
	case "/down": // nobody is there
		c.way.To("")
	case "/up":
		c.way.To(c.srv.Addr)
	case "/restart":
		c.way.To("")
		c.srv.Restart()
		c.way.To(c.srv.Addr)
	case "/crash":
		c.way.To("")
		c.srv.Crash("")
		c.way.To(c.srv.Addr)
	default:
		return fmt.Errorf("there is no %s", r.URL.Path)
	}
	return nil
}

// roles starts two servers that share the work (docs/protocol.md#roles): the
// addresses of the one for live connections and of the one for data.
func roles(t *testing.T) (stream, data string) {
	nats := natstest.Start(t, nil)
	forStream, forData := testserver.StartProxy(t, ""), testserver.StartProxy(t, "")
	stream, data = "http://"+forStream.Addr(), "http://"+forData.Addr()
	options := func(role api.Role) testserver.Options {
		return testserver.Options{
			Leaks: true, // those of NATS
			Roles: api.Roles{Role: role, DataURL: data, StreamURL: stream},
			Bus: func(epoch string) hub.Bus {
				b, err := natsbus.New(natsbus.Config{URL: nats.URL, Prefix: nats.Prefix, Epoch: epoch})
				if err != nil {
					t.Fatal(err)
				}
				return b
			},
		}
	}
	one := testserver.Start(t, options(api.RoleStream))
	other := options(api.RoleData)
	other.Beside = one
	forStream.To(one.Addr)
	forData.To(testserver.Start(t, other).Addr)
	return stream, data
}

func TestSDK(t *testing.T) {
	build(t)
	srv := testserver.Start(t, testserver.Options{MayFail: true})
	c := &control{t: t, srv: srv, way: testserver.StartProxy(t, srv.Addr), work: make(chan func())}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	door := &http.Server{Handler: c}
	served := make(chan error, 1)
	go func() { served <- door.Serve(l) }()
	defer func() {
		_ = door.Close()
		<-served
	}()

	stream, data := roles(t)
	cmd := command(t, "node", "--test", "--test-timeout=300000", "build/test/")
	cmd.Env = append(os.Environ(), "GRIMA_URL=http://"+c.way.Addr(), "GRIMA_CONTROL=http://"+l.Addr().String(), "GRIMA_STREAM_URL="+stream, "GRIMA_DATA_URL="+data)
	var out []byte
	ended := make(chan error, 1)
	go func() {
		var err error
		out, err = cmd.CombinedOutput()
		ended <- err
	}()
	for {
		select {
		case work := <-c.work:
			work()
		case err := <-ended:
			if err != nil {
				t.Errorf("%v\n%s", err, failures(string(out)))
			}
			t.Log(summary(string(out)))
			return
		}
	}
}

// failures is of a TAP stream what is not ok.
func failures(tap string) string {
	var b strings.Builder
	keep := false
	for line := range strings.Lines(tap) {
		switch text := strings.TrimLeft(line, " "); {
		case strings.HasPrefix(text, "ok "), strings.HasPrefix(text, "# Subtest"):
			keep = false
		case strings.HasPrefix(text, "not ok "), strings.HasPrefix(text, "# "):
			keep = true
		}
		if keep {
			b.WriteString(line)
		}
	}
	return b.String()
}

// summary is the counts at the end of a TAP stream.
func summary(tap string) string {
	var b strings.Builder
	for line := range strings.Lines(tap) {
		for _, what := range []string{"# tests ", "# pass ", "# fail ", "# skipped "} {
			if strings.HasPrefix(line, what) {
				b.WriteString(strings.TrimSpace(line[2:]) + " ")
			}
		}
	}
	return b.String()
}

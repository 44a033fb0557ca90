package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/grima-chat/grima/internal/pgtest"
)

func TestMain(m *testing.M) {
	os.Setenv("GRIMA_KEYRING", "off") // whoever runs this has one of his own
	testscript.Main(withPostgres{m}, map[string]func(){
		"grima": func() {
			os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

// withPostgres stops the PostgreSQL that a test started.
type withPostgres struct{ m *testing.M }

func (w withPostgres) Run() int { return pgtest.Main(w.m) }

// TestScripts runs testdata/script, conversations with the real program.
// Beside testscript's own commands they have:
//
//	serve [FLAG]...        start grima serve on a free port and wait until it is
//	                       ready; sets $ADDR, and $LINK and $CODE if it shows
//	                       the owner's link; what it prints is in serve.log
//	await REGEXP           wait until the server has printed such a line
//	end [SIGNAL]           send TERM, or SIGNAL, and wait for exit code 0; not "stop",
//	                       which ends a script before its end, as testscript has it
//	hup                    send HUP
//	lines [-tls] FILE      send the lines of FILE to the server, with $NAMEs in
//	                       them expanded, and print all that it answers
//	exitcode N COMMAND...  run COMMAND and want exit code N
//	certificate NAME       write cert.pem and key.pem for NAME
//	private FILE           want FILE to be its owner's alone
//	invitecode FILE        set $CODE to the code that invites.create gave
//	tokenof FILE           set $TOKEN to the token that tokens.create gave
//	follow [ARG]...        start grima tail with ARGs and wait until it hears
//	heard REGEXP           wait until it has printed such a line
//	unfollow               end it
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GRIMA_DATA", filepath.Join(env.WorkDir, "data"))
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("GRIMA_KEYRING", "off")
			// What a terminal could obey, and what would turn text around.
			env.Setenv("EVIL", "{\"chat_id\":\"c_2\",\"content\":\"evil \\u001b]0;owned\\u0007 \\u202etxt\"}")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":       scriptServe,
			"await":       scriptAwait,
			"end":         scriptEnd,
			"hup":         scriptHup,
			"lines":       scriptLines,
			"exitcode":    scriptExitCode,
			"certificate": scriptCertificate,
			"private":     scriptPrivate,
			"invitecode":  scriptInviteCode,
			"tokenof":     scriptTokenOf,
			"follow":      scriptFollow,
			"heard":       scriptHeard,
			"unfollow":    scriptUnfollow,
		},
	})
}

// patience bounds every wait of the tests; nothing should come near it.
const patience = 60 * time.Second

// running is a grima serve that a test started.
type running struct {
	cmd *exec.Cmd
	err error
	end chan struct{} // closed when it has ended and printed its last

	mu   sync.Mutex
	more *sync.Cond
	text strings.Builder
	over bool
}

// startServer starts `grima serve` with args in dir and waits until it is
// ready.
func startServer(dir string, env []string, args ...string) (*running, error) {
	r, err := launch(dir, env, args...)
	if err != nil {
		return nil, err
	}
	if _, err := r.await(`listening on (\S+)`); err != nil {
		r.kill()
		return nil, err
	}
	return r, nil
}

// launch starts `grima serve` with args in dir.
func launch(dir string, env []string, args ...string) (*running, error) {
	r := &running{end: make(chan struct{})}
	r.more = sync.NewCond(&r.mu)
	r.cmd = exec.Command("grima", append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	r.cmd.Dir, r.cmd.Env = dir, env
	out, err := r.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(r.end)
		for s := bufio.NewScanner(out); s.Scan(); {
			r.print(s.Text()+"\n", false)
		}
		r.err = r.cmd.Wait()
		r.print("", true)
	}()
	return r, nil
}

func (r *running) print(s string, over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text.WriteString(s)
	r.over = over
	r.more.Broadcast()
}

func (r *running) output() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// await waits for a line that matches, and returns what its first group does.
func (r *running) await(pattern string) (string, error) {
	re, err := regexp.Compile("(?m)" + pattern)
	if err != nil {
		return "", err
	}
	late := false
	timer := time.AfterFunc(patience, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		late = true
		r.more.Broadcast()
	})
	defer timer.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if m := re.FindStringSubmatch(r.text.String()); m != nil {
			return m[len(m)-1], nil
		}
		if r.over || late {
			return "", fmt.Errorf("the server never printed %q (it has ended: %v), but:\n%s", pattern, r.over, r.text.String())
		}
		r.more.Wait()
	}
}

// stop sends sig and waits for the end.
func (r *running) stop(sig syscall.Signal) error {
	if err := r.cmd.Process.Signal(sig); err != nil {
		return err
	}
	select {
	case <-r.end:
		return r.err
	case <-time.After(patience):
		r.kill()
		return fmt.Errorf("the server did not stop on %v:\n%s", sig, r.output())
	}
}

// kill ends what is left of it.
func (r *running) kill() {
	_ = r.cmd.Process.Kill() // it may have ended by itself
	<-r.end
}

// servers maps each script to its server.
var servers sync.Map

func serverOf(ts *testscript.TestScript) *running {
	r, ok := servers.Load(ts)
	if !ok {
		ts.Fatalf("no server runs; begin with: serve")
	}
	return r.(*running)
}

func scriptServe(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("for a server that refuses to start: ! exec grima serve")
	}
	env := append(os.Environ(), "GRIMA_DATA="+ts.Getenv("GRIMA_DATA"), "HOME="+ts.Getenv("HOME"))
	r, err := startServer(ts.MkAbs("."), env, args...)
	ts.Check(err)
	servers.Store(ts, r)
	ts.Defer(r.kill)
	addr, err := r.await(`listening on (\S+)`)
	ts.Check(err)
	ts.Setenv("ADDR", addr)
	if m := regexp.MustCompile(`\S+/join#(gi_\S+)`).FindStringSubmatch(r.output()); m != nil {
		ts.Setenv("LINK", m[0])
		ts.Setenv("CODE", m[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs("serve.log"), []byte(r.output()), 0o600))
}

func scriptAwait(ts *testscript.TestScript, _ bool, args []string) {
	_, err := serverOf(ts).await(args[0])
	ts.Check(err)
}

func scriptEnd(ts *testscript.TestScript, neg bool, args []string) {
	sig := syscall.SIGTERM
	if len(args) == 1 && args[0] == "INT" {
		sig = syscall.SIGINT
	}
	r := serverOf(ts)
	err := r.stop(sig)
	ts.Check(os.WriteFile(ts.MkAbs("serve.log"), []byte(r.output()), 0o600))
	if (err != nil) != neg {
		ts.Fatalf("the server ended with %v:\n%s", err, r.output())
	}
}

func scriptExitCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if want := args[0]; strconv.Itoa(code) != want {
		ts.Fatalf("exit code %d, not %s", code, want)
	}
}

func scriptHup(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(serverOf(ts).cmd.Process.Signal(syscall.SIGHUP))
}

func scriptLines(ts *testscript.TestScript, _ bool, args []string) {
	var conn net.Conn
	var err error
	if args[0] == "-tls" {
		args = args[1:]
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(ts.ReadFile("cert.pem")))
		conn, err = tls.Dial("tcp", ts.Getenv("ADDR"), &tls.Config{RootCAs: pool, ServerName: "localhost"})
	} else {
		conn, err = net.Dial("tcp", ts.Getenv("ADDR"))
	}
	ts.Check(err)
	defer conn.Close()
	ts.Check(conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, os.Expand(ts.ReadFile(args[0]), ts.Getenv))
	ts.Check(err)
	ts.Check(conn.(interface{ CloseWrite() error }).CloseWrite())
	_, err = io.Copy(ts.Stdout(), conn)
	ts.Check(err)
}

// scriptCertificate writes a certificate that signs itself.
func scriptCertificate(ts *testscript.TestScript, _ bool, args []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: args[0]},
		DNSNames:     []string{args[0]},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IsCA:         true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	ts.Check(err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
}

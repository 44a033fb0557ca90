// Package testserver runs a whole Grima inside a test: a real store in the
// test's directory, one port on loopback with lines, HTTP and TLS, and people
// whose scripts read like transcripts.
//
//	srv := testserver.Start(t)
//	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
//	port := ana.Group("Port", bob)
//	ana.Send(port, "hi")
//	bob.Expect("hi")
//
// When the test ends, the server is stopped, the store is looked over for
// holes, and no goroutine may be left. Tests that use it do not run in
// parallel with one another, as the goroutines of one would be the other's.
package testserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/httpapi"
	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/limits"
	"github.com/grima-chat/grima/internal/password"
	"github.com/grima-chat/grima/internal/queue"
	"github.com/grima-chat/grima/internal/server"
	"github.com/grima-chat/grima/internal/store/sqlite"
	"github.com/grima-chat/grima/internal/store/storetest"
	"github.com/grima-chat/grima/internal/stream"
)

// Options change what Start starts. The zero Options is a server with TLS
// beside plain text, open registration, and no limits on rates.
type Options struct {
	Stream       func(*stream.Config)          // to set bounds
	Server       func(*server.Config)          // to set limits
	Client       fs.FS                         // the web client
	Origins      []string                      // of pages that may open a WebSocket
	Registration chat.Registration             // empty: open
	Limits       bool                          // keep the limits on rates
	Rates        *limits.Config                // those on requests and connections, if not nil; with Limits they are the usual ones
	Store        func(chat.Store) chat.Store   // wraps the store, to make it misbehave
	Hub          func(*hub.Config)             // to set bounds
	Publisher    func(*hub.Hub) chat.Publisher // stands before the hub, to make news go astray
	MayFail      bool                          // errors in the log and at the stop are part of the test

	Bus    func(epoch string) hub.Bus                 // to others on the same store; it is closed with the server if it can be
	Open   func(log *slog.Logger) (chat.Store, error) // opens the store (nil: SQLite, in Dir)
	Beside *Server                                    // whose store this one serves too, and which outlives it; with Open, in a store of its own on the same data
	Roles  api.Roles                                  // what is served (everything)
	Leaks  bool                                       // goroutines of others come and go meanwhile
}

// Workers is how connections get their turns in tests: as GRIMA_WORKERS says.
func Workers() queue.Design { return queue.Design(os.Getenv("GRIMA_WORKERS")) }

// cheap makes hashing a password cost next to nothing.
var cheap = password.Params{Memory: 64, Time: 1}

// Server is a running server.
type Server struct {
	t    testing.TB
	opts Options
	log  *slog.Logger

	Dir     string // of the data
	Addr    string // of the one port
	Store   chat.Store
	under   chat.Store // below what Options.Store put around it
	Hub     *hub.Hub
	Service *chat.Service
	API     *api.API
	Front   *server.Server
	Limits  *limits.Limits // nil: none

	bus  hub.Bus // nil: none
	stop context.CancelFunc
	done chan error
}

// Start starts a server that ends with the test.
func Start(t testing.TB, options ...Options) *Server {
	t.Helper()
	s := &Server{t: t, Dir: filepath.Join(t.TempDir(), "data")}
	if len(options) > 0 {
		s.opts = options[0]
	}
	s.log = slog.New(&failing{Handler: slog.NewTextHandler(t.Output(), nil), t: t, may: s.opts.MayFail})
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if s.stop != nil {
			s.Stop()
		}
		http.DefaultClient.CloseIdleConnections()
		if s.opts.Beside == nil && !s.opts.Leaks {
			noneLeft(t, before)
		}
	})
	s.start()
	return s
}

// noneLeft waits until no goroutines are left but those. By itself goleak gives
// up after half a second.
func noneLeft(t testing.TB, but goleak.Option) {
	t.Helper()
	for began := time.Now(); ; {
		err := goleak.Find(but)
		if err == nil {
			return
		}
		if time.Since(began) > patience {
			t.Error(err)
			return
		}
	}
}

// Restart stops the server cleanly and starts it again on the same data, at
// another port.
func (s *Server) Restart() {
	s.t.Helper()
	s.RestartAfter(func() {})
}

// RestartAfter is Restart with something done to the data, in Dir, while no
// server runs.
func (s *Server) RestartAfter(do func()) {
	s.t.Helper()
	s.Stop()
	do()
	s.start()
}

// Crash ends the server and starts it again, at another port, on a copy of the
// files as they were before the store was closed: what is in the write-ahead
// log stays there to be recovered. Whoever calls it sees to it that no client
// and no update gets through any more, see [Server.Dir] for where the data is
// afterwards. from, when not empty, is a directory with an older copy to go on
// with instead.
func (s *Server) Crash(from string) {
	s.t.Helper()
	s.stop()
	s.stop = nil
	err := <-s.done
	s.t.Logf("crashing: %v", err)
	s.leave()
	if s.borrows() {
		s.start()
		return
	}
	if s.opts.Open == nil {
		if from == "" {
			from = s.Copy()
		}
		s.Dir = from
	}
	if err := s.Store.Close(); err != nil && !s.opts.MayFail {
		s.t.Errorf("closing the store: %v", err)
	}
	s.start()
}

// borrows reports whether the store is another server's, which keeps it.
func (s *Server) borrows() bool { return s.opts.Beside != nil && s.opts.Open == nil }

// Copy makes a copy of the store's files, which nobody may be writing to, and
// gives its directory.
func (s *Server) Copy() (dir string) {
	s.t.Helper()
	dir = filepath.Join(s.t.TempDir(), "data")
	must(os.Mkdir(dir, 0o700))
	for _, name := range []string{"grima.db", "grima.db-wal"} {
		data, err := os.ReadFile(filepath.Join(s.Dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		must(err)
		must(os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	return dir
}

func (s *Server) start() {
	s.t.Helper()
	switch {
	case s.opts.Open != nil:
		must(os.MkdirAll(s.Dir, 0o700))
		store, err := s.opts.Open(s.log)
		if err != nil {
			s.t.Fatalf("opening the store: %v", err)
		}
		s.Store = store
	case s.opts.Beside != nil:
		must(os.MkdirAll(s.Dir, 0o700))
		s.Store = s.opts.Beside.under
	default:
		store, err := sqlite.Open(s.t.Context(), sqlite.Config{Dir: s.Dir, Log: s.log})
		if err != nil {
			s.t.Fatalf("opening the store: %v", err)
		}
		s.Store = store
	}
	s.under = s.Store
	if s.opts.Store != nil {
		s.Store = s.opts.Store(s.Store)
	}
	hubConfig := hub.Config{
		Encode:         api.AppendEvent,
		EncodeRead:     api.AppendRead,
		EncodePlace:    api.AppendPlace,
		EncodeTyping:   api.AppendTyping,
		EncodePresence: api.AppendPresence,
		EncodeUser:     api.AppendUser,
		Source:         chat.NewLog(s.Store),
		Log:            s.log,
	}
	var underway *chat.Underway
	s.bus = nil
	if s.opts.Bus != nil {
		underway = &chat.Underway{}
		s.bus = s.opts.Bus(s.Store.Epoch())
		hubConfig.Source, hubConfig.Bus, hubConfig.Sessions = chat.NewSharedLog(s.Store, underway), s.bus, 3*time.Second
		hubConfig.Deaf = s.opts.Roles.Role == api.RoleData
	}
	if s.opts.Hub != nil {
		s.opts.Hub(&hubConfig)
	}
	s.Hub = hub.New(hubConfig)
	if err := s.Hub.Join(); err != nil {
		s.t.Fatalf("joining the others: %v", err)
	}
	var publisher chat.Publisher = s.Hub
	if s.opts.Publisher != nil {
		publisher = s.opts.Publisher(s.Hub)
	}
	registration := s.opts.Registration
	if registration == "" {
		registration = chat.RegistrationOpen
	}
	s.Service = chat.NewService(chat.Config{
		Store: s.Store, Publisher: publisher, Passwords: password.New(cheap),
		Registration: registration, NoLimits: !s.opts.Limits, Statuses: s.Hub.Statuses, Underway: underway, Log: s.log,
	})
	s.API = api.New(s.Service)
	s.API.Log = s.log
	s.API.Roles = s.opts.Roles
	s.Limits = nil
	if s.opts.Rates != nil {
		rates := *s.opts.Rates
		rates.Nodes, rates.Elsewhere = s.Hub.Nodes, s.Hub.Elsewhere
		s.Limits = limits.New(rates)
	} else if s.opts.Limits {
		s.Limits = limits.New(limits.Config{})
	}
	lines := stream.Config{API: s.API, Service: s.Service, Hub: s.Hub, Limits: s.Limits, Software: "grima/test", Workers: Workers(), Log: s.log}
	if s.opts.Stream != nil {
		s.opts.Stream(&lines)
	}
	cert, key := certificate(s.t)
	cfg := server.Config{
		Listen: "127.0.0.1:0", Control: filepath.Join(s.Dir, "control.sock"),
		CertFile: cert, KeyFile: key,
		Lines: stream.New(lines),
		HTTP: httpapi.New(httpapi.Config{
			API: s.API, Service: s.Service, Limits: s.Limits, Log: s.log,
			Ready:    func() error { return s.Front.Ready() },
			TakeOver: func(t httpapi.Taken) { s.Front.TakeOver(t) },
			Client:   s.opts.Client,
			Origins:  s.opts.Origins,
		}),
		Failed: s.Store.Failed(), Err: s.Store.Err,
		NoLimits: !s.opts.Limits, Log: s.log,
	}
	if s.opts.Server != nil {
		s.opts.Server(&cfg)
	}
	var err error
	if s.Front, err = server.New(cfg); err == nil {
		err = s.Front.Listen()
	}
	if err != nil {
		s.t.Fatalf("starting: %v", err)
	}
	s.Addr = s.Front.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	s.stop, s.done = cancel, make(chan error, 1)
	go func() { s.done <- s.Front.Serve(ctx) }()
}

// Stop stops the server cleanly and looks the store over.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.Shutdown(); err != nil && !s.opts.MayFail {
		s.t.Errorf("stopping: %v", err)
	}
}

// Shutdown is Stop for tests that want to see the error of serving.
func (s *Server) Shutdown() error {
	s.t.Helper()
	s.stop()
	s.stop = nil
	err := <-s.done
	s.API.Close()
	s.leave()
	if s.borrows() {
		return err
	}
	if s.opts.Beside == nil {
		storetest.CheckLog(s.t, s.Store)
	}
	if closed := s.Store.Close(); closed != nil && !s.opts.MayFail {
		s.t.Errorf("closing the store: %v", closed)
	}
	return err
}

// leave ends the hub and its bus.
func (s *Server) leave() {
	s.Hub.Close()
	if bus, ok := s.bus.(io.Closer); ok {
		if err := bus.Close(); err != nil && !s.opts.MayFail {
			s.t.Errorf("leaving the bus: %v", err)
		}
	}
}

// Failed waits until the server ends by itself and returns why.
func (s *Server) Failed() error {
	s.t.Helper()
	select {
	case err := <-s.done:
		s.done <- err
		return err
	case <-time.After(patience):
		s.t.Fatal("the server goes on")
		return nil
	}
}

// Dial connects to the port, as nc would.
func (s *Server) Dial() *Conn {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	return NewConn(s.t, nc)
}

// DialTLS connects to the port with TLS.
func (s *Server) DialTLS() *Conn {
	s.t.Helper()
	nc, err := tls.Dial("tcp", s.Addr, TLSConfig())
	if err != nil {
		s.t.Fatal(err)
	}
	return NewConn(s.t, nc)
}

// DialOperator connects to the control socket.
func (s *Server) DialOperator() *Conn {
	s.t.Helper()
	nc, err := server.DialControl(s.t.Context(), filepath.Join(s.Dir, "control.sock"))
	if err != nil {
		s.t.Fatal(err)
	}
	return NewConn(s.t, nc)
}

// URL is where HTTP is.
func (s *Server) URL() string { return "http://" + s.Addr }

// TLSConfig trusts the certificate of every server of this package.
func TLSConfig() *tls.Config {
	return &tls.Config{RootCAs: selfMade().pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}
}

// Authority is what TLSConfig trusts, in PEM.
func Authority() []byte { return selfMade().cert }

// ServerTLS is what a server serves that TLSConfig trusts.
func ServerTLS() *tls.Config {
	pair, err := tls.X509KeyPair(selfMade().cert, selfMade().key)
	must(err)
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

// failing is a log that fails the test when something goes wrong in the
// server that no client would see.
type failing struct {
	slog.Handler

	t   testing.TB
	may bool
}

func (f *failing) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError && !f.may {
		f.t.Errorf("the server logged an error: %s", r.Message)
	}
	return f.Handler.Handle(ctx, r)
}

func (f *failing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &failing{f.Handler.WithAttrs(attrs), f.t, f.may}
}

func (f *failing) WithGroup(name string) slog.Handler {
	return &failing{f.Handler.WithGroup(name), f.t, f.may}
}

// identity is a certificate that this process made for itself.
type identity struct {
	cert, key []byte // PEM
	pool      *x509.CertPool
}

var selfMade = sync.OnceValue(func() identity {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), // also where a test's clock begins in 2000
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	id := identity{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		pool: x509.NewCertPool(),
	}
	id.pool.AppendCertsFromPEM(id.cert)
	return id
})

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func certificate(t testing.TB) (certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, content := range map[string][]byte{certFile: selfMade().cert, keyFile: selfMade().key} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

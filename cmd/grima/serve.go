package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/httpapi"
	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/hub/natsbus"
	"github.com/grima-chat/grima/internal/metrics"
	"github.com/grima-chat/grima/internal/password"
	"github.com/grima-chat/grima/internal/queue"
	"github.com/grima-chat/grima/internal/server"
	"github.com/grima-chat/grima/internal/store/sqlite"
	"github.com/grima-chat/grima/internal/stream"
	"github.com/grima-chat/grima/web"
)

type serveCmd struct{ serveFlags }

func (*serveCmd) Help() string {
	return `Signals: TERM and INT stop it cleanly (a second one at once), HUP reads the TLS certificate again. Exit code 0 after a clean stop, 1 when it failed, 2 when it was called wrongly.

    grima serve --dev                      # try it out
    grima serve                            # this machine only, by invite
    grima serve --config /etc/grima/grima.conf
    grima serve --listen :7007 --tls-cert cert.pem --tls-key key.pem

` + configHelp
}

// Run serves until a signal, ctx, or a failure of the store ends it.
func (c *serveCmd) Run(ctx context.Context, std stdio) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	defer paceGC()()
	// Whoever reads our output may go away; that is no reason to stop.
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 2)
	defer signal.Stop(signals)
	signal.Notify(signals, syscall.SIGHUP)

	log, err := newLogger(std.err, &c.serveFlags)
	if err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		log.Warn("running as root; a user of its own would do (docs/operations.md#systemd)")
	}
	if err := prepareData(c.Data); err != nil {
		return err
	}
	// Recovery after a crash can take its time. Until it is done TERM and INT
	// have their usual effect: they end us at once, which the store can take.
	log.Info("opening the store", "data", c.Data, "store", storeWithoutPassword(c.Store))
	store, err := c.openStore(ctx, sqlite.Config{Dir: c.Data, Log: log, WALBound: int64(c.WALMiB) << 20})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	return c.serve(ctx, std, log, store, signals)
}

// serve is Run with a store.
func (c *serveCmd) serve(ctx context.Context, std stdio, log *slog.Logger, store chat.Store, signals chan os.Signal) error {
	bus, err := c.bus(store, log)
	if err != nil {
		return err
	}
	if bus != nil {
		defer func() {
			if err := bus.Close(); err != nil {
				log.Warn("leaving the bus", "error", err)
			}
		}()
	}
	in, err := c.wire(log, store, bus)
	if err != nil {
		return err
	}
	defer in.close()
	if err := in.live.Join(); err != nil {
		return err
	}
	srv, svc := in.srv, in.svc
	if err := srv.Listen(); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx) }()

	url := c.publicURL(srv.Addr())
	link, err := ownerLink(ctx, svc, c.Data, url)
	if err != nil {
		stop()
		return errors.Join(err, <-served)
	}
	if err := writeOwn(filepath.Join(c.Data, urlFile), url); err != nil {
		log.Warn("could not write down where people reach the server; grima invite needs --url", "error", err)
	}
	banner(std.err, &c.serveFlags, srv.Addr(), link)
	log.Info("serving", "address", srv.Addr().String(), "version", build().Version)

	for {
		select {
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				c.reload(log, srv)
				continue
			}
			log.Info("stopping", "signal", sig.String())
			// The next one has its usual effect: it ends us at once.
			signal.Reset(syscall.SIGTERM, syscall.SIGINT)
			stop()
		case err := <-served:
			log.Info("stopped")
			if cause := store.Err(); cause != nil {
				return c.storeFailed(err, cause)
			}
			if cause := failureOf(store)(); cause != nil {
				return fmt.Errorf("the store could not write any more; see docs/operations.md#moved-files before starting again: %w", errors.Join(err, cause))
			}
			return errors.Join(err, dropOwnerLink(context.WithoutCancel(ctx), svc, c.Data))
		}
	}
}

// storeFailed says what to do after a failure of the store, which err, the end
// of the serving, knows of or not: a stop may have come first.
func (f *dataFlags) storeFailed(err, cause error) error {
	if !errors.Is(err, cause) {
		err = errors.Join(err, cause)
	}
	if f.shared() {
		return fmt.Errorf("the store cannot be written to any more; everything that was acknowledged is in the database. "+
			"Look at what it says, and start again: %w", err)
	}
	return fmt.Errorf("the store cannot write any more; everything that was acknowledged is on disk. "+
		"Look at the disk (is %s full, or broken?) and start again: %w", f.Data, err)
}

// rooms are those of a server that others here have to do with.
type rooms struct {
	srv  *server.Server
	svc  *chat.Service
	live *hub.Hub
	api  *api.API
}

// close is called once nobody is served any more.
func (r *rooms) close() {
	r.api.Close()
	r.live.Close()
}

// wire puts the rooms together, each on the ones below it.
func (c *serveCmd) wire(log *slog.Logger, store chat.Store, bus *natsbus.Bus) (*rooms, error) {
	token, err := c.metricsToken()
	if err != nil {
		return nil, err
	}
	cfg := hub.Config{
		Encode:         api.AppendEvent,
		EncodeRead:     api.AppendRead,
		EncodePlace:    api.AppendPlace,
		EncodeTyping:   api.AppendTyping,
		EncodePresence: api.AppendPresence,
		EncodeUser:     api.AppendUser,
		Source:         chat.NewLog(store),
		Deaf:           c.Role == string(api.RoleData),
		Log:            log,
	}
	var underway *chat.Underway
	reach := reachOf(store)
	if c.shared() {
		underway = &chat.Underway{}
		cfg.Source, cfg.Sessions = chat.NewSharedLog(store, underway), checkSessions
		reach = (&probe{store: store}).reach
	}
	if bus != nil {
		cfg.Bus = bus
	}
	live := hub.New(cfg)
	hasher := password.New(password.Params{})
	statuses := live.Statuses
	if c.NoPresence {
		statuses = nil
	}
	svc := chat.NewService(chat.Config{
		Store:        store,
		Publisher:    live,
		Passwords:    hasher,
		Registration: c.registration(),
		NoLimits:     c.Dev,
		Statuses:     statuses,
		Underway:     underway,
		Log:          log,
	})
	asked := metrics.NewRequests()
	requests := api.New(svc)
	requests.Log = log
	requests.Roles = c.roles()
	requests.Observer = asked
	software := "grima/" + build().Version
	bounds := c.limits(live)

	lines := stream.New(stream.Config{
		API: requests, Service: svc, Hub: live, Limits: bounds, Software: software, ServerID: c.name(), Workers: queue.Design(c.Workers), Log: log,
	})
	var srv *server.Server
	shown := metrics.NewRegistry(metrics.Config{
		Version: build().Version, Commit: build().Commit,
		Requests: asked, Limits: bounds.Stats, Passwords: hasher.Stats, Failure: failureOf(store),
		Server: func() server.Stats { return srv.Stats() },
		Store:  ofStore(store), Hub: live.Stats, Bus: ofBus(bus), Stream: ofStream(lines),
		Queue: lines.Queue,
	})
	srv, err = server.New(server.Config{
		Listen:      c.Listen,
		Control:     filepath.Join(c.Data, controlSocket),
		CertFile:    c.TLSCert,
		KeyFile:     c.TLSKey,
		BehindProxy: c.BehindProxy,
		Insecure:    c.Insecure,
		Lines:       lines,
		HTTP: httpapi.New(httpapi.Config{
			API: requests, Service: svc, Limits: bounds, Software: software, BehindProxy: c.BehindProxy, ClientHeader: c.TrustedHeader, Log: log,
			Ready:    func() error { return srv.Ready() },
			Degraded: degraded(bus),
			TakeOver: func(t httpapi.Taken) { srv.TakeOver(t) },
			Origins:  c.origins(),
			Observe:  asked.HTTP,
			Client:   web.Files(),
			Reported: asked.Report,
			Metrics:  metrics.Handler(shown, log), MetricsToken: token,
		}),
		Failed:        store.Failed(),
		Err:           store.Err,
		Reach:         reach,
		Tidy:          restOf(store),
		MaxPerAddress: c.perAddress(),
		NoLimits:      c.Dev,
		StopTimeout:   c.ShutdownTimeout,
		Log:           log,
	})
	in := &rooms{srv, svc, live, requests}
	if err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// checkSessions is how often a server asks the store for the sessions of its
// connections, where others may end them.
const checkSessions = 3 * time.Second

// degraded says what is not as it should be and no reason to send clients
// elsewhere.
func degraded(bus *natsbus.Bus) func() string {
	return func() string {
		if bus == nil || bus.Connected() {
			return ""
		}
		return "the bus is not connected; what is new on other servers comes from the store, and later"
	}
}

// reload reads the certificate again, if there is one; the old one stays if that
// fails.
func (c *serveCmd) reload(log *slog.Logger, srv *server.Server) {
	if c.TLSCert == "" {
		log.Info("HUP reads the certificate again, and there is none; other settings are read at the start only")
		return
	}
	if err := srv.ReloadCertificate(); err != nil {
		log.Error("reading the certificate again failed; the old one stays", "error", err)
		return
	}
	log.Info("read the certificate again")
}

// newLogger makes the log that flags ask for.
func newLogger(w io.Writer, f *serveFlags) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.LogLevel)); err != nil {
		return nil, usagef("--log-level: %w", err)
	}
	options := &slog.HandlerOptions{Level: level}
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return slog.New(slog.NewTextHandler(w, options)), nil
}

// Package natsbus is hub.Bus on NATS: core subjects, nothing stored, one
// connection. Each kind of payload has a subject PREFIX.EPOCH.KIND, so that
// servers whose stores have different histories do not hear one another, even
// on one NATS server.
//
// While there is no connection, publishing fails and nothing is kept for later:
// who is back tells its hub that it may have missed something, and what the
// hints were about is in the store.
package natsbus

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/grima-chat/grima/internal/hub"
)

// Config says where NATS is. URL and Epoch are required; of the rest, zero means
// the value in parentheses.
type Config struct {
	// URL is nats:// or tls:// with a host and perhaps a port, or several of them
	// between commas. It may have a user and a password, or a token, and is
	// never logged.
	URL   string
	Epoch string // of the store
	// Prefix begins all subjects (grima).
	Prefix string
	Name   string // of this node, for the server's list of connections

	CAFile    string // PEM; whom to believe in TLS, instead of those of the system
	CredsFile string // a user's JWT and seed
	NKeyFile  string // a user's seed

	Log *slog.Logger // (slog.Default())

	// For tests.
	ReconnectWait time.Duration // (500 ms, and up to half as much again)
}

const (
	dialTimeout  = 5 * time.Second
	writeTimeout = 5 * time.Second
	// Two pings without an answer are a lost connection.
	pingInterval = 5 * time.Second
	// What waits for the hub, per kind. Beyond it payloads are dropped, and the
	// hub looks into the store.
	pendingMessages = 1 << 16
	pendingBytes    = 64 << 20
)

// Bus is a hub.Bus. Close must be called.
type Bus struct {
	cfg    Config
	prefix string
	nc     *nats.Conn

	reconnects, dropped atomic.Int64

	mu      sync.Mutex
	missed  func()
	said    string // the last error that was logged
	wasDown bool
}

// New connects, or begins to try: NATS may come later, and what is wrong with
// it is logged. The error is one of the configuration.
func New(cfg Config) (*Bus, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "grima"
	}
	if cfg.ReconnectWait == 0 {
		cfg.ReconnectWait = 500 * time.Millisecond
	}
	if err := CheckURL(cfg.URL); err != nil {
		return nil, err
	}
	b := &Bus{cfg: cfg, prefix: cfg.Prefix + "." + token(cfg.Epoch) + "."}
	options, err := b.options()
	if err != nil {
		return nil, err
	}
	if b.nc, err = nats.Connect(cfg.URL, options...); err != nil {
		return nil, fmt.Errorf("connecting to NATS: %w", err)
	}
	if !b.nc.IsConnected() {
		b.mu.Lock()
		b.wasDown = true
		b.mu.Unlock()
		cfg.Log.Warn("NATS cannot be reached; other nodes' news come from the store, and later", "servers", Hosts(cfg.URL))
	}
	return b, nil
}

func (b *Bus) options() ([]nats.Option, error) {
	cfg := b.cfg
	options := []nats.Option{
		nats.Name(cfg.Name), nats.NoEcho(), nats.Timeout(dialTimeout), nats.FlusherTimeout(writeTimeout),
		nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(2),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(cfg.ReconnectWait), nats.ReconnectJitter(cfg.ReconnectWait/2, cfg.ReconnectWait/2),
		nats.ReconnectBufSize(-1), // a late hint is none
		nats.ConnectHandler(func(*nats.Conn) { b.connected() }),
		nats.ReconnectHandler(func(*nats.Conn) {
			b.reconnects.Add(1)
			b.connected()
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { b.down(err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { b.complain("NATS cannot be reached", err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { b.failed(err) }),
	}
	if cfg.CAFile != "" {
		if _, err := os.ReadFile(cfg.CAFile); err != nil {
			return nil, fmt.Errorf("reading the authorities of NATS: %w", err)
		}
		options = append(options, nats.RootCAs(cfg.CAFile))
	}
	if cfg.CredsFile != "" && cfg.NKeyFile != "" {
		return nil, errors.New("a connection to NATS has credentials or an nkey, not both")
	}
	if cfg.CredsFile != "" {
		if _, err := os.ReadFile(cfg.CredsFile); err != nil {
			return nil, fmt.Errorf("reading the credentials for NATS: %w", err)
		}
		options = append(options, nats.UserCredentials(cfg.CredsFile))
	}
	if cfg.NKeyFile != "" {
		option, err := nats.NkeyOptionFromSeed(cfg.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("reading the nkey for NATS: %w", err)
		}
		options = append(options, option)
	}
	return options, nil
}

// Subscribe implements hub.Bus.
func (b *Bus) Subscribe(kinds []hub.Kind, receive func(hub.Kind, []byte), missed func()) error {
	b.mu.Lock()
	b.missed = missed
	b.mu.Unlock()
	for _, kind := range kinds {
		sub, err := b.nc.Subscribe(b.prefix+string(kind), func(m *nats.Msg) { receive(kind, m.Data) })
		if err == nil {
			err = sub.SetPendingLimits(pendingMessages, pendingBytes)
		}
		if err != nil {
			return fmt.Errorf("subscribing to %s at NATS: %w", kind, err)
		}
	}
	return nil
}

var errNotConnected = errors.New("there is no connection to NATS")

// Publish implements hub.Bus.
func (b *Bus) Publish(kind hub.Kind, payload []byte) error {
	if !b.nc.IsConnected() {
		return errNotConnected
	}
	if err := b.nc.Publish(b.prefix+string(kind), payload); err != nil {
		return fmt.Errorf("publishing at NATS: %w", err)
	}
	return nil
}

// Close ends the connection, after what was published is on its way. Nothing is
// received after it.
func (b *Bus) Close() error {
	var err error
	if b.nc.IsConnected() {
		err = b.nc.FlushTimeout(time.Second)
	}
	b.mu.Lock()
	b.missed = nil
	b.mu.Unlock()
	b.nc.Close()
	if err != nil {
		return fmt.Errorf("closing the connection to NATS: %w", err)
	}
	return nil
}

// Connected reports whether there is a connection now.
func (b *Bus) Connected() bool { return b.nc.IsConnected() }

// Stats is what came of the connection so far.
type Stats struct {
	Connected                                  bool
	Reconnects                                 int64 // times that it was lost and is back
	Dropped                                    int64 // times that payloads were dropped because the hub was too slow
	InMessages, OutMessages, InBytes, OutBytes uint64
}

// Stats is for metrics.
func (b *Bus) Stats() Stats {
	s := b.nc.Stats()
	return Stats{
		Connected: b.Connected(), Reconnects: b.reconnects.Load(), Dropped: b.dropped.Load(),
		InMessages: s.InMsgs, OutMessages: s.OutMsgs, InBytes: s.InBytes, OutBytes: s.OutBytes,
	}
}

func (b *Bus) connected() {
	b.mu.Lock()
	missed, was := b.missed, b.wasDown
	b.wasDown, b.said = false, ""
	b.mu.Unlock()
	if !was {
		return
	}
	b.cfg.Log.Info("connected to NATS", "servers", Hosts(b.cfg.URL))
	if missed != nil {
		missed()
	}
}

func (b *Bus) down(err error) {
	b.mu.Lock()
	b.wasDown = true
	over := b.missed == nil
	b.mu.Unlock()
	if !over {
		b.complain("the connection to NATS is lost; other nodes' news come from the store, and later", err)
	}
}

// failed hears of what is wrong on a connection that goes on.
func (b *Bus) failed(err error) {
	if !errors.Is(err, nats.ErrSlowConsumer) {
		b.complain("NATS reports an error", err)
		return
	}
	b.dropped.Add(1)
	b.complain("other nodes' news come faster than they are taken; what was dropped is looked for in the store", err)
	b.mu.Lock()
	missed := b.missed
	b.mu.Unlock()
	if missed != nil {
		missed()
	}
}

// complain logs an error, unless it is what it said last.
func (b *Bus) complain(what string, err error) {
	said := what
	if err != nil {
		said += ": " + err.Error()
	}
	b.mu.Lock()
	again := b.said == said
	b.said = said
	b.mu.Unlock()
	if !again {
		b.cfg.Log.Warn(what, "servers", Hosts(b.cfg.URL), "error", err)
	}
}

// CheckURL sees whether text is where NATS may be. Its error does not repeat it.
func CheckURL(text string) error {
	for one := range strings.SplitSeq(text, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Scheme != "nats" && u.Scheme != "tls" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
			return errors.New("that is not where NATS is; it looks like nats://HOST:4222, or tls://HOST:4222")
		}
	}
	return nil
}

// Hosts is what may be shown of a URL that CheckURL has let pass.
func Hosts(text string) string {
	var hosts []string
	for one := range strings.SplitSeq(text, ",") {
		if u, err := url.Parse(strings.TrimSpace(one)); err == nil {
			hosts = append(hosts, u.Host)
		}
	}
	return strings.Join(hosts, ",")
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// token is an epoch as a part of a subject.
func token(epoch string) string {
	if plain.MatchString(epoch) {
		return epoch
	}
	return "x" + hex.EncodeToString([]byte(epoch))
}

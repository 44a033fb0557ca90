package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/limits"
	"github.com/grima-chat/grima/internal/server"
	"github.com/grima-chat/grima/internal/websocket"
)

// defaultListen is the one port, for this machine only.
const defaultListen = "127.0.0.1:7007"

// headerName is what names of headers look like that people really use.
var headerName = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

// serveFlags is everything that can be set of a server.
type serveFlags struct {
	dataFlags
	nodeFlags

	Listen          string        `help:"Address of the one port." default:"127.0.0.1:7007" placeholder:"HOST:PORT" env:"GRIMA_LISTEN"`
	URL             string        `help:"Where people reach the server, for links. Default: what --listen says." placeholder:"URL" env:"GRIMA_URL"`
	TLSCert         string        `name:"tls-cert" help:"Certificate chain in PEM; read again on SIGHUP." placeholder:"FILE" env:"GRIMA_TLS_CERT"`
	TLSKey          string        `name:"tls-key" help:"Its private key in PEM." placeholder:"FILE" env:"GRIMA_TLS_KEY"`
	BehindProxy     bool          `help:"Something in front ends TLS and only it can reach this address." env:"GRIMA_BEHIND_PROXY"`
	TrustedHeader   string        `help:"Header in which the proxy of --behind-proxy tells the client's address, last. It must set or append to it on every request. Default: none is believed." placeholder:"NAME" env:"GRIMA_TRUSTED_HEADER"`
	AllowOrigin     string        `help:"Pages of these origins, between commas, may open a WebSocket here beside the server's own." placeholder:"https://HOST" env:"GRIMA_ALLOW_ORIGIN"`
	Insecure        bool          `help:"Serve a public address without TLS: passwords and messages cross the net in the clear." env:"GRIMA_INSECURE"`
	Registration    string        `help:"Who may make an account: whoever has an invite, anybody (open), or nobody (closed)." enum:"invite,open,closed" default:"invite" env:"GRIMA_REGISTRATION"`
	NoPresence      bool          `help:"Tell nobody who is there." env:"GRIMA_NO_PRESENCE"`
	RateFactor      float64       `help:"Multiply the limits on how often people may ask for something by this; 0: no limits." default:"1" placeholder:"N" env:"GRIMA_RATE_FACTOR"`
	UserConns       int           `name:"connections-per-user" help:"Live connections of one account; 0: any number." default:"50" placeholder:"N" env:"GRIMA_CONNECTIONS_PER_USER"`
	AddressConns    int           `name:"connections-per-address" help:"Connections from one address, not with --behind-proxy; 0: any number." default:"1000" placeholder:"N" env:"GRIMA_CONNECTIONS_PER_ADDRESS"`
	MetricsToken    string        `name:"metrics-token-file" help:"File with the token that lets others than programs on this machine read /metrics; at least 16 bytes." placeholder:"FILE" env:"GRIMA_METRICS_TOKEN_FILE"`
	Workers         string        `help:"How connections share the processors: ${enum} (docs/operations.md#workers)." enum:"per-client,shared,sharded" default:"sharded" env:"GRIMA_WORKERS"`
	Dev             bool          `help:"For trying things out on this machine: anybody may register, and nothing limits rates." env:"GRIMA_DEV"`
	LogLevel        string        `help:"Least severe entries to log: ${enum}." enum:"debug,info,warn,error" default:"info" env:"GRIMA_LOG_LEVEL"`
	LogFormat       string        `help:"Form of log entries: ${enum}." enum:"text,json" default:"text" env:"GRIMA_LOG_FORMAT"`
	WALMiB          int           `name:"wal-mib" help:"About how large the store's write-ahead log may grow, in MiB; a small disk wants less." default:"128" placeholder:"N" env:"GRIMA_WAL_MIB"`
	ShutdownTimeout time.Duration `help:"How long a stop waits for answers under way." default:"10s" placeholder:"TIME" env:"GRIMA_SHUTDOWN_TIMEOUT"`
}

// check finds what is wrong with the flags together, before anything starts, and
// cleans --url.
func (f *serveFlags) check() error {
	if _, err := lookAtData(f.Data); err != nil {
		return err
	}
	if err := f.checkStore(); err != nil {
		return err
	}
	local, err := server.Loopback(f.Listen)
	if err != nil {
		return usagef("--listen: %w", err)
	}
	if (f.TLSCert == "") != (f.TLSKey == "") {
		return usagef("--tls-cert and --tls-key go together: give both or neither")
	}
	if f.URL, err = cleanURL(f.URL); err != nil {
		return err
	}
	if err := f.nodeFlags.check(f.shared()); err != nil {
		return err
	}
	for _, origin := range f.origins() {
		if !websocket.ValidOrigin(origin) {
			return usagef("--allow-origin %s is no origin; one looks like https://chat.example.com", origin)
		}
	}
	if f.WALMiB < 1 || f.WALMiB > 1<<16 {
		return usagef("--wal-mib must be 1 to %d, not %d", 1<<16, f.WALMiB)
	}
	if f.ShutdownTimeout <= 0 {
		return usagef("--shutdown-timeout must be more than nothing, not %v", f.ShutdownTimeout)
	}
	if !(f.RateFactor >= 0 && f.RateFactor <= 1000) { // also not NaN
		return usagef("--rate-factor must be from 0 to 1000, not %v", f.RateFactor)
	}
	if f.RateFactor > 0 && f.RateFactor < 0.01 {
		return usagef("--rate-factor %v would let hardly anybody do anything; the least is 0.01, and 0 is no limits", f.RateFactor)
	}
	if f.UserConns < 0 || f.AddressConns < 0 {
		return usagef("--connections-per-user and --connections-per-address must not be below 0, which is any number")
	}
	if f.TrustedHeader != "" {
		if !f.BehindProxy {
			return usagef("--trusted-header %s needs --behind-proxy: without a proxy clients would choose their own address", f.TrustedHeader)
		}
		if !headerName.MatchString(f.TrustedHeader) {
			return usagef("--trusted-header %q is not the name of a header; one is X-Forwarded-For", f.TrustedHeader)
		}
	}
	if f.Dev && (f.BehindProxy || f.Insecure) {
		return usagef("--dev lets anybody in, so it serves this machine only, and neither --behind-proxy nor --insecure goes with it")
	}
	if f.Dev && !local {
		return usagef("--dev lets anybody in, so it serves this machine only: leave out --listen %s, or leave out --dev", f.Listen)
	}
	if err := f.network().Validate(); errors.Is(err, server.ErrInTheClear) {
		return usagef(`%s can be reached from other machines, and there is no TLS: passwords would cross the net in the clear. One of:
  --tls-cert FILE --tls-key FILE   serve TLS
  --behind-proxy                   a proxy in front ends TLS, and only it reaches this address
  --insecure                       in the clear all the same, as inside a private network
  --listen 127.0.0.1:7007          this machine only`, f.Listen)
	} else if err != nil {
		return usageError{err}
	}
	if _, err := f.metricsToken(); err != nil {
		return err
	}
	if f.TLSCert != "" {
		if _, err := tls.LoadX509KeyPair(f.TLSCert, f.TLSKey); err != nil {
			return fmt.Errorf("loading the certificate --tls-cert %s and its key --tls-key %s: %w", f.TLSCert, f.TLSKey, err)
		}
	}
	return nil
}

// network is the part of the server's configuration that says how it is
// reached.
func (f *serveFlags) network() server.Config {
	return server.Config{
		Listen: f.Listen, CertFile: f.TLSCert, KeyFile: f.TLSKey,
		BehindProxy: f.BehindProxy, Insecure: f.Insecure,
	}
}

// cleanURL sees that people can be sent to a URL, and leaves out the slash at
// its end: paths are joined on.
func cleanURL(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", usagef("--url %q is not where people reach a server; that looks like https://chat.example.org", text)
	}
	return strings.TrimRight(text, "/"), nil
}

// limits are those on requests and on the connections of an account; nil: none.
func (f *serveFlags) limits(live *hub.Hub) *limits.Limits {
	if f.Dev {
		return nil
	}
	cfg := limits.Config{
		Factor: f.RateFactor, NoRates: f.RateFactor == 0, Connections: f.UserConns,
		Nodes: live.Nodes, Elsewhere: live.Elsewhere,
	}
	if f.UserConns == 0 {
		cfg.Connections = -1
	}
	return limits.New(cfg)
}

// perAddress is server.Config.MaxPerAddress.
func (f *serveFlags) perAddress() int {
	if f.AddressConns == 0 {
		return -1
	}
	return f.AddressConns
}

// metricsToken is what is in the file of that name; empty if none was named.
func (f *serveFlags) metricsToken() (string, error) {
	if f.MetricsToken == "" {
		return "", nil
	}
	b, err := os.ReadFile(f.MetricsToken)
	if err != nil {
		return "", fmt.Errorf("reading --metrics-token-file: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if len(token) < 16 || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", usagef("--metrics-token-file %s must have one line of at least 16 letters, digits and the like; openssl rand -hex 32 makes one", f.MetricsToken)
	}
	return token, nil
}

// origins are those of pages elsewhere that may open a WebSocket.
func (f *serveFlags) origins() []string {
	return strings.FieldsFunc(f.AllowOrigin, func(r rune) bool { return r == ',' || r == ' ' })
}

// registration is who may make an account.
func (f *serveFlags) registration() chat.Registration {
	if f.Dev {
		return chat.RegistrationOpen
	}
	return chat.Registration(f.Registration)
}

// publicURL is where people reach a server that listens on address.
func (f *serveFlags) publicURL(address net.Addr) string {
	if f.URL != "" {
		return f.URL
	}
	scheme := "http"
	if f.TLSCert != "" {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(fromHere(address))
}

// fromHere is where this machine reaches what listens on address.
func fromHere(address net.Addr) (host, port string) {
	at, err := netip.ParseAddrPort(address.String())
	if err != nil {
		panic(err) // a port of TCP's has one
	}
	if host = at.Addr().String(); at.Addr().IsUnspecified() {
		host = "localhost"
	}
	return host, strconv.Itoa(int(at.Port()))
}

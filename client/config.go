package client

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/grima-chat/grima/protocol"
)

// Config says where a client connects and how it behaves. Server and Token are
// needed; the zero of everything else is a default.
type Config struct {
	// Server is an address:
	//
	//	grima://host:7007     lines, only to this machine (see Insecure)
	//	grimas://host:7007    lines in TLS
	//	ws://host:7007        a WebSocket, only to this machine (see Insecure)
	//	wss://host            a WebSocket in TLS
	//	host, host:7007       grimas, or grima for this machine
	//
	// Ports are 7007 when absent, for ws 80 and for wss 443. The path of a
	// WebSocket is /v1/ws when absent. http and https stand for ws and wss.
	Server string
	// Token is what the client logs in with: see [Login], or a bot's of
	// tokens.create.
	Token string

	// UserID says whose Token that is, where it is known. A Store of somebody
	// else's is then refused by Open with ErrOtherUser, and a new one is tied to
	// this user from the start instead of from the first login on, before which
	// nobody can tell whose its outbox is.
	UserID string

	// Insecure allows connections without TLS to other machines. The token and
	// everything said can then be read on the way.
	Insecure bool
	// TLS is used for grimas and wss; nil: the system's roots.
	TLS *tls.Config
	// Dial makes the connections instead of net.Dialer, as through a proxy.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Header is sent with a WebSocket's handshake.
	Header http.Header

	// Device is what sessions.list shows of a session that [Login] makes, and
	// Agent the program, as "echobot/1.2"; empty: grima-go. A client that is
	// opened with a Token goes on with its session as it is.
	Device string
	Agent  string

	// Calls makes a client that only asks and sends: it does not subscribe,
	// does not sync, and its only events are of the connection and the outbox.
	Calls bool
	// Lazy leaves a chat that changed while the client was away where it is,
	// until it is opened (Client.Focus) or something happens in it. Otherwise
	// all are caught up, those in focus first.
	Lazy bool
	// MaxCatchUp is how many positions a chat may be behind to be caught up
	// change by change; beyond, Skipped is told. 0: any number.
	MaxCatchUp int64

	// Buffer is how many events may wait for the application, see "Reading
	// slowly"; 0: 1,024. The least is 256.
	Buffer int
	// MaxOutbox is how many drafts may wait; 0: 10,000.
	MaxOutbox int

	// Store keeps state over restarts; nil: nothing is kept.
	Store Store
	// ApplyAfter hands events to the Store when the application asks for the
	// next ones instead of before it sees them. What it was given last is told
	// again by the next start, after a crash and after a Close: at least once,
	// instead of at most once after a crash and exactly once after a Close.
	ApplyAfter bool

	// Heartbeat is after how much silence the server is asked to say
	// something; a connection on which nothing came for two and a half times
	// as long is given up. 0: 30 s. From 5 s to 10 min.
	Heartbeat time.Duration
	// DialTimeout bounds connecting and logging in; 0: 30 s.
	DialTimeout time.Duration
	// MinBackoff and MaxBackoff bound the wait before the next try, which is
	// random; 0: 1 s and 60 s.
	MinBackoff, MaxBackoff time.Duration

	// Timeline is how many of a chat's newest messages ChatAdded brings
	// (docs/protocol.md#sync), at most 20; 0: 1.
	Timeline int

	Log *slog.Logger // of connections, never of content or tokens; nil: none
}

// withDefaults is cfg with its zeros filled in.
func (cfg Config) withDefaults() Config {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&cfg.Heartbeat, 30*time.Second)
	set(&cfg.DialTimeout, 30*time.Second)
	set(&cfg.MinBackoff, time.Second)
	set(&cfg.MaxBackoff, max(time.Minute, cfg.MinBackoff))
	if cfg.Buffer <= 0 {
		cfg.Buffer = 1024
	}
	cfg.Buffer = max(cfg.Buffer, minBuffer)
	if cfg.MaxOutbox <= 0 {
		cfg.MaxOutbox = 10_000
	}
	if cfg.Timeline <= 0 {
		cfg.Timeline = 1
	}
	cfg.Timeline = min(cfg.Timeline, protocol.MaxTimeline)
	if cfg.Agent == "" {
		cfg.Agent = "grima-go"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// minBuffer leaves room for a page and what belongs to it.
const minBuffer = 256

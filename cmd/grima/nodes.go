package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/hub/natsbus"
	"github.com/grima-chat/grima/internal/metrics"
)

// nodeFlags are for servers of which there are several on one store.
type nodeFlags struct {
	Bus       string `help:"NATS, over which the servers of one store tell each other what is new. With a user's password in it, better in a config file or the environment; without: what is new elsewhere is found in the store, within seconds." placeholder:"nats://HOST" env:"GRIMA_BUS"`
	BusPrefix string `help:"Begins the subjects at NATS." default:"grima" placeholder:"NAME" env:"GRIMA_BUS_PREFIX"`
	BusCA     string `name:"bus-ca" help:"Authorities in PEM to believe in TLS to NATS, instead of those of the system." placeholder:"FILE" env:"GRIMA_BUS_CA"`
	BusCreds  string `name:"bus-creds" help:"Credentials for NATS: a user's JWT and seed." placeholder:"FILE" env:"GRIMA_BUS_CREDS"`
	BusNKey   string `name:"bus-nkey" help:"Nkey for NATS: a user's seed." placeholder:"FILE" env:"GRIMA_BUS_NKEY"`

	Role      string `help:"What this server serves: everything (all), HTTP and data (data), or live connections (stream)." enum:"all,data,stream" default:"all" env:"GRIMA_ROLE"`
	DataURL   string `name:"data-url" help:"Where clients find data, for those that ask a stream server." placeholder:"URL" env:"GRIMA_DATA_URL"`
	StreamURL string `name:"stream-url" help:"Where clients find live connections, for those that ask a data server." placeholder:"URL" env:"GRIMA_STREAM_URL"`
	ServerID  string `name:"server-id" help:"This server's name, for people and logs. Default: n1, or with --bus the machine's." placeholder:"NAME" env:"GRIMA_SERVER_ID"`
}

var (
	busPrefix = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	serverID  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
)

// check finds what is wrong with them, for a store that is or is not shared
// with other servers.
func (f *nodeFlags) check(shared bool) error {
	if f.Bus != "" && !shared {
		return usagef("--bus ties several servers to one store, and this one is SQLite, which serves one server alone: leave out --bus, or give them a PostgreSQL")
	}
	if f.Role != "all" && !shared {
		return usagef("--role %s is for several servers on one store, and this one is SQLite, which serves one server alone: leave out --role, or give them a PostgreSQL", f.Role)
	}
	if f.Bus != "" {
		if err := natsbus.CheckURL(f.Bus); err != nil {
			return usagef("--bus: %w", err)
		}
	}
	if f.Bus == "" && (f.BusCA != "" || f.BusCreds != "" || f.BusNKey != "") {
		return usagef("--bus-ca, --bus-creds and --bus-nkey go with --bus")
	}
	if f.BusCreds != "" && f.BusNKey != "" {
		return usagef("--bus-creds and --bus-nkey are two ways to say who we are: give one")
	}
	if !busPrefix.MatchString(f.BusPrefix) {
		return usagef("--bus-prefix %q: letters, digits, _ and -, at most 64", f.BusPrefix)
	}
	if f.ServerID != "" && !serverID.MatchString(f.ServerID) {
		return usagef("--server-id %q: letters, digits, dots, _ and -, at most 64", f.ServerID)
	}
	for _, u := range []struct{ flag, text string }{{"--data-url", f.DataURL}, {"--stream-url", f.StreamURL}} {
		if err := publicURL(u.text); err != nil {
			return usagef("%s: %w", u.flag, err)
		}
	}
	return nil
}

// publicURL sees that clients can be sent to a URL.
func publicURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" {
		return errors.New("that is not where clients find a server; it looks like https://chat.example.org")
	}
	switch u.Scheme {
	case "http", "https", "grima", "grimas", "ws", "wss":
		return nil
	}
	return errors.New("that is not where clients find a server; it looks like https://chat.example.org")
}

func (f *nodeFlags) roles() api.Roles {
	return api.Roles{Role: api.Role(f.Role), DataURL: f.DataURL, StreamURL: f.StreamURL}
}

// name is this server's.
func (f *nodeFlags) name() string {
	if f.ServerID != "" || f.Bus == "" {
		return f.ServerID
	}
	host, err := os.Hostname()
	if err != nil || !serverID.MatchString(host) {
		return ""
	}
	return host
}

// bus connects to NATS; nil: there is none.
func (f *nodeFlags) bus(store chat.Store, log *slog.Logger) (*natsbus.Bus, error) {
	if f.Bus == "" {
		return nil, nil
	}
	return natsbus.New(natsbus.Config{
		URL: f.Bus, Epoch: store.Epoch(), Prefix: f.BusPrefix, Name: "grima " + f.name(),
		CAFile: f.BusCA, CredsFile: f.BusCreds, NKeyFile: f.BusNKey, Log: log,
	})
}

// ofBus is what metrics are told of the bus; of none, that it is not connected.
func ofBus(bus *natsbus.Bus) func() metrics.Bus {
	return func() metrics.Bus {
		if bus == nil {
			return metrics.Bus{}
		}
		s := bus.Stats()
		return metrics.Bus{
			Connected: s.Connected, Reconnects: s.Reconnects, Dropped: s.Dropped,
			BytesIn: s.InBytes, BytesOut: s.OutBytes,
		}
	}
}

// probeEvery is how old an answer of a probe may be.
const probeEvery = time.Second

// probe asks a store that is elsewhere whether it is there, once for all who
// want to know at about the same time.
type probe struct {
	store chat.Store

	mu   sync.Mutex
	at   time.Time
	err  error
	busy chan struct{} // closed when the one who asks has been answered; nil: nobody does
}

// reach reports why the store cannot be read.
func (p *probe) reach() error {
	p.mu.Lock()
	if time.Since(p.at) < probeEvery {
		defer p.mu.Unlock()
		return p.err
	}
	if busy := p.busy; busy != nil {
		p.mu.Unlock()
		<-busy
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.err
	}
	busy := make(chan struct{})
	p.busy = busy
	p.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := p.store.View(ctx, func(r chat.Reader) error {
		_, err := r.LastStamp()
		return err
	})
	if err != nil {
		err = fmt.Errorf("the store cannot be reached: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.err, p.busy = time.Now(), err, nil
	close(busy)
	return err
}

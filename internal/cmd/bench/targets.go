//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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
	"strings"
	"syscall"
	"time"

	"github.com/grima-chat/grima/internal/harness"
)

// target is a running server that is measured.
type target struct {
	name string
	addr string
	pid  int
	speak
	stop func() // ends it, whatever it is doing
	log  func() string
}

// kind is a server that can be started.
type kind struct {
	name  string
	start func(ctx context.Context, in site) (*target, error)
}

// site is what a server is started with: a directory of its own, and the world
// that Grima serves from it.
type site struct {
	dir string
	w   *crowd
}

// child is a process of the benchmark's, in a group of its own.
type child struct {
	cmd  *exec.Cmd
	gone chan struct{}
	out  lastLines
}

// startChild starts a command. Once it has printed "listening on ADDRESS", or
// when addr is not empty accepts connections there, it is ready.
func startChild(ctx context.Context, addr string, argv ...string) (*child, string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	// Pdeathsig: not even a benchmark that is killed leaves servers behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, "", err
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		return nil, "", errors.Join(err, r.Close(), w.Close())
	}
	w.Close()
	c := &child{cmd: cmd, gone: make(chan struct{})}
	ready := make(chan string, 1)
	go func() {
		defer close(c.gone)
		defer r.Close()
		c.follow(r, ready)
		_ = cmd.Wait() // how it ended is in its output
	}()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case heard := <-ready:
			if addr == "" {
				return c, heard, nil
			}
		case <-look.C:
			if addr != "" {
				if nc, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
					nc.Close()
					return c, addr, nil
				}
			}
		case <-ctx.Done():
			c.kill()
			return nil, "", ctx.Err()
		case <-c.gone:
			return nil, "", fmt.Errorf("%s ended before it was ready: %s", filepath.Base(argv[0]), c.out.String())
		case <-deadline.C:
			c.kill()
			return nil, "", fmt.Errorf("%s was not ready within %s: %s", filepath.Base(argv[0]), patience, c.out.String())
		}
	}
}

func (c *child) follow(r io.Reader, ready chan<- string) {
	for s := bufio.NewScanner(r); s.Scan(); {
		c.out.add(s.Text())
		if _, addr, ok := strings.Cut(s.Text(), "listening on "); ok {
			select {
			case ready <- addr:
			default:
			}
		}
	}
}

func (c *child) kill() {
	// The group is ours alone (Setpgid); it is gone already when this fails.
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	<-c.gone
}

func (c *child) target(name, addr string, s speak) *target {
	return &target{name: name, addr: addr, pid: c.cmd.Process.Pid, speak: s, stop: c.kill, log: c.out.String}
}

// freePort is a port that nobody has just now.
func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	addr, ok := ln.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("listening at %v", ln.Addr())
	}
	return addr.Port, nil
}

// rawKind is the bare loop, with one write per message and receiver or joined.
func rawKind(name, mode string, withStore bool) kind {
	return kind{name, func(ctx context.Context, in site) (*target, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		argv := []string{self, childCommand, "raw", mode}
		if withStore {
			argv = append(argv, in.dir)
		}
		c, addr, err := startChild(ctx, "", argv...)
		if err != nil {
			return nil, err
		}
		return c.target(name, addr, speakRaw()), nil
	}}
}

// grimaKind is a real `grima serve` on a copy of a crowd's data directory.
func (b *bench) grimaKind(name, bin string, args ...string) kind {
	return kind{name, func(_ context.Context, in site) (*target, error) {
		p, err := harness.Start(bin, in.dir, nil, append([]string{"--log-level", "warn"}, args...)...)
		if err != nil {
			return nil, err
		}
		return &target{name: name, addr: p.Addr, pid: p.Pid(), speak: speakGrima(in.w), stop: p.Kill, log: p.Log}, nil
	}}
}

// peer is a server of others, started from its binary with a config file.
func peer(name, bin, config string, s speak, argv func(bin, file string, port int) []string) kind {
	return kind{name, func(ctx context.Context, in site) (*target, error) {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		if err := os.MkdirAll(in.dir, 0o700); err != nil {
			return nil, err
		}
		file := filepath.Join(in.dir, name+".conf")
		if err := os.WriteFile(file, []byte(strings.NewReplacer("PORT", fmt.Sprint(port), "DIR", in.dir).Replace(config)), 0o600); err != nil {
			return nil, err
		}
		c, addr, err := startChild(ctx, fmt.Sprintf("127.0.0.1:%d", port), argv(bin, file, port)...)
		if err != nil {
			return nil, err
		}
		return c.target(name, addr, s), nil
	}}
}

const (
	redisConfig = `port PORT
bind 127.0.0.1
protected-mode no
dir DIR
save ""
appendonly no
maxclients 19000
tcp-backlog 4096
tcp-keepalive 0
client-output-buffer-limit pubsub 0 0 0
`
	mosquittoConfig = `listener PORT 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
persistence false
max_queued_messages 0
max_inflight_messages 0
log_dest stderr
log_type error
`
	natsConfig = `listen: "127.0.0.1:PORT"
max_connections: 64k
ping_interval: "1h"
write_deadline: "60s"
max_pending: 256MB
`
)

// findPeers are the other servers that are here, and a line for each that is not.
func (b *bench) findPeers() (kinds []kind, missing []string) {
	if nats, err := b.buildNATS(); err != nil {
		missing = append(missing, fmt.Sprintf("nats-server: %v", err))
	} else {
		kinds = append(kinds, peer("nats", nats, natsConfig, speakNATS(), func(bin, file string, _ int) []string {
			return []string{bin, "-c", file}
		}))
	}
	for _, p := range []struct {
		name, bin, config string
		s                 speak
		argv              func(bin, file string, port int) []string
	}{
		{"redis", "redis-server", redisConfig, speakRedis(), func(bin, file string, _ int) []string { return []string{bin, file} }},
		{"mosquitto", "mosquitto", mosquittoConfig, speakMQTT(), func(bin, file string, _ int) []string { return []string{bin, "-c", file} }},
	} {
		bin, err := exec.LookPath(p.bin)
		if err != nil {
			// Daemons are often where only root's path leads.
			bin, err = exec.LookPath("/usr/sbin/" + p.bin)
		}
		if err != nil {
			missing = append(missing, p.bin+" is not installed")
			continue
		}
		kinds = append(kinds, peer(p.name, bin, p.config, p.s, p.argv))
	}
	return kinds, missing
}

// buildNATS builds nats-server, whose version tools/go.mod holds: there it is
// nobody's dependency who only builds Grima.
func (b *bench) buildNATS() (string, error) {
	if b.noNATS {
		return "", errors.New("not asked for")
	}
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/grima-chat/grima").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	bin := filepath.Join(b.tmp, "nats-server")
	cmd := exec.CommandContext(b.ctx, "go", "build", "-modfile=tools/go.mod", "-o", bin, "github.com/nats-io/nats-server/v2")
	cmd.Dir = strings.TrimSpace(string(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building it: %w: %.200s", err, out)
	}
	return bin, nil
}

// designs are the ways of giving clients to workers that this binary offers;
// one without a name when it has no choice.
func designs(bin string) ([]string, error) {
	out, err := exec.Command(bin, "serve", "--help").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("asking grima for its flags: %w: %s", err, out)
	}
	if !strings.Contains(string(out), "--workers") {
		return []string{""}, nil
	}
	return []string{"per-client", "shared", "sharded"}, nil
}

// before is the older build of what is called name, see options.Before.
func before(name string) string { return strings.Replace(name, "Grima", "Grima before", 1) }

// grimas is one kind per design, named after it, with the older build's next to
// it if there is one.
func (b *bench) grimas(args ...string) []kind {
	var kinds []kind
	for _, d := range b.live.designs {
		name, args := "Grima", args
		if d != "" {
			name, args = "Grima "+d, append([]string{"--workers", d}, args...)
		}
		kinds = append(kinds, b.grimaKind(name, b.bin, args...))
		if b.Before != "" {
			kinds = append(kinds, b.grimaKind(before(name), filepath.Join(b.Before, "grima"), args...))
		}
	}
	return kinds
}

// selfSigned writes a certificate for this machine and its key.
func selfSigned(dir string) (cert, key string, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour), DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &k.PublicKey, k)
	if err != nil {
		return "", "", err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return "", "", err
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	return cert, key, errors.Join(
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
}

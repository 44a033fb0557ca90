package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// In a network namespace of its own a process may also have the kernel lose
// packets, which is not what a proxy does that stops: what is on its way is sent
// again, at ever longer intervals, and nobody closes anything.

// inside marks a process that Namespace started.
const inside = "GRIMA_FAULTS_NAMESPACE"

// ErrNoNamespace says that this process may not make one, or has not the programs
// that do.
var ErrNoNamespace = errors.New("no network namespace can be made here: that takes root, and the programs unshare and ip")

// Inside reports whether this process is in a namespace of its own.
func Inside() bool { return os.Getenv(inside) != "" }

// Namespace is a command that runs this program again, with these arguments and
// in a network namespace that has nothing but loopback.
func Namespace(ctx context.Context, args ...string) (*exec.Cmd, error) {
	unshare, err1 := exec.LookPath("unshare")
	_, err2 := exec.LookPath("ip")
	self, err3 := os.Executable()
	if err := errors.Join(err1, err2, err3); err != nil || os.Geteuid() != 0 {
		return nil, errors.Join(ErrNoNamespace, err)
	}
	cmd := exec.CommandContext(ctx, unshare, append([]string{"--net", "--", self}, args...)...)
	cmd.Env = append(os.Environ(), inside+"=yes")
	return cmd, nil
}

// settle makes a new namespace fit to be used: the addresses of loopback come
// after rules that lose what goes to some of them.
func settle() error {
	return errors.Join(ip("link", "set", "lo", "up"), ip("rule", "add", "pref", "100", "lookup", "local"), ip("rule", "del", "pref", "0"))
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, out)
	}
	return nil
}

// lose loses every packet from and to an address of loopback's, until heal.
func lose(host string) (heal func() error, err error) {
	do := func(what string) error {
		return errors.Join(ip("rule", what, "pref", "50", "to", host, "blackhole"), ip("rule", what, "pref", "51", "from", host, "blackhole"))
	}
	return func() error { return do("del") }, do("add")
}

// Losses are the faults that take a namespace.
func Losses() []Fault {
	const short, long = 3 * time.Second, 20 * time.Second
	return []Fault{
		{Name: "packets between a server and PostgreSQL are lost", Short: short, Long: long, cut: first, do: func(_ context.Context, c *Cluster) (func() error, error) {
			return lose(c.n1().toPostgres.host())
		}},
		{Name: "packets between a server and NATS are lost", Short: short, Long: long, do: func(_ context.Context, c *Cluster) (func() error, error) {
			return lose(c.n1().toNATS.host())
		}},
	}
}

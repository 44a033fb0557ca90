package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// maxSocketPath is what surely fits into a socket address; the limit is 108
// bytes on Linux, 104 elsewhere.
const maxSocketPath = 100

// listenControl makes the operator's socket, for its owner alone. Whoever
// calls it holds the data directory, so that a socket which is there already
// is nobody's any more.
func listenControl(path string) (net.Listener, error) {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("looking for an old control socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is in the place of the control socket and is not a socket: move it away", path)
	default:
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("removing an old control socket: %w", err)
		}
	}
	short, release, err := shortPath(path)
	if err != nil {
		return nil, err
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	err = errors.Join(err, release())
	if err != nil {
		return nil, fmt.Errorf("making the control socket %s: %w", path, err)
	}
	ln.SetUnlinkOnClose(false) // its name may be the short one
	c := &controlSocket{ln, path}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("making the control socket private: %w", err), c.Close())
	}
	return c, nil
}

type controlSocket struct {
	net.Listener

	path string
}

func (c *controlSocket) Close() error {
	return errors.Join(os.Remove(c.path), c.Listener.Close())
}

// DialControl connects to the operator's socket of the server that runs on
// this machine. The connection is logged in already, as the operator.
func DialControl(ctx context.Context, path string) (net.Conn, error) {
	short, release, err := shortPath(path)
	if err != nil {
		return nil, err
	}
	nc, err := new(net.Dialer).DialContext(ctx, "unix", short)
	if err = errors.Join(err, release()); err != nil {
		return nil, fmt.Errorf("connecting to the control socket %s: %w", path, err)
	}
	return nc, nil
}

// shortPath gives a name for path that fits into a socket address, to be used
// before release is called.
func shortPath(path string) (short string, release func() error, err error) {
	if len(path) <= maxSocketPath {
		return path, func() error { return nil }, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, fmt.Errorf("opening the directory of the control socket: %w", err)
	}
	short = fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	if _, err := os.Stat(short); err != nil {
		return "", nil, errors.Join(fmt.Errorf("the path %s is too long for a socket on this system: choose a shorter data directory", path), dir.Close())
	}
	return filepath.Join(short, filepath.Base(path)), dir.Close, nil
}

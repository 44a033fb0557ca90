package harness

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a running `grima serve`.
type Process struct {
	Addr string // host:port of its one port
	cmd  *exec.Cmd
	log  *tail
	gone chan struct{}
	err  error
}

// Build compiles the binary into dir and returns its path.
func Build(dir string, flags ...string) (string, error) {
	bin := filepath.Join(dir, "grima")
	args := append([]string{"build", "-o", bin}, flags...)
	out, err := exec.Command("go", append(args, "github.com/grima-chat/grima/cmd/grima")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building grima: %w\n%s", err, out)
	}
	return bin, nil
}

// Start runs `grima serve --dev` on a free port with the data directory and
// waits until it is ready. wrap, when not empty, is a command that runs it
// (strace and its flags).
func Start(bin, data string, wrap []string, args ...string) (*Process, error) {
	argv := append(append([]string{}, wrap...), bin, "serve", "--dev", "--listen", "127.0.0.1:0", "--data", data)
	argv = append(argv, args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pr, pw, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr, cmd.Stdout = pw, pw
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, pr.Close(), pw.Close())
	}
	pw.Close()
	p := &Process{cmd: cmd, log: &tail{}, gone: make(chan struct{})}
	ready := make(chan string, 1)
	var wg sync.WaitGroup
	wg.Go(func() { p.follow(pr, ready) })
	go func() {
		err := cmd.Wait()
		wg.Wait()
		p.err = err
		close(p.gone)
	}()
	select {
	case p.Addr = <-ready:
		return p, nil
	case <-p.gone:
		return nil, fmt.Errorf("grima ended before it was ready: %w\n%s", errors.Join(p.err, errors.New("exit")), p.Log())
	case <-time.After(60 * time.Second):
		p.Kill()
		return nil, fmt.Errorf("grima was not ready within a minute\n%s", p.Log())
	}
}

// follow keeps the end of what the process prints and finds its address in the
// line that says it is ready ("listening on ADDRESS").
func (p *Process) follow(r io.ReadCloser, ready chan<- string) {
	defer r.Close()
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		p.log.add(s.Text())
		if _, rest, ok := strings.Cut(s.Text(), "listening on "); ok {
			select {
			case ready <- strings.Trim(strings.Fields(rest)[0], `",`):
			default:
			}
		}
	}
}

// Pid is the process's id (of the wrapper, if there is one).
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Gone is closed when the process has ended; Err is then its exit error.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Err is how the process ended: nil for exit code 0.
func (p *Process) Err() error { <-p.gone; return p.err }

// Log is the end of what the process printed.
func (p *Process) Log() string { return p.log.String() }

// Kill ends the process and whatever it started with SIGKILL and waits.
func (p *Process) Kill() {
	// The group is ours alone (Setpgid); it is gone already when this fails.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.gone
}

// Stop asks the process to end with SIGTERM and waits for it.
func (p *Process) Stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return p.Err()
}

// tail keeps the last lines of a log.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
	if len(t.lines) > 200 {
		t.lines = t.lines[100:]
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReadme pastes what README.md tells to paste, and compares what comes with
// what it shows. Blocks marked bob go to nc, those marked ana to bash. "…" in
// what is shown stands for anything within a line.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"bash", "nc", "curl", "jq"} {
		if _, err := exec.LookPath(command); err != nil {
			t.Fatalf("the README's transcript needs %s (make test installs it): %v", command, err)
		}
	}
	server, err := startServer(t.TempDir(), append(os.Environ(), "GRIMA_DATA="+filepath.Join(t.TempDir(), "data")), "--dev")
	if err != nil {
		t.Fatal(err)
	}
	var bob, ana *terminal
	t.Cleanup(func() {
		server.kill() // which also ends what is connected to it
		for _, term := range []*terminal{bob, ana} {
			if term != nil {
				term.close()
			}
		}
	})
	addr, err := server.await(`listening on (\S+)`)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(addr, ":")

	for _, b := range blocks(string(readme)) {
		text := strings.ReplaceAll(b.text, "7007", port)
		switch b.mark {
		case "sh bob":
			bob = openTerminal(t, "bash", "-c", strings.TrimSpace(text))
		case "json bob pastes":
			bob.paste(text)
		case "json bob sees":
			bob.sees(b.line, text)
		case "sh ana":
			if ana == nil {
				// What she logs in with is kept below her home.
				t.Setenv("HOME", t.TempDir())
				t.Setenv("XDG_CONFIG_HOME", filepath.Join(os.Getenv("HOME"), ".config"))
				ana = openTerminal(t, "bash", "-c", "exec 2>&1; exec bash -s")
			}
			ana.paste(text)
			ana.paste("echo " + end + "\n")
			ana.until(end)
		case "json ana sees":
			ana.sees(b.line, text)
		}
	}
	if bob == nil || ana == nil {
		t.Fatal("README.md has no transcript any more")
	}
	bob.seesNothing()
	if err := server.stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// end is printed behind each block of bash's.
const end = "-- end of block --"

// block is a fenced block of Markdown whose fence says more than a language.
type block struct {
	mark string
	text string
	line int
}

func blocks(markdown string) []block {
	var all []block
	var open *block
	n := 0
	for line := range strings.Lines(markdown) {
		n++
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			open = &block{mark: strings.TrimSpace(fence), line: n + 1}
		case isFence:
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += line
		}
	}
	return all
}

// terminal is a program that somebody types into.
type terminal struct {
	t     *testing.T
	in    io.WriteCloser
	lines chan string
	held  []string // printed, and not looked at yet
	ended chan struct{}
}

func openTerminal(t *testing.T, name string, args ...string) *terminal {
	t.Helper()
	cmd := exec.Command(name, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, in: in, lines: make(chan string, 1000), ended: make(chan struct{})}
	go func() {
		defer close(term.ended)
		defer close(term.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			term.lines <- s.Text()
		}
		_ = cmd.Wait() // the exit code of the last thing typed is nobody's business
	}()
	return term
}

func (term *terminal) close() {
	_ = term.in.Close() // it may have ended by itself
	<-term.ended
}

func (term *terminal) paste(text string) {
	term.t.Helper()
	if _, err := io.WriteString(term.in, text); err != nil {
		term.t.Fatal(err)
	}
}

func (term *terminal) next() (string, error) {
	select {
	case line, ok := <-term.lines:
		if !ok {
			return "", io.EOF
		}
		return line, nil
	case <-time.After(patience):
		return "", fmt.Errorf("nothing came for %v", patience)
	}
}

// until holds everything up to the line that is mark.
func (term *terminal) until(mark string) {
	term.t.Helper()
	for {
		line, err := term.next()
		if err != nil {
			term.t.Fatalf("%v; before it came:\n%s", err, strings.Join(term.held, "\n"))
		}
		if line == mark {
			return
		}
		term.held = append(term.held, line)
	}
}

// sees wants the lines shown, the first of which stands on README's line at.
func (term *terminal) sees(at int, shown string) {
	term.t.Helper()
	for want := range strings.Lines(shown) {
		want = strings.TrimSpace(want)
		var got string
		if len(term.held) > 0 {
			got, term.held = term.held[0], term.held[1:]
		} else {
			var err error
			if got, err = term.next(); err != nil {
				term.t.Fatalf("README.md:%d shows %s, but: %v", at, want, err)
			}
		}
		pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(want), "…", ".*") + "$"
		if !regexp.MustCompile(pattern).MatchString(got) {
			term.t.Errorf("README.md:%d\nshows %s\nand is %s", at, want, got)
		}
		at++
	}
	if len(term.held) > 0 {
		term.t.Errorf("README.md:%d does not show\n%s", at, strings.Join(term.held, "\n"))
		term.held = nil
	}
}

// seesNothing wants that everything printed so far was shown.
func (term *terminal) seesNothing() {
	term.t.Helper()
	select {
	case line := <-term.lines:
		term.t.Errorf("README.md does not show %s", line)
	default:
	}
}

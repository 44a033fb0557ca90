package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/term"

	"github.com/grima-chat/grima/protocol"
)

// readPassword asks for a password twice without showing it, or, when nobody
// sits at a terminal, reads it as one line.
func readPassword(std stdio, prompt string) (string, error) {
	password, err := func() (string, error) {
		if f, ok := std.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return askPassword(f, std.err, prompt)
		}
		line, err := bufio.NewReader(io.LimitReader(std.in, protocol.MaxPassword+2)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}()
	if err != nil {
		return "", err
	}
	if n := len(password); n < protocol.MinPassword || n > protocol.MaxPassword {
		return "", usagef("a password has %d to %d bytes, and this one %d", protocol.MinPassword, protocol.MaxPassword, n)
	}
	return password, nil
}

func askPassword(in *os.File, out io.Writer, prompt string) (string, error) {
	var answers [2]string
	for i, p := range [2]string{prompt, "Again"} {
		fmt.Fprintf(out, "%s: ", p)
		b, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(out)
		if err != nil {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		answers[i] = string(b)
	}
	if answers[0] != answers[1] {
		return "", usagef("the two passwords differ; nothing was changed")
	}
	return answers[0], nil
}

// printResult prints raw for a script or what human makes of it for a person.
func printResult(w io.Writer, asJSON bool, raw jsontext.Value, human func() string) error {
	text := string(visibleJSON(raw)) + "\n"
	if !asJSON {
		text = human()
	}
	_, err := io.WriteString(w, text)
	return err
}

// printTable prints n rows under a header.
func printTable(w io.Writer, header []string, n int, row func(i int) []string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := -1; i < n; i++ {
		cells := header
		if i >= 0 {
			cells = row(i)
		}
		if _, err := fmt.Fprintln(t, strings.TrimRight(strings.Join(cells, "\t"), "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}

// day is the date of a wire time.
func day(t string) string {
	d, _, _ := strings.Cut(t, "T")
	return d
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// transcript is one log.
type transcript struct {
	name     string
	messages []message
	other    int      // lines that are no message
	nicks    []string // who speaks, in the order of their first message

	chat string  // where it was sent
	seqs []int64 // what each message was acknowledged as
}

// message is a line that somebody said.
type message struct {
	line       int // of the file, from 1
	nick, text string
}

// A text may be missing together with its blank. Whatever else begins with a
// time is an action or a notice.
var saying = regexp.MustCompile(`^\[\d\d:\d\d\] <([^>]+)>(?: (.*))?$`)

// blankLine stands in for a message without text, which neither IRC nor Grima
// can send: what was said there was a blank that the log did not keep.
const blankLine = " "

func (r *replay) read() error {
	dir := r.logs
	if info, err := os.Stat(dir); err != nil {
		return err
	} else if !info.IsDir() {
		dir = filepath.Join(r.dir, "logs")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if out, err := exec.CommandContext(r.ctx, "tar", "-xf", r.logs, "-C", dir).CombinedOutput(); err != nil {
			return fmt.Errorf("unpacking %s: %w\n%s", r.logs, err, out)
		}
	}
	blank, mended := 0, 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if ok, err := filepath.Match(r.pattern, d.Name()); !ok || err != nil {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		t, b, m := parse(strings.TrimSuffix(d.Name(), ".txt"), raw)
		blank, mended = blank+b, mended+m
		if len(t.messages) > 0 {
			r.transcripts = append(r.transcripts, t)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the logs: %w", err)
	}
	if len(r.transcripts) == 0 {
		return errors.New("no log has a message: is -pattern right?")
	}
	slices.SortFunc(r.transcripts, func(a, b *transcript) int { return strings.Compare(a.name, b.name) })
	other := 0
	for _, t := range r.transcripts {
		other += t.other
	}
	r.say("logs: %d, with %d messages by %d nicks; %d other lines left out; %d messages without text (sent as one blank), %d with invalid UTF-8 (sent with U+FFFD)",
		len(r.transcripts), r.total(), len(r.nicks()), other, blank, mended)
	return nil
}

// parse reads a log. blank and mended count the messages it had to change.
func parse(name string, raw []byte) (t *transcript, blank, mended int) {
	t = &transcript{name: name}
	known := map[string]bool{}
	n := 0
	for line := range bytes.Lines(raw) {
		n++
		text := strings.TrimRight(string(line), "\r\n")
		m := saying.FindStringSubmatch(strings.ToValidUTF8(text, "\ufffd"))
		switch {
		case m != nil:
		case text != "":
			t.other++
			continue
		default:
			continue
		}
		if strings.ToValidUTF8(text, "") != text {
			mended++
		}
		said := message{n, m[1], m[2]}
		if said.text == "" {
			blank++
			said.text = blankLine
		}
		t.messages = append(t.messages, said)
		if !known[said.nick] {
			known[said.nick] = true
			t.nicks = append(t.nicks, said.nick)
		}
	}
	return t, blank, mended
}

func (r *replay) total() (n int) {
	for _, t := range r.transcripts {
		n += len(t.messages)
	}
	return n
}

// nicks are all who speak, in the order in which they first do.
func (r *replay) nicks() (all []string) {
	known := map[string]bool{}
	for _, t := range r.transcripts {
		for _, nick := range t.nicks {
			if !known[nick] {
				known[nick] = true
				all = append(all, nick)
			}
		}
	}
	return all
}

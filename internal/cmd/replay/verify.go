package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"time"

	"github.com/grima-chat/grima/internal/harness"
	"github.com/grima-chat/grima/protocol"
)

// digest is the hash of a conversation: who said what, in order.
type digest struct{ h hash.Hash }

func newDigest() digest { return digest{sha256.New()} }

func (d digest) add(nick, text string) {
	fmt.Fprintf(d.h, "%d %s %d %s\n", len(nick), nick, len(text), text)
}

func (d digest) sum() string { return hex.EncodeToString(d.h.Sum(nil)) }

// verify reads every group forward and backward and compares.
func (r *replay) verify(addr string) error {
	nicks := make(map[string]string, len(r.accounts))
	for nick, a := range r.accounts {
		nicks[a.user] = nick
	}
	want, forward, backward := newDigest(), newDigest(), newDigest()
	different, read := 0, 0
	var took [2]time.Duration
	began := time.Now()
	stop := r.watch(func() { r.progress("read back") })
	defer stop()
	for _, t := range r.transcripts {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		// Whoever spoke last reads: they did not create the group, as a rule.
		conn, err := harness.Login(addr, r.accounts[t.messages[len(t.messages)-1].nick].token, false, nil)
		if err != nil {
			return err
		}
		meant := newDigest()
		for _, m := range t.messages {
			meant.add(m.nick, m.text)
		}
		var got [2]string
		for i, readAll := range []func(*harness.Conn, string) ([]protocol.Message, error){harness.ReadAll, readBackward} {
			start := time.Now()
			rows, err := readAll(conn, t.chat)
			took[i] += time.Since(start)
			if err != nil {
				conn.Close()
				return fmt.Errorf("%s: %w", t.name, err)
			}
			read += len(rows)
			if got[i], err = t.check(rows, nicks); err != nil {
				different++
				r.say("%s: %v", t.name, err)
			}
		}
		conn.Close()
		if got[0] != meant.sum() || got[1] != meant.sum() {
			different++
			r.say("%s: the log is %s, forward %s, backward %s", t.name, meant.sum(), got[0], got[1])
		}
		want.add(t.name, meant.sum())
		forward.add(t.name, got[0])
		backward.add(t.name, got[1])
	}
	n := r.total()
	r.say("read back after kill -9: %d rows; forward in %s, backward in %s", read, perSecond(n, took[0]), perSecond(n, took[1]))
	r.say("hash of the logs     %s\nhash, read forward   %s\nhash, read backward  %s", want.sum(), forward.sum(), backward.sum())
	if different > 0 || want.sum() != forward.sum() || want.sum() != backward.sum() {
		return fmt.Errorf("%d of %d groups differ from their logs", different, len(r.transcripts))
	}
	r.say("equal: all %d messages of %d groups, by sender, content and order; %.1f s in all", n, len(r.transcripts), time.Since(r.began).Seconds())
	r.progress("verified in %.1f s", time.Since(began).Seconds())
	return nil
}

// check hashes what was read and looks at its numbers.
func (t *transcript) check(rows []protocol.Message, nicks map[string]string) (string, error) {
	d := newDigest()
	var err error
	if len(rows) != len(t.messages) {
		err = fmt.Errorf("%d messages instead of %d", len(rows), len(t.messages))
	}
	for i, m := range rows {
		d.add(nicks[m.SenderID], m.Content)
		if i >= len(t.seqs) {
			continue
		}
		// Founding took the first numbers, one for each of them.
		if want := int64(len(t.nicks) + i + 1); err == nil && (m.Seq != want || t.seqs[i] != want) {
			err = fmt.Errorf("message %d has number %d, was acknowledged as %d, and should have %d", i, m.Seq, t.seqs[i], want)
		}
	}
	return d.sum(), err
}

// readBackward pages from the newest message to the oldest.
func readBackward(c *harness.Conn, chat string) ([]protocol.Message, error) {
	var pages [][]protocol.Message
	params := protocol.MessagesListParams{ChatID: chat, Limit: protocol.MaxPage}
	for {
		var page protocol.MessagesListResult
		if err := c.Data(protocol.OpMessagesList, params, &page); err != nil {
			return nil, fmt.Errorf("reading %s backward: %w", chat, err)
		}
		pages = append(pages, page.Messages)
		if !page.HasMoreBefore {
			slices.Reverse(pages)
			return slices.Concat(pages...), nil
		}
		if len(page.Messages) == 0 {
			return nil, errors.New("an empty page says there is more before it")
		}
		params.Before = &page.Messages[0].Seq
	}
}

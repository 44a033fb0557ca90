package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

type tailCmd struct {
	accountFlags

	Chats    []string `arg:"" optional:"" name:"chat" help:"Which chats: ids, titles, @usernames; all of yours when absent." predictor:"chat"`
	Since    string   `help:"Begin with what was said since: a time (2026-09-20, 2026-09-20T10:00:00Z), a while ago (90m, 2d), or after a seq of the one chat." placeholder:"WHEN" predictor:"none"`
	NoFollow bool     `help:"End where the present begins, instead of going on."`
	JSON     bool     `name:"json" help:"Print events as JSON, one per line, also on a terminal."`
	Text     bool     `help:"Print lines for people, also into a pipe."`
}

func (*tailCmd) Help() string {
	return `Lost connections are made again, and nothing is left out: each change comes once, in the order of its chat. On a terminal these are lines for people; into a pipe, JSON.

    grima tail Port @bob
    grima tail --since 1h
    grima tail --since 2d --no-follow Port > port.ndjson
    grima tail ops | jq --unbuffered -r 'select(.event == "message.created") | .message.content'

A line of JSON is an event (docs/protocol.md#events): what it is (event), the chat_id, the chat's position after it (seq), and the message, participant or chat. With --since old messages come first, chat by chat, as they are now. To go on where an earlier tail of one chat ended: --since with the last seq that it printed.
What could take a terminal over is shown as \x1b or \u{202e}.

` + exitHelp
}

// Run follows.
func (c *tailCmd) Run(ctx context.Context, std stdio) error {
	since, err := parseSince(c.Since, time.Now())
	switch {
	case err != nil:
		return err
	case c.JSON && c.Text:
		return usagef("--json or --text, not both")
	case since.seq > 0 && len(c.Chats) != 1:
		return usagef("a seq is of one chat: say which")
	}
	cfg, _, err := c.config()
	if err != nil {
		return err
	}
	cl, err := client.Open(cfg)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(std.out)
	t := &tailing{c: cl, out: out, json: c.JSON || !c.Text && !isTerminal(std.out), since: since}
	err = t.begin(ctx, c.Chats)
	if err == nil && since != nothing {
		err = t.past(ctx)
	}
	if err == nil && !c.NoFollow {
		err = t.follow(ctx)
	}
	return errors.Join(err, out.Flush(), cl.Close())
}

// since is where to begin: after a seq, at a time, or (zero) now.
type since struct {
	seq  int64
	time time.Time
}

var nothing since

func parseSince(text string, now time.Time) (since, error) {
	if text == "" {
		return since{}, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		if n == 0 {
			return since{time: time.Unix(0, 0)}, nil
		}
		return since{seq: n}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return since{time: now.AddDate(0, 0, -int(n))}, nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return since{time: now.Add(-d)}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return since{time: t}, nil
		}
	}
	return since{}, usagef("--since %q is no time, no while and no seq; it looks like 2026-09-20, 90m, 2d or 42", text)
}

// tailing is a tail under way.
type tailing struct {
	c     *client.Client
	out   *bufio.Writer
	json  bool
	since since

	chats map[string]bool // those asked for; nil: all
	// early are the events up to the moment when all chats were known.
	early []client.Event
	// from says behind which position each chat's events begin, and printed has
	// the updated_seq of the messages beyond it that were printed as old ones:
	// events tell of them, too.
	from    map[string]int64
	printed map[message]int64
}

type message struct {
	chat string
	seq  int64
}

// begin waits until all chats are known.
func (t *tailing) begin(ctx context.Context, names []string) error {
	t.from, t.printed = map[string]int64{}, map[message]int64{}
	ready, cancel := context.WithTimeout(ctx, askTimeout)
	err := t.c.Ready(ready)
	if err == nil {
		err = t.choose(ready, names)
	}
	cancel()
	if errors.Is(err, context.DeadlineExceeded) {
		err = unreachable(err, askTimeout)
	}
	for synced := false; err == nil && !synced; {
		var evs []client.Event
		evs, err = t.c.Batch(ctx)
		for _, ev := range evs {
			switch ev.Kind {
			case client.ChatAdded:
				t.from[ev.ChatID] = ev.State.Pos
			case client.Synced:
				synced = true
			}
		}
		t.early = append(t.early, evs...)
	}
	return err
}

// past prints what was said since then, chat by chat. Events wait meanwhile, or
// are asked for when there is room.
func (t *tailing) past(ctx context.Context) error {
	for _, chat := range t.c.Chats() {
		if err := t.history(ctx, chat); err != nil {
			return err
		}
	}
	return nil
}

// follow prints what happens.
func (t *tailing) follow(ctx context.Context) error {
	for evs := t.early; ; {
		for _, ev := range evs {
			if err := t.print(ctx, ev); err != nil {
				return err
			}
		}
		t.early = nil
		if err := t.out.Flush(); err != nil {
			return err
		}
		var err error
		if evs, err = t.c.Batch(ctx); err != nil {
			return err
		}
	}
}

// choose finds the chats that were asked for.
func (t *tailing) choose(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	t.chats = map[string]bool{}
	for _, name := range names {
		chat, err := findChat(ctx, t.c, name, false)
		if err != nil {
			return err
		}
		t.chats[chat.ChatID] = true
	}
	return nil
}

// history prints what was said in a chat since then: back to where it begins,
// and from there on forward.
func (t *tailing) history(ctx context.Context, chat client.Chat) error {
	if t.chats != nil && !t.chats[chat.ChatID] {
		return nil
	}
	after := t.since.seq
	for before, found := chat.LastSeq+1, after > 0; !found; {
		page, err := t.c.MessagesList(ctx, protocol.MessagesListParams{ChatID: chat.ChatID, Before: &before, Limit: protocol.MaxPage})
		if err != nil {
			return err
		}
		i := slices.IndexFunc(page.Messages, t.wanted)
		switch n := len(page.Messages); {
		case i < 0:
			after, found = before-1, true // all of them are older
		case i > 0 || !page.HasMoreBefore || n == 0:
			after, found = page.Messages[i].Seq-1, true
		default:
			before = page.Messages[0].Seq
		}
	}
	for {
		page, err := t.c.MessagesList(ctx, protocol.MessagesListParams{ChatID: chat.ChatID, After: &after, Limit: protocol.MaxPage})
		if err != nil {
			return err
		}
		for _, m := range page.Messages {
			after = m.Seq
			ev := client.Event{Kind: client.MessageCreated, ChatID: m.ChatID, Seq: m.Seq, PrevSeq: m.Seq - 1, Message: &m, State: &chat}
			if m.Deleted {
				ev.Kind = client.MessageDeleted
			}
			if err := t.show(ctx, ev); err != nil {
				return err
			}
			if m.UpdatedSeq > t.from[chat.ChatID] {
				t.printed[message{chat.ChatID, m.Seq}] = m.UpdatedSeq
			}
		}
		if !page.HasMoreAfter {
			return nil
		}
	}
}

// wanted reports whether a message is from since then. Times of the server are
// all in UTC and of one form.
func (t *tailing) wanted(m protocol.Message) bool {
	at, err := time.Parse(time.RFC3339, m.CreatedAt)
	return err == nil && !at.Before(t.since.time)
}

// print prints an event that is due.
func (t *tailing) print(ctx context.Context, ev client.Event) error {
	switch m := ev.Message; {
	case ev.Kind == client.Reset:
		clear(t.printed) // another history, of which nothing was printed
		return nil
	case t.chats != nil && !t.chats[ev.ChatID], ev.Seq == 0:
		return nil
	case m != nil && t.printed[message{m.ChatID, m.Seq}] >= m.UpdatedSeq:
		return nil
	}
	return t.show(ctx, ev)
}

func (t *tailing) show(ctx context.Context, ev client.Event) error {
	if t.json {
		ev.State = nil
		line, err := json.Marshal(ev)
		if err != nil {
			return err
		}
		_, err = t.out.Write(append(visibleJSON(line), '\n'))
		return err
	}
	what, at, err := t.describe(ctx, ev)
	if err != nil || what == "" {
		return err
	}
	where, err := t.chatName(ctx, ev.State)
	if err != nil {
		return err
	}
	if at == "" {
		at = time.Now().Format("2006-01-02 15:04:05")
	} else if when, err := time.Parse(time.RFC3339, at); err == nil {
		at = when.Local().Format("2006-01-02 15:04:05")
	} else {
		at = visible(at, false)
	}
	// Lines after the first stand under it, so that none can pose as another's.
	what = strings.ReplaceAll(what, "\n", "\n    ")
	_, err = io.WriteString(t.out, at+" "+where+" "+what+"\n")
	return err
}

// describe says what happened, for a person, and when if that is known. Empty:
// nothing to say.
func (t *tailing) describe(ctx context.Context, ev client.Event) (what, at string, err error) {
	switch m, p := ev.Message, ev.Participant; {
	case m != nil:
		who, err := t.userName(ctx, m.SenderID)
		switch ev.Kind {
		case client.MessageCreated:
			return who + ": " + visible(m.Content, true), m.CreatedAt, err
		case client.MessageUpdated:
			return fmt.Sprintf("%s edited %d: %s", who, m.Seq, visible(m.Content, true)), m.EditedAt, err
		case client.MessageDeleted:
			return fmt.Sprintf("* message %d of %s is deleted", m.Seq, who), "", err
		}
	case p != nil:
		who, err := t.userName(ctx, p.UserID)
		switch ev.Kind {
		case client.ParticipantAdded:
			return "* " + who + " came in", "", err
		case client.ParticipantUpdated:
			return "* " + who + " is " + visible(p.Role, false) + " now", "", err
		default:
			return "* " + who + " left", "", err
		}
	}
	switch ev.Kind {
	case client.ChatUpdated:
		return "* the chat is " + visible(ev.Chat.Title, false) + " now", "", nil
	case client.Skipped:
		return fmt.Sprintf("* too much happened from %d to %d to tell", ev.PrevSeq, ev.Seq), "", nil
	}
	return "", "", nil
}

// userName is a user's username, or their id if nobody has it.
func (t *tailing) userName(ctx context.Context, id string) (string, error) {
	users, err := t.c.Users(ctx, id)
	if u, ok := users[id]; ok {
		return visible(u.Username, false), nil
	}
	return visible(id, false), err
}

// chatName is a chat's title, or who is in it besides oneself.
func (t *tailing) chatName(ctx context.Context, chat *client.Chat) (string, error) {
	if chat == nil {
		return "", nil
	}
	for _, id := range chat.UserIDs {
		if id != t.c.Self().UserID {
			name, err := t.userName(ctx, id)
			return "@" + name, err
		}
	}
	return visible(chat.Title, false), nil
}

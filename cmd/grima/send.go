package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

type sendCmd struct {
	accountFlags

	Chat       string        `arg:"" help:"Where to: a chat's id, its title, or @username for a private chat, which is made if need be." predictor:"chat"`
	Text       []string      `arg:"" optional:"" help:"What to say; standard input when absent, or when it is - alone." predictor:"none"`
	Lines      bool          `help:"Send each line of standard input as a message of its own, as it comes."`
	Mention    []string      `help:"Mention this user, as @username." placeholder:"USER" predictor:"user"`
	MentionAll bool          `help:"Mention everybody."`
	ReplyTo    int64         `help:"Reply to the message of this seq." placeholder:"SEQ" predictor:"none"`
	ID         string        `name:"id" help:"The message's client_msg_id: sent again with the same one, a message is there once." placeholder:"ID" predictor:"none"`
	Wait       time.Duration `help:"How long to try, over lost connections and restarts of the server." default:"30s" placeholder:"TIME" predictor:"none"`
	JSON       bool          `name:"json" help:"Print the answer as JSON: chat_id, seq, created_at, duplicate."`
}

func (*sendCmd) Help() string {
	return `It ends when the message is on the server's disk; until then it tries, again if need be, and the message is there once however often.

    grima send Port 'the ship is in'
    grima send @bob hello bob
    make 2>&1 | tail -20 | grima send c_42
    tail -F app.log | grep --line-buffered ERROR | grima send --lines ops

A script that may itself be run again gives the message an --id of its own: the second time nothing is sent, and the first answer comes.

` + exitHelp + ` After 5 the message may be there or not; --id makes it safe to try again.`
}

// Run sends.
func (c *sendCmd) Run(ctx context.Context, std stdio) error {
	if c.Lines && (len(c.Text) > 0 && !slices.Equal(c.Text, []string{"-"}) || c.ID != "") {
		return usagef("--lines takes its messages from standard input, and gives each an id of its own")
	}
	wait := c.Wait
	if c.Lines {
		wait = 365 * 24 * time.Hour // each line has its own
	}
	var content string
	if !c.Lines {
		var err error
		if content, err = c.content(std.in); err != nil {
			return err
		}
	}
	return c.withClient(ctx, wait, func(ctx context.Context, cl *client.Client) error {
		draft, err := c.draft(ctx, cl)
		if err != nil {
			return err
		}
		if !c.Lines {
			draft.Content = content
			return c.send(ctx, std, cl, draft)
		}
		lines := bufio.NewScanner(std.in)
		lines.Buffer(nil, 4*protocol.MaxContent)
		for lines.Scan() {
			if draft.Content = lines.Text(); strings.TrimSpace(draft.Content) == "" {
				continue
			}
			draft.ID = client.NewID()
			if err := c.send(ctx, std, cl, draft); err != nil {
				return err
			}
		}
		return lines.Err()
	})
}

// content is what to say.
func (c *sendCmd) content(in io.Reader) (string, error) {
	text := strings.Join(c.Text, " ")
	if len(c.Text) == 0 || text == "-" {
		all, err := io.ReadAll(io.LimitReader(in, 4*protocol.MaxContent))
		if err != nil {
			return "", fmt.Errorf("reading the message: %w", err)
		}
		text = strings.TrimSuffix(strings.TrimSuffix(string(all), "\n"), "\r")
	}
	if strings.TrimSpace(text) == "" {
		return "", usagef("there is nothing to send")
	}
	return text, nil
}

// draft is the message without its content.
func (c *sendCmd) draft(ctx context.Context, cl *client.Client) (client.Draft, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Wait)
	defer cancel()
	chat, err := findChat(ctx, cl, c.Chat, true)
	if err != nil {
		return client.Draft{}, err
	}
	d := client.Draft{ID: c.ID, ChatID: chat.ChatID, ReplyTo: c.ReplyTo, MentionAll: c.MentionAll}
	for _, name := range c.Mention {
		u, err := findPerson(ctx, cl, name)
		if err != nil {
			return client.Draft{}, err
		}
		d.Mentions = append(d.Mentions, u.UserID)
	}
	return d, nil
}

// send sends one message and says where it is.
func (c *sendCmd) send(ctx context.Context, std stdio, cl *client.Client, d client.Draft) error {
	ctx, cancel := context.WithTimeout(ctx, c.Wait)
	defer cancel()
	it, err := cl.Send(ctx, d)
	if errors.Is(err, context.DeadlineExceeded) && it.Err != nil {
		err = it.Err // what the last try came to
	}
	if err != nil || !c.JSON {
		return err
	}
	raw, err := json.Marshal(protocol.MessageSendResult{ChatID: it.ChatID, Seq: it.Seq, CreatedAt: it.SentAt, Duplicate: it.Duplicate})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "%s\n", raw)
	return err
}

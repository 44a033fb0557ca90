package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/grima-chat/grima/protocol"
)

type inviteCmd struct {
	Add    inviteAddCmd    `cmd:"" default:"withargs" help:"Make an invite and print its link (what plain grima invite does)."`
	List   inviteListCmd   `cmd:"" help:"List the invites, used up and expired ones among them."`
	Revoke inviteRevokeCmd `cmd:"" help:"Make an invite worthless."`
}

type inviteAddCmd struct {
	dataFlags

	Role string        `help:"What they become on the server: ${enum}." enum:"owner,admin,member" default:"member"`
	Uses int64         `help:"How many people may use it." default:"1"`
	TTL  time.Duration `name:"ttl" help:"How long it is good." default:"168h"`
	URL  string        `help:"Where people reach the server, for the link. Default: where the server said it is when it last started." placeholder:"URL" env:"GRIMA_URL"`
	JSON bool          `name:"json" help:"Print the invite and its code as JSON."`
}

func (*inviteAddCmd) Help() string {
	return operatorHelp + ` The link is shown this once: the server keeps only a hash of its code.

    grima invite
    grima invite --uses 20 --ttl 48h
    grima invite --role admin --url https://chat.example.org`
}

// Run makes an invite.
func (c *inviteAddCmd) Run(ctx context.Context, std stdio) error {
	if c.Uses < 1 {
		return usagef("--uses must be at least 1, not %d", c.Uses)
	}
	if c.TTL < time.Second {
		return usagef("--ttl must be at least a second, not %v", c.TTL)
	}
	return c.asOperator(ctx, std, func(ctx context.Context, op operator) error {
		url, err := c.url()
		if err != nil {
			return err
		}
		if url == "" {
			url = "http://" + defaultListen
			fmt.Fprintf(std.err, "grima: nobody said where people reach the server, so the link leads to %s; --url URL says it\n", url)
		}
		params := protocol.InvitesCreateParams{Role: c.Role, MaxUses: c.Uses, TTLMS: c.TTL.Milliseconds()}
		var r protocol.InvitesCreateResult
		raw, err := ask(ctx, op, protocol.OpInvitesCreate, params, &r)
		if err != nil {
			return err
		}
		return printResult(std.out, c.JSON, raw, func() string {
			return fmt.Sprintf("%s\n\n%s, for %s, until %s. It is shown this once.\n",
				joinLink(url, r.Code), r.Invite.Role, people(r.Invite.MaxUses), r.Invite.ExpiresAt)
		})
	})
}

// url is where people reach the server; empty if nobody knows.
func (c *inviteAddCmd) url() (string, error) {
	if c.URL != "" {
		return cleanURL(c.URL)
	}
	text, err := os.ReadFile(filepath.Join(c.Data, urlFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading where people reach the server: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// joinLink is the link that brings a browser to the place where an invite's
// code is used. The code stands behind the #: browsers do not send that part,
// so it is in no proxy's log.
func joinLink(url, code string) string {
	return url + "/join#" + code
}

func people(n int64) string {
	if n == 1 {
		return "one person"
	}
	return strconv.FormatInt(n, 10) + " people"
}

type inviteListCmd struct {
	dataFlags

	JSON bool `name:"json" help:"Print one invite as JSON per line."`
}

func (*inviteListCmd) Help() string {
	return operatorHelp + `

    grima invite list`
}

// Run lists invites. Their codes are not known any more.
func (c *inviteListCmd) Run(ctx context.Context, std stdio) error {
	return c.asOperator(ctx, std, func(ctx context.Context, op operator) error {
		var r protocol.InvitesListResult
		if _, err := ask(ctx, op, protocol.OpInvitesList, protocol.Empty{}, &r); err != nil {
			return err
		}
		if c.JSON {
			return printJSONLines(std.out, r.Invites)
		}
		if len(r.Invites) == 0 {
			_, err := fmt.Fprintln(std.out, "no invites; grima invite makes one")
			return err
		}
		return printTable(std.out, []string{"ID", "ROLE", "USED", "BY", "UNTIL"}, len(r.Invites), func(i int) []string {
			v := r.Invites[i]
			by := v.CreatedBy
			if by == "" {
				by = "operator"
			}
			return []string{v.InviteID, v.Role, fmt.Sprintf("%d of %d", v.Uses, v.MaxUses), by, v.ExpiresAt}
		})
	})
}

type inviteRevokeCmd struct {
	dataFlags

	Invite string `arg:"" help:"Its id, as grima invite list shows it."`
}

func (*inviteRevokeCmd) Help() string {
	return operatorHelp + `

    grima invite revoke i_3`
}

// Run revokes an invite.
func (c *inviteRevokeCmd) Run(ctx context.Context, std stdio) error {
	return c.asOperator(ctx, std, func(ctx context.Context, op operator) error {
		if _, err := ask(ctx, op, protocol.OpInvitesRevoke, protocol.InviteParams{InviteID: c.Invite}, new(protocol.Empty)); err != nil {
			return hint(err, protocol.CodeNotFound, "grima invite list shows which there are")
		}
		_, err := fmt.Fprintf(std.out, "revoked %s\n", c.Invite)
		return err
	})
}

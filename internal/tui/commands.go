package tui

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// command is a line that begins with a slash.
type command struct {
	name, args, help string
	run              func(m *Model, args string) tea.Cmd
}

// commands are in the order that /help shows them in.
var commands []command

func init() {
	commands = []command{
		{"help", "", "keys and commands", func(m *Model, _ string) tea.Cmd { m.over = m.helpOverlay(); return nil }},
		{"msg", "@NAME [TEXT]", "talk to somebody alone", (*Model).cmdMsg},
		{"new", "TITLE [@NAME ...]", "make a group", (*Model).cmdNew},
		{"add", "@NAME ...", "bring people in", (*Model).cmdAdd},
		{"remove", "@NAME", "send somebody out", (*Model).cmdRemove},
		{"leave", "", "leave this group", (*Model).cmdLeave},
		{"title", "TEXT", "rename this group", (*Model).cmdTitle},
		{"topic", "[TEXT]", "say what this group is about", (*Model).cmdTopic},
		{"who", "", "who is here", func(m *Model, _ string) tea.Cmd { return m.inChat(func(c *chat) tea.Cmd { return m.askWho(c, true) }) }},
		{"search", "WORDS", "find messages", (*Model).cmdSearch},
		{"reply", "", "answer the newest message", (*Model).cmdReply},
		{"edit", "", "edit your newest message", (*Model).cmdEdit},
		{"delete", "", "delete your newest message", (*Model).cmdDelete},
		{"retry", "", "send again what was not sent", (*Model).cmdRetry},
		{"discard", "", "forget what was not sent", (*Model).cmdDiscard},
		{"read", "", "everything is read", (*Model).cmdRead},
		{"invite", "", "make a code with which somebody can join this server", (*Model).cmdInvite},
		{"presence", "[show|hide]", "whether others see that you are here", (*Model).cmdPresence},
		{"notify", "all|mentions|none", "what to be told of", (*Model).cmdNotify},
		{"theme", "dark|light", "how this looks", (*Model).cmdTheme},
		{"reconnect", "", "try to connect now", (*Model).cmdReconnect},
		{"quit", "", "leave", func(m *Model, _ string) tea.Cmd { m.quit = true; return nil }},
	}
}

// command carries a line out.
func (m *Model) command(line string) tea.Cmd {
	name, args, _ := strings.Cut(strings.TrimPrefix(line, "/"), " ")
	i := slices.IndexFunc(commands, func(c command) bool { return c.name == name })
	if i < 0 {
		m.say(true, "there is no /%s: /help lists all, and // sends a slash", name)
		return nil
	}
	m.abandon()
	return commands[i].run(m, strings.TrimSpace(args))
}

// inChat is for what needs a chat.
func (m *Model) inChat(f func(c *chat) tea.Cmd) tea.Cmd {
	if m.open == nil || !m.open.there {
		m.say(true, "there is no chat open")
		return nil
	}
	return f(m.open)
}

// find looks a username up on the server.
func find(ctx context.Context, be Backend, name string) (protocol.User, error) {
	u, ok, err := client.UserNamed(ctx, be, name)
	if err == nil && !ok {
		err = guess(ctx, be, strings.TrimPrefix(name, "@"))
	}
	return u, err
}

// guess says that a username is nobody's, and who may be meant: people know what
// others are called, and not always under which name they log in.
func guess(ctx context.Context, be Backend, name string) error {
	nobody := fmt.Errorf("nobody is called %q here", cleanLine(name))
	// By nothing, and by a server that cannot find, everybody would be listed
	// (docs/protocol.md#find).
	if name == "" || !slices.Contains(be.Hello().Capabilities, "find") || utf8.RuneCountInString(name) > 128 {
		return nobody
	}
	r, err := be.UsersList(ctx, protocol.UsersListParams{Find: name, Limit: 3})
	if err != nil || len(r.Users) == 0 {
		return nobody // that much is known
	}
	var meant []string
	for _, u := range r.Users {
		if u.Disabled {
			continue
		}
		meant = append(meant, "@"+cleanLine(u.Username)+" ("+nameOf(u)+")")
	}
	if len(meant) == 0 {
		return nobody
	}
	if r.HasMore {
		meant = append(meant, "…")
	}
	return fmt.Errorf("%w; there is %s", nobody, strings.Join(meant, ", "))
}

func findAll(ctx context.Context, be Backend, names []string) (ids []string, err error) {
	for _, n := range names {
		u, err := find(ctx, be, n)
		if err != nil {
			return nil, err
		}
		ids = append(ids, u.UserID)
	}
	return ids, nil
}

// opened is a doneMsg that opens the chat it made.
func (m *Model) opened(st protocol.ChatState, text string) doneMsg {
	return doneMsg{then: func() tea.Cmd {
		c := m.chat(st.ChatID)
		if !c.there {
			c.state(&client.Chat{ChatState: st, Pos: st.LastSeq})
			m.stale = true
		}
		cmd := m.show(c)
		if text != "" {
			cmd = tea.Batch(cmd, m.send(c, text))
		}
		return cmd
	}}
}

func (m *Model) cmdMsg(args string) tea.Cmd {
	name, text, _ := strings.Cut(args, " ")
	if name == "" {
		m.say(true, "/msg @NAME [TEXT]")
		return nil
	}
	be := m.be
	return m.ask(func(ctx context.Context) doneMsg {
		u, err := find(ctx, be, name)
		if err != nil {
			return doneMsg{err: err}
		}
		r, err := be.ChatsCreate(ctx, protocol.ChatsCreateParams{Kind: "private", UserID: u.UserID})
		if err != nil {
			return doneMsg{err: err}
		}
		return m.opened(r.Chat, strings.TrimSpace(text))
	})
}

func (m *Model) cmdNew(args string) tea.Cmd {
	var title, names []string
	for _, w := range strings.Fields(args) {
		if strings.HasPrefix(w, "@") {
			names = append(names, w)
		} else {
			title = append(title, w)
		}
	}
	if len(title) == 0 {
		m.say(true, "/new TITLE [@NAME ...]")
		return nil
	}
	be, id := m.be, client.NewID()
	return m.ask(func(ctx context.Context) doneMsg {
		ids, err := findAll(ctx, be, names)
		if err != nil {
			return doneMsg{err: err}
		}
		r, err := be.ChatsCreate(ctx, protocol.ChatsCreateParams{Kind: "group", Title: strings.Join(title, " "), UserIDs: ids, ClientChatID: id})
		if err != nil {
			return doneMsg{err: err}
		}
		return m.opened(r.Chat, "")
	})
}

func (m *Model) cmdAdd(args string) tea.Cmd {
	return m.inChat(func(c *chat) tea.Cmd {
		names := strings.Fields(args)
		if len(names) == 0 {
			m.say(true, "/add @NAME ...")
			return nil
		}
		be, id := m.be, c.ChatID
		return m.ask(func(ctx context.Context) doneMsg {
			ids, err := findAll(ctx, be, names)
			if err == nil {
				_, err = be.ParticipantsAdd(ctx, protocol.ParticipantsAddParams{ChatID: id, UserIDs: ids})
			}
			return doneMsg{err: err, then: func() tea.Cmd { return m.askMembers(c) }}
		})
	})
}

func (m *Model) cmdRemove(args string) tea.Cmd {
	return m.inChat(func(c *chat) tea.Cmd {
		if args == "" {
			m.say(true, "/remove @NAME")
			return nil
		}
		be, id := m.be, c.ChatID
		return m.ask(func(ctx context.Context) doneMsg {
			u, err := find(ctx, be, args)
			if err == nil {
				_, err = be.ParticipantsRemove(ctx, protocol.ParticipantParams{ChatID: id, UserID: u.UserID})
			}
			return doneMsg{err: err}
		})
	})
}

func (m *Model) cmdLeave(string) tea.Cmd {
	return m.inChat(func(c *chat) tea.Cmd {
		m.over = m.confirm("Leave "+m.title(c)+"?", "leave", func(m *Model) tea.Cmd {
			be, self, id := m.be, m.self.UserID, c.ChatID
			return m.ask(func(ctx context.Context) doneMsg {
				_, err := be.ParticipantsRemove(ctx, protocol.ParticipantParams{ChatID: id, UserID: self})
				return doneMsg{err: err}
			})
		})
		return nil
	})
}

func (m *Model) change(f func(p *protocol.ChatsUpdateParams)) tea.Cmd {
	return m.inChat(func(c *chat) tea.Cmd {
		p := protocol.ChatsUpdateParams{ChatID: c.ChatID}
		f(&p)
		be := m.be
		return m.ask(func(ctx context.Context) doneMsg {
			_, err := be.ChatsUpdate(ctx, p)
			return doneMsg{err: err}
		})
	})
}

func (m *Model) cmdTitle(args string) tea.Cmd {
	if args == "" {
		m.say(true, "/title TEXT")
		return nil
	}
	return m.change(func(p *protocol.ChatsUpdateParams) { p.Title = &args })
}

func (m *Model) cmdTopic(args string) tea.Cmd {
	return m.change(func(p *protocol.ChatsUpdateParams) {
		p.Topic = protocol.Opt[string]{Set: true, Null: args == "", Value: args}
	})
}

func (m *Model) cmdReply(string) tea.Cmd {
	return m.inChat(func(c *chat) tea.Cmd {
		msgs := c.tl.Messages(0)
		for i := len(msgs) - 1; i >= 0; i-- {
			if msgs[i].SenderID != m.self.UserID && !msgs[i].Deleted {
				c.replyTo = msgs[i].Seq
				return nil
			}
		}
		m.say(true, "there is nothing to answer")
		return nil
	})
}

func (m *Model) cmdEdit(string) tea.Cmd {
	return m.inChat(func(c *chat) tea.Cmd {
		if !m.editLast(c, 0) {
			m.say(true, "there is no message of yours to edit")
		}
		return nil
	})
}

func (m *Model) cmdDelete(string) tea.Cmd {
	return m.inChat(func(c *chat) tea.Cmd {
		msgs := c.tl.Messages(0)
		for i := len(msgs) - 1; i >= 0; i-- {
			if msgs[i].SenderID == m.self.UserID && !msgs[i].Deleted {
				m.over = m.confirmDelete(c, msgs[i])
				return nil
			}
		}
		m.say(true, "there is no message of yours to delete")
		return nil
	})
}

// ofFailed does something with each failed message of the open chat.
func (m *Model) ofFailed(f func(ctx context.Context, id string) error) tea.Cmd {
	return m.inChat(func(c *chat) tea.Cmd {
		var ids []string
		for _, it := range c.waiting {
			if it.Progress == client.Failed {
				ids = append(ids, it.ID)
			}
		}
		if len(ids) == 0 {
			m.say(false, "nothing failed here")
			return nil
		}
		return m.ask(func(ctx context.Context) doneMsg {
			var errs []error
			for _, id := range ids {
				errs = append(errs, f(ctx, id))
			}
			return doneMsg{err: errors.Join(errs...)}
		})
	})
}

func (m *Model) cmdRetry(string) tea.Cmd { return m.ofFailed(m.be.Retry) }

func (m *Model) cmdDiscard(string) tea.Cmd {
	return m.ofFailed(func(ctx context.Context, id string) error {
		_, err := m.be.Discard(ctx, id)
		return err
	})
}

func (m *Model) cmdRead(string) tea.Cmd {
	be := m.be
	marks := map[string]int64{}
	for _, c := range m.order {
		c.newFrom = 0
		c.seenAll()
		if c.Unread > 0 {
			marks[c.ChatID] = c.LastSeq
		}
	}
	return func() tea.Msg {
		for id, seq := range marks {
			be.MarkRead(id, seq)
		}
		return doneMsg{}
	}
}

func (m *Model) cmdInvite(string) tea.Cmd {
	be := m.be
	return m.ask(func(ctx context.Context) doneMsg {
		r, err := be.InvitesCreate(ctx, protocol.InvitesCreateParams{})
		return doneMsg{err: err, text: "an invite for one person, good for a week: " + r.Code}
	})
}

func (m *Model) cmdNotify(args string) tea.Cmd {
	switch args {
	case "all", "mentions", "none":
		m.opts.Notify = args
		m.say(false, "notifications: %s, until you leave; --notify keeps it", args)
	default:
		m.say(true, "/notify all|mentions|none")
	}
	return nil
}

func (m *Model) cmdTheme(args string) tea.Cmd {
	if args != "dark" && args != "light" {
		m.say(true, "/theme dark|light")
		return nil
	}
	m.th = newTheme(args == "dark")
	m.cache.init()
	return nil
}

func (m *Model) cmdReconnect(string) tea.Cmd {
	be := m.be
	return func() tea.Msg {
		be.Reconnect()
		return doneMsg{}
	}
}

func (m *Model) cmdSearch(args string) tea.Cmd {
	if args == "" {
		m.say(true, "/search WORDS")
		return nil
	}
	if m.opts.Search == nil {
		m.found(foundMsg{words: args, messages: m.searchLoaded(args), partial: true})
		return nil
	}
	search := m.opts.Search
	return m.ask(func(ctx context.Context) doneMsg {
		messages, err := search(ctx, "", args)
		return doneMsg{err: err, then: func() tea.Cmd {
			m.found(foundMsg{words: args, messages: messages})
			return nil
		}}
	})
}

// searchLoaded looks through the history that is in memory, newest first.
func (m *Model) searchLoaded(words string) []protocol.Message {
	needles := strings.Fields(strings.ToLower(words))
	var hits []protocol.Message
	for _, c := range m.order {
		if c.tl == nil {
			continue
		}
		msgs := c.messages()
		for i := len(msgs) - 1; i >= 0 && len(hits) < 500; i-- {
			text := strings.ToLower(msgs[i].Content)
			if !slices.ContainsFunc(needles, func(n string) bool { return !strings.Contains(text, n) }) && !msgs[i].Deleted {
				hits = append(hits, msgs[i])
			}
		}
	}
	slices.SortStableFunc(hits, func(a, b protocol.Message) int { return strings.Compare(b.CreatedAt, a.CreatedAt) })
	return hits
}

package harness

import (
	"fmt"

	"github.com/grima-chat/grima/protocol"
)

// password is what every account of a harness uses; they live on servers that
// are thrown away.
const password = "correct horse battery"

// Register makes an account on a server with open registration and returns a
// token and its user id.
func Register(addr, username string) (token, userID string, err error) {
	c, err := Dial(addr, nil)
	if err != nil {
		return "", "", err
	}
	defer c.Close()
	if err := c.Data(protocol.OpUsersCreate, protocol.UsersCreateParams{Username: username, Password: password}, nil); err != nil {
		return "", "", fmt.Errorf("registering %s: %w", username, err)
	}
	no := false
	var res protocol.SessionStartResult
	if err := c.Session(protocol.OpSessionStart, protocol.SessionStartParams{
		Mechanism: protocol.MechanismPlain, Username: username, Password: password, Device: "harness", Subscribe: &no,
	}, &res); err != nil {
		return "", "", fmt.Errorf("logging %s in: %w", username, err)
	}
	return res.Token, res.User.UserID, nil
}

// Login connects and resumes token's session; subscribe asks for live events.
func Login(addr, token string, subscribe bool, onEvent func(line []byte)) (*Conn, error) {
	c, err := Dial(addr, onEvent)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrClosed, err)
	}
	if err := c.Session(protocol.OpSessionStart, protocol.SessionStartParams{
		Mechanism: protocol.MechanismToken, Token: token, Subscribe: &subscribe,
	}, nil); err != nil {
		c.Close()
		return nil, fmt.Errorf("resuming a session: %w", err)
	}
	return c, nil
}

// CreateGroup makes a group with the users (any number) and returns its id.
func CreateGroup(c *Conn, title string, users []string) (string, error) {
	first := users[:min(len(users), protocol.MaxPage)]
	var res protocol.ChatsCreateResult
	if err := c.Data(protocol.OpChatsCreate, protocol.ChatsCreateParams{Kind: "group", Title: title, UserIDs: first}, &res); err != nil {
		return "", fmt.Errorf("creating a group: %w", err)
	}
	for users = users[len(first):]; len(users) > 0; {
		n := min(len(users), protocol.MaxPage)
		if err := c.Data(protocol.OpParticipantsAdd, protocol.ParticipantsAddParams{ChatID: res.Chat.ChatID, UserIDs: users[:n]}, nil); err != nil {
			return "", fmt.Errorf("adding people: %w", err)
		}
		users = users[n:]
	}
	return res.Chat.ChatID, nil
}

// ReadAll pages through a chat from its beginning and returns every message.
func ReadAll(c *Conn, chat string) ([]protocol.Message, error) {
	var all []protocol.Message
	for after := int64(0); ; {
		var page protocol.MessagesListResult
		if err := c.Data(protocol.OpMessagesList, protocol.MessagesListParams{ChatID: chat, After: &after, Limit: protocol.MaxPage}, &page); err != nil {
			return nil, fmt.Errorf("reading %s after %d: %w", chat, after, err)
		}
		all = append(all, page.Messages...)
		if !page.HasMoreAfter {
			return all, nil
		}
		if len(page.Messages) == 0 {
			return nil, fmt.Errorf("reading %s after %d: an empty page says there is more", chat, after)
		}
		after = page.Messages[len(page.Messages)-1].Seq
	}
}

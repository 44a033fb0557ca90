package api

import (
	"strconv"
	"strings"

	"github.com/grima-chat/grima/internal/chat"
)

// Ids are strings on the wire: a letter for the kind of thing, an underscore,
// and the key as a canonical decimal (docs/protocol.md#ids). No other spelling
// of a number names the same thing.
const (
	prefixUser    = "u_"
	prefixSession = "s_"
	prefixChat    = "c_"
	prefixInvite  = "i_"
)

// noID is a key that no row has. A malformed id becomes one, so that it takes
// the same road as the id of something that does not exist, and gets the very
// same answer.
const noID = -1

func parseID(s, prefix string) int64 {
	digits, ok := strings.CutPrefix(s, prefix)
	if !ok || digits == "" || digits[0] < '1' || digits[0] > '9' {
		return noID
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return noID
	}
	return n
}

func userID(s string) chat.UserID       { return chat.UserID(parseID(s, prefixUser)) }
func sessionID(s string) chat.SessionID { return chat.SessionID(parseID(s, prefixSession)) }
func chatID(s string) chat.ChatID       { return chat.ChatID(parseID(s, prefixChat)) }
func inviteID(s string) chat.InviteID   { return chat.InviteID(parseID(s, prefixInvite)) }

// userIDs keeps nil nil: for some operations an absent list is not an empty
// one.
func userIDs(in []string) []chat.UserID {
	if in == nil {
		return nil
	}
	out := make([]chat.UserID, len(in))
	for i, s := range in {
		out[i] = userID(s)
	}
	return out
}

func appendID(dst []byte, prefix string, id int64) []byte {
	return strconv.AppendInt(append(dst, prefix...), id, 10)
}

func formatID(prefix string, id int64) string {
	if id == 0 {
		return ""
	}
	return string(appendID(make([]byte, 0, 24), prefix, id))
}

// FormatUser, FormatSession and FormatChat give ids as they stand on the wire,
// for logs and for what talks about them outside an operation. The zero id is
// the empty string.
func FormatUser(id chat.UserID) string       { return formatID(prefixUser, int64(id)) }
func FormatSession(id chat.SessionID) string { return formatID(prefixSession, int64(id)) }
func FormatChat(id chat.ChatID) string       { return formatID(prefixChat, int64(id)) }

// ParseChat reads a chat's id from the wire. A malformed one gives an id that
// no chat has.
func ParseChat(s string) chat.ChatID { return chatID(s) }

package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// Cursors are opaque to clients (docs/protocol.md#cursors). Inside they are
// readable: what kind of list they belong to, whom and what they are bound to,
// then the position. One that does not fit is refused, loudly.
//
//	v1.<epoch>.<user>.<after>[.<chat>[.<below>.<chat>]]   sync
//	c1.<epoch>.<user>.<after>[.<chat>[.<below>.<chat>]]   chats.list
//	p1.<chat>.<user>                                      participants.list
//	u1[.<prefix>].<user>                                  users.list
//	f1.<sum of find>.<user>.<word, as base64>             users.list, with find
//	b1.<chat>                                             chats.browse
const (
	cursorSync         = "v1"
	cursorChats        = "c1"
	cursorParticipants = "p1"
	cursorUsers        = "u1"
	cursorFound        = "f1"
	cursorListed       = "b1"
)

var errCursor = protocol.NewError(protocol.CodeCursorInvalid, "this cursor is not one of this list, this user and this server's history: begin again without one")

func formatPos(kind, epoch string, user chat.UserID, p chat.SyncPos) string {
	b := append(make([]byte, 0, 64), kind...)
	b = append(append(b, '.'), epoch...)
	for i, n := range [...]int64{int64(user), p.After, int64(p.AfterChat), p.Below, int64(p.BelowChat)} {
		if i == 2 && p.AfterChat == 0 && p.Below == 0 || i == 3 && p.Below == 0 {
			break
		}
		b = strconv.AppendInt(append(b, '.'), n, 10)
	}
	return string(b)
}

// parsePos reads a cursor of sync or chats.list; the empty one begins.
func parsePos(s, kind, epoch string, user chat.UserID) (chat.SyncPos, error) {
	if s == "" {
		return chat.SyncPos{}, nil
	}
	rest, ok := strings.CutPrefix(s, kind+"."+epoch+".")
	if !ok {
		return chat.SyncPos{}, errCursor
	}
	n, ok := numbers(rest)
	if !ok || n[0] != int64(user) {
		return chat.SyncPos{}, errCursor
	}
	var p chat.SyncPos
	switch len(n) {
	case 2:
		p = chat.SyncPos{After: n[1]}
	case 3:
		p = chat.SyncPos{After: n[1], AfterChat: chat.ChatID(n[2])}
	case 5:
		p = chat.SyncPos{After: n[1], AfterChat: chat.ChatID(n[2]), Below: n[3], BelowChat: chat.ChatID(n[4])}
	}
	// Only the spelling that formatPos gives is a cursor.
	if formatPos(kind, epoch, user, p) != s {
		return chat.SyncPos{}, errCursor
	}
	return p, nil
}

// formatAfter makes the cursor of a list by ascending id; scope says to which of
// those of its kind the list belongs, empty: there is one.
func formatAfter(kind, scope string, after int64) string {
	if scope != "" {
		kind += "." + scope
	}
	return kind + "." + strconv.FormatInt(after, 10)
}

// parseAfter reads one; the empty one begins.
func parseAfter(s, kind, scope string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	after, err := strconv.ParseUint(s[strings.LastIndexByte(s, '.')+1:], 10, 63)
	// Only the spelling that formatAfter gives is a cursor.
	if err != nil || formatAfter(kind, scope, int64(after)) != s {
		return 0, errCursor
	}
	return int64(after), nil
}

// formatFound makes the cursor of who is found by find.
func formatFound(find string, p chat.FoundPos) string {
	sum := sha256.Sum256([]byte(find))
	return strings.Join([]string{
		cursorFound, hex.EncodeToString(sum[:8]), strconv.FormatInt(int64(p.User), 10),
		base64.RawURLEncoding.EncodeToString([]byte(p.Word)),
	}, ".")
}

// parseFound reads one; the empty one begins.
func parseFound(s, find string) (p chat.FoundPos, err error) {
	if s == "" {
		return p, nil
	}
	if parts := strings.Split(s, "."); len(parts) == 4 {
		user, err1 := strconv.ParseUint(parts[2], 10, 63)
		word, err2 := base64.RawURLEncoding.DecodeString(parts[3])
		p = chat.FoundPos{Word: string(word), User: chat.UserID(user)}
		// Only the spelling that formatFound gives is a cursor.
		if err1 == nil && err2 == nil && utf8.Valid(word) && formatFound(find, p) == s {
			return p, nil
		}
	}
	return chat.FoundPos{}, errCursor
}

// scopeOf is the scope of a chat's lists.
func scopeOf(id chat.ChatID) string { return strconv.FormatInt(int64(id), 10) }

// numbers reads one or more decimals between dots.
func numbers(s string) ([]int64, bool) {
	parts := strings.Split(s, ".")
	out := make([]int64, len(parts))
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 63)
		if err != nil {
			return nil, false
		}
		out[i] = int64(n)
	}
	return out, true
}

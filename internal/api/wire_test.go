package api

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

func TestIDs(t *testing.T) {
	for _, id := range []chat.UserID{1, 10, math.MaxInt64} {
		if got := userID(FormatUser(id)); got != id {
			t.Errorf("%d became %d", id, got)
		}
	}
	for _, s := range []string{
		"", "u", "u_", "u_0", "u_-1", "u_+1", "u_01", "u_1 ", " u_1", "U_1", "c_1", "1", "u_1.0", "u_1e3",
		"u_9223372036854775808", "u_0x1", "u_1_000", "u_١",
	} {
		if got := userID(s); got != noID {
			t.Errorf("%q was taken for user %d", s, got)
		}
	}
	if FormatUser(0) != "" || FormatChat(7) != "c_7" || FormatSession(8) != "s_8" || chatID("c_7") != 7 || sessionID("s_8") != 8 || inviteID("i_9") != 9 {
		t.Error("ids do not stand for what they should")
	}
}

func TestTimes(t *testing.T) {
	zone := time.FixedZone("somewhere", 3600)
	if got := formatTime(time.Date(2026, 9, 20, 11, 0, 7, 120_999_999, zone)); got != "2026-09-20T10:00:07.120Z" {
		t.Error(got)
	}
	if formatTime(time.Time{}) != "" {
		t.Error("the zero time has a text")
	}
	if got := milliseconds(1500); got != 1500*time.Millisecond {
		t.Error(got)
	}
	if milliseconds(protocol.MaxInteger) < 100*365*24*time.Hour || milliseconds(-protocol.MaxInteger) > -100*365*24*time.Hour {
		t.Error("a long time overflows")
	}
}

func TestCursors(t *testing.T) {
	for _, p := range []chat.SyncPos{
		{After: 9131},
		{After: 0, Below: 7, BelowChat: 3},
		{After: 5, AfterChat: 2},
		{After: 5, AfterChat: 2, Below: 9},
	} {
		s := formatPos(cursorSync, "7f3a", 4, p)
		got, err := parsePos(s, cursorSync, "7f3a", 4)
		if err != nil || got != p {
			t.Errorf("%s: got %v, %v want %v", s, got, err, p)
		}
		for why, parse := range map[string]func() (chat.SyncPos, error){
			"another user's":    func() (chat.SyncPos, error) { return parsePos(s, cursorSync, "7f3a", 5) },
			"another history's": func() (chat.SyncPos, error) { return parsePos(s, cursorSync, "7f3b", 4) },
			"another list's":    func() (chat.SyncPos, error) { return parsePos(s, cursorChats, "7f3a", 4) },
		} {
			if _, err := parse(); ToError(err).Code != protocol.CodeCursorInvalid {
				t.Errorf("%s cursor %s gave %v", why, s, err)
			}
		}
	}
	if s := formatPos(cursorSync, "7f3a", 4, chat.SyncPos{After: 9131}); s != "v1.7f3a.4.9131" {
		t.Error(s)
	}
	for _, s := range []string{
		"v1", "v1.7f3a", "v1.7f3a.4", "v1.7f3a.4.", "v1.7f3a.4.x", "v1.7f3a.4.-1", "v1.7f3a.4.+1", "v1.7f3a.4.01", "v1.7f3a.4.1.0", "v1.7f3a.4.1.2.3",
		"v1.7f3a.4.1.2.3.4.5", "v1.7f3a.4.1.0.0.0", "v1.7f3a.4.9223372036854775808", "v1.7f3a.4.1 ", "V1.7f3a.4.1", "null",
	} {
		if p, err := parsePos(s, cursorSync, "7f3a", 4); ToError(err).Code != protocol.CodeCursorInvalid {
			t.Errorf("%s was taken for %v", s, p)
		}
	}

	s := formatAfter(cursorParticipants, scopeOf(7), 12)
	if after, err := parseAfter(s, cursorParticipants, scopeOf(7)); err != nil || after != 12 {
		t.Errorf("%s: %d, %v", s, after, err)
	}
	if _, err := parseAfter(s, cursorParticipants, scopeOf(8)); ToError(err).Code != protocol.CodeCursorInvalid {
		t.Error("a cursor of one chat's people goes on in another chat")
	}
	for _, scope := range []string{"", "a", "a.5", "-.", ".", "7"} {
		s := formatAfter(cursorUsers, scope, 12)
		for _, other := range []string{"", "a", "a.5", "-.", ".", "7", "a.5.12", "12"} {
			after, err := parseAfter(s, cursorUsers, other)
			if good := err == nil && after == 12; good != (scope == other) {
				t.Errorf("%s as one of %q: %d, %v", s, other, after, err)
			}
		}
	}
	for _, s := range []string{"u1", "u1.", "u1.x", "u1.1.2", "u1.-1", "u1.+1", "u1.01", "u1.9223372036854775808", "p1.7.12"} {
		if after, err := parseAfter(s, cursorUsers, ""); ToError(err).Code != protocol.CodeCursorInvalid {
			t.Errorf("%s was taken for %d", s, after)
		}
	}
}

// Every code that package chat declares has its wire code, which is spelled
// alike and has a row in the protocol's table.
func TestEveryErrorCode(t *testing.T) {
	known := map[protocol.Code]bool{}
	for _, i := range protocol.Codes() {
		known[i.Code] = true
	}
	declared := constants(t, "../chat/errors.go", "Code")
	if len(declared) != len(codes) {
		t.Errorf("chat declares %d codes, the mapping has %d", len(declared), len(codes))
	}
	for name, value := range declared {
		code := chat.Code(strings.Trim(value, `"`))
		got := ToError(fmt.Errorf("sending: %w", &chat.Error{Code: code, Message: "for a person", Cause: errors.New("secret")}))
		if string(got.Code) != string(code) || !known[got.Code] {
			t.Errorf("%s (%s) became %s", name, code, got.Code)
		}
		if strings.Contains(got.Message, "secret") {
			t.Errorf("%s shows its cause: %s", name, got.Message)
		}
		if got.Retryable != got.Code.Info().Retryable {
			t.Errorf("%s: retryable is %v", name, got.Retryable)
		}
	}
	for _, err := range []error{errors.New("disk on fire"), chat.ErrNotFound, chat.Errorf("brand_new", "disk on fire"), chat.Errorf(chat.CodeInternal, "disk on fire")} {
		if got := ToError(err); got.Code != protocol.CodeInternal || got.Message != internalMessage {
			t.Errorf("%v is shown as %v", err, got)
		}
	}
	if got := ToError(fmt.Errorf("reading: %w", context.DeadlineExceeded)); got.Code != protocol.CodeTimeout {
		t.Errorf("a deadline gave %v", got)
	}
	if got := ToError(&chat.Error{Code: chat.CodeRateLimited, RetryAfter: 1500*time.Millisecond + 1}); got.RetryAfterMS != 1501 || !got.Retryable {
		t.Errorf("a limit on rates gave %+v", got)
	}
}

// The wire's bounds and the rules' bounds are declared twice, since chat knows
// nobody; they are the same.
func TestLimitsAgree(t *testing.T) {
	wire, rules := constants(t, "../../protocol/limits.go", ""), constants(t, "../chat/limits.go", "")
	shared := 0
	for name, value := range rules {
		if w, ok := wire[name]; ok {
			shared++
			if w != value {
				t.Errorf("%s is %s in protocol and %s in chat", name, w, value)
			}
		}
	}
	if shared < 5 {
		t.Errorf("only %d limits have the same name in protocol and chat: %v", shared, rules)
	}
}

// constants reads a file's constants whose names begin with prefix, as they are
// written.
func constants(t *testing.T, path, prefix string) map[string]string {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, src, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			for i, n := range v.Names {
				if strings.HasPrefix(n.Name, prefix) && i < len(v.Values) {
					out[n.Name] = string(src[fset.Position(v.Values[i].Pos()).Offset:fset.Position(v.Values[i].End()).Offset])
				}
			}
		}
	}
	return out
}

package chat_test

import (
	"strings"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

func TestUsernames(t *testing.T) {
	for in, want := range map[string]string{
		"ana": "ana", "ANA": "ana", "Ana.B_c-9": "ana.b_c-9", "7up": "7up", "x": "x",
		strings.Repeat("a", chat.MaxUsername): strings.Repeat("a", chat.MaxUsername),
	} {
		got, err := chat.CanonicalUsername(in)
		if err != nil || got != want {
			t.Errorf("%q became %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", ".ana", "_ana", "-ana", "a na", " ana", "ana ", "a@b", "ána", "аna", "ana\x00", "ana\n", "\u212a", "ſ",
		strings.Repeat("a", chat.MaxUsername+1), "all", "Admin", "HERE", "everyone", "system", "grima", "root",
	} {
		if got, err := chat.CanonicalUsername(in); chat.CodeOf(err) != chat.CodeInvalidRequest || err == nil {
			t.Errorf("%q became %q, %v", in, got, err)
		}
	}
}

// What people see must be what there is.
func TestNamesAndTitles(t *testing.T) {
	w := newWorld(t)
	ana := w.people("ana")[0]
	id := ana.group("Port")
	for in, want := range map[string]string{
		"👨\u200d👩\u200d👧": "👨\u200d👩\u200d👧", "🏳\ufe0f\u200d🌈": "🏳\ufe0f\u200d🌈", "می\u200cخواهم": "می\u200cخواهم", "क्\u200dष": "क्\u200dष",
		"Ana": "Ana", "  Ana B.  ": "Ana B.", "安娜": "安娜", "Ана": "Ана", "a\u0301": "a\u0301", "❤️": "❤️", "7": "7", "*": "*",
		strings.Repeat("é", chat.MaxName): strings.Repeat("é", chat.MaxName),
	} {
		u, err := w.UpdateUser(ctx, ana.Actor, 0, chat.UserPatch{Name: &in})
		ok(t, err)
		st, err := w.UpdateChat(ctx, ana.Actor, id, chat.ChatPatch{Title: &in})
		ok(t, err)
		same(t, []string{u.Name, st.Chat.Title}, []string{want, want})
	}
	for _, in := range []string{
		"", " ", "\t", "a\nb", "a\x00b", "a\x7f", "a\u202eb", "a\u2066b", "a\u200bb", "a\u200d", "\u200cb", "a\u200d\u200db", "a\u200c\u200db", "a \u200db", "a\u200d b", "\u200d", "\ufeffa", "a\u00adb", "\u3164", "a\u2800",
		"a\u2028b", "\u0301", "a\xff", strings.Repeat("é", chat.MaxTitle+1), "a\U000e0041",
	} {
		_, err := w.UpdateUser(ctx, ana.Actor, 0, chat.UserPatch{Name: &in})
		refused(t, err, chat.CodeInvalidRequest)
		_, err = w.UpdateChat(ctx, ana.Actor, id, chat.ChatPatch{Title: &in})
		refused(t, err, chat.CodeInvalidRequest)
	}
	_, err := w.UpdateUser(ctx, ana.Actor, 0, chat.UserPatch{Name: ptr(strings.Repeat("é", chat.MaxName+1))})
	refused(t, err, chat.CodeInvalidRequest)
	_, err = w.UpdateChat(ctx, ana.Actor, id, chat.ChatPatch{Topic: ptr(strings.Repeat("é", chat.MaxTopic+1))})
	refused(t, err, chat.CodeInvalidRequest)
	_, err = w.UpdateChat(ctx, ana.Actor, id, chat.ChatPatch{Topic: ptr(strings.Repeat("é", chat.MaxTopic))})
	ok(t, err)
	_, err = w.UpdateChat(ctx, ana.Actor, id, chat.ChatPatch{Topic: ptr("")})
	ok(t, err)
}

func TestPasswords(t *testing.T) {
	w := newWorld(t)
	for i, in := range []string{
		"", "1234567", strings.Repeat("x", chat.MaxPassword+1), "password", "PassWord1", "12345678", "qwertyuiop", "changeme", "somebody1", "SomeBody1",
	} {
		_, err := w.Register(ctx, operator, home, chat.NewUser{Username: "somebody1", Password: in})
		if chat.CodeOf(err) != chat.CodeInvalidRequest || err == nil {
			t.Errorf("%d: %q was taken: %v", i, in, err)
		}
	}
	if _, err := w.Register(ctx, operator, home, chat.NewUser{Username: "fine", Password: "zxcvbnm1"}); err == nil {
		t.Error("the last of the common passwords was taken")
	}
	// Passwords are bytes: spaces count, and so does every form of a letter.
	for i, in := range []string{" 8 bytes", strings.Repeat("x", chat.MaxPassword), "\x00\xff\xfe bytes", "é́ é́ é́"} {
		name := "user" + string(rune('a'+i))
		_, err := w.Register(ctx, operator, home, chat.NewUser{Username: name, Password: in})
		ok(t, err)
		_, err = w.LoginPassword(ctx, home, name, in, "", "")
		ok(t, err)
		_, err = w.LoginPassword(ctx, home, name, in+" ", "", "")
		refused(t, err, chat.CodeInvalidCredentials)
	}
}

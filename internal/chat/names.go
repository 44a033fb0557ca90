package chat

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// reservedUsernames would be taken for somebody they are not, or for a mention
// of everybody.
var reservedUsernames = []string{
	"abuse", "admin", "administrator", "all", "anonymous", "channel", "deleted", "everybody", "everyone",
	"grima", "here", "me", "moderator", "nobody", "null", "official", "operator", "owner", "postmaster",
	"root", "security", "server", "staff", "support", "sysop", "system", "undefined", "webmaster",
}

// CanonicalUsername is the one spelling of username under which its owner is
// found: ASCII letters in lower case, digits, dots, underscores and dashes, 1
// to 32 of them, the first a letter or digit.
func CanonicalUsername(username string) (string, error) {
	if username == "" || len(username) > MaxUsername {
		return "", Errorf(CodeInvalidRequest, "a username has 1 to %d characters", MaxUsername)
	}
	name := lowerASCII(username)
	for i, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return "", Errorf(CodeInvalidRequest, "a username has letters (a to z) and digits, and after the first also . _ -")
		}
	}
	if slices.Contains(reservedUsernames, name) {
		return "", Errorf(CodeInvalidRequest, "the username %s is reserved; choose another", name)
	}
	return name, nil
}

// lowerASCII has the case that usernames have.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// checkLine trims a line of text that people see and sees that it has at most
// most code points and nothing that hides in it or changes how its neighbours
// look. what names it in errors.
func checkLine(what, line string, most int) (string, error) {
	if !utf8.ValidString(line) {
		return "", Errorf(CodeInvalidRequest, "%s must be UTF-8", what)
	}
	line = strings.TrimSpace(line)
	if utf8.RuneCountInString(line) > most {
		return "", Errorf(CodeInvalidRequest, "%s has at most %d characters", what, most)
	}
	before := rune(0)
	for i, r := range line {
		if joins(r) {
			after, _ := utf8.DecodeRuneInString(line[i+utf8.RuneLen(r):])
			if joinable(before) && joinable(after) {
				before = r
				continue
			}
		}
		before = r
		if hidden(r) {
			return "", Errorf(CodeInvalidRequest, "%s must not have invisible or control characters (%U)", what, r)
		}
	}
	return line, nil
}

// checkName is checkLine for what must show something.
func checkName(what, line string, most int) (string, error) {
	line, err := checkLine(what, line, most)
	if err != nil {
		return "", err
	}
	if strings.IndexFunc(line, visible) < 0 {
		return "", Errorf(CodeInvalidRequest, "%s must not be empty", what)
	}
	return line, nil
}

// hidden reports whether r is a control, a format character such as those that
// turn the direction of writing, or draws nothing. Variation selectors, which
// belong to emoji, are fine.
func hidden(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co,
		unicode.Other_Default_Ignorable_Code_Point) || r == '\u2800' // blank Braille
}

// joins reports whether r is a zero-width joiner or non-joiner. Between two that
// show something they belong to the writing: Persian words and most families of
// emoji have them. Elsewhere nobody would see them.
func joins(r rune) bool { return r == '\u200c' || r == '\u200d' }

// joinable: also the marks and variation selectors that come before a joiner.
func joinable(r rune) bool {
	return r != utf8.RuneError && (visible(r) || unicode.IsMark(r)) && !hidden(r)
}

func visible(r rune) bool {
	return unicode.IsGraphic(r) && !unicode.IsSpace(r) && !unicode.IsMark(r)
}

// checkKey looks at a client_msg_id or client_chat_id; empty is none.
func checkKey(what, key string) error {
	if len(key) > MaxClientMsgID {
		return Errorf(CodeInvalidRequest, "%s has at most %d bytes", what, MaxClientMsgID)
	}
	if !utf8.ValidString(key) || strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return Errorf(CodeInvalidRequest, "%s must be printable UTF-8", what)
	}
	return nil
}

// checkContent looks at a message's content.
func checkContent(content string) error {
	switch {
	case content == "":
		return Errorf(CodeInvalidRequest, "content must not be empty")
	case len(content) > MaxContent:
		return Errorf(CodeContentTooLarge, "content has %d bytes; at most %d go into one message", len(content), MaxContent)
	case !utf8.ValidString(content):
		return Errorf(CodeInvalidRequest, "content must be UTF-8")
	case strings.IndexByte(content, 0) >= 0:
		return Errorf(CodeInvalidRequest, "content must not have U+0000")
	}
	return nil
}

// checkPassword looks at a new password of username's. It is taken byte by
// byte: no trimming, no normalizing.
func checkPassword(password, username string) error {
	lower := strings.ToLower(password)
	switch {
	case len(password) < MinPassword:
		return Errorf(CodeInvalidRequest, "a password has at least %d bytes", MinPassword)
	case len(password) > MaxPassword:
		return Errorf(CodeInvalidRequest, "a password has at most %d bytes", MaxPassword)
	case lower == username:
		return Errorf(CodeInvalidRequest, "the password must not be the username")
	case slices.Contains(commonPasswords, lower):
		return Errorf(CodeInvalidRequest, "that password is among the first that anybody would try; choose another")
	}
	return nil
}

// commonPasswords are those of the most used ones that are long enough to be
// taken, in lower case.
var commonPasswords = []string{
	"00000000", "0123456789", "0987654321", "11111111", "1111111111", "12121212", "123123123", "12345678",
	"123456789", "1234567890", "12345678910", "123456789a", "123456abc", "1234abcd", "1234qwer", "123qweasd",
	"147258369", "1q2w3e4r", "1q2w3e4r5t", "1qaz2wsx", "22222222", "55555555", "66666666", "77777777", "87654321",
	"88888888", "987654321", "99999999", "a1234567", "a12345678", "a123456789", "aa123456", "aa12345678",
	"abc12345", "abcd1234", "abcdefg1", "abcdefgh", "access14", "admin123", "adminadmin", "administrator",
	"asdf1234", "asdfasdf", "asdfghjk", "asdfghjkl", "baseball", "basketball", "blink182", "changeme",
	"changeme1", "chocolate", "computer", "consumer", "corvette", "danielle", "default1", "dragon123", "einstein",
	"football", "football1", "freedom1", "godzilla", "hello123", "iloveyou", "iloveyou1", "internet", "jennifer",
	"jonathan", "letmein1", "letmein123", "liverpool", "logitech", "master123", "maverick", "mercedes",
	"metallica", "michelle", "midnight", "minecraft", "monkey123", "mustang1", "nicholas", "p@ssw0rd", "p@ssword",
	"pa$$w0rd", "pass1234", "passw0rd", "password", "password!", "password1", "password12", "password123",
	"password1234", "patricia", "pokemon1", "princess", "princess1", "q1w2e3r4", "q1w2e3r4t5", "qazwsx123",
	"qazwsxedc", "qwer1234", "qwerty12", "qwerty123", "qwerty1234", "qwertyui", "qwertyuiop", "rootroot",
	"samantha", "scorpion", "secret123", "sunshine", "sunshine1", "superman", "superman1", "test1234", "testtest",
	"trustno1", "user1234", "victoria", "welcome1", "welcome123", "whatever", "william1", "zaq12wsx", "zxcvbnm1",
}

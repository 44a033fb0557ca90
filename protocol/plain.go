package protocol

import (
	"bytes"
	"unicode/utf8"
)

// Nearly all lines are plain: compact JSON with few members, hardly nested,
// names without escapes, strings without \u. Those are read here at a third of
// the price. This is a subset of what readObject takes, never more: whatever is
// not plain, a mistake above all, is left to the way that can say what is
// wrong. FuzzPlain holds the two together.

const (
	plainMembers = 16 // of one object
	plainDepth   = 4  // well below MaxDepth
)

type span struct{ name, value []byte }

// readPlain reads text as a plain object. If ok, the first n members are its.
func readPlain(text []byte, members *[plainMembers]span) (n int, ok bool) {
	end, n := plainObject(text, 0, plainDepth, members)
	return n, end == len(text)
}

// plainObject reads the object that begins at text[i] and returns where it
// ends, or -1, and how many members it has.
func plainObject(text []byte, i, depth int, members *[plainMembers]span) (end, n int) {
	if depth == 0 || byteAt(text, i) != '{' {
		return -1, 0
	}
	if i++; byteAt(text, i) == '}' {
		return i + 1, 0
	}
	for ; n < plainMembers; n++ {
		colon := plainString(text, i)
		if colon < 0 || byteAt(text, colon) != ':' {
			return -1, 0
		}
		name := text[i+1 : colon-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			return -1, 0 // equal names may be written differently
		}
		for _, m := range members[:n] {
			if bytes.Equal(m.name, name) {
				return -1, 0
			}
		}
		i = skipSpace(text, colon+1)
		end := plainValue(text, i, depth-1)
		if end < 0 {
			return -1, 0
		}
		members[n] = span{name, text[i:end:end]}
		switch byteAt(text, end) {
		case '}':
			return end + 1, n + 1
		case ',':
			i = skipSpace(text, end+1)
		default:
			return -1, 0
		}
	}
	return -1, 0
}

// plainValue returns where the value that begins at text[i] ends, or -1.
func plainValue(text []byte, i, depth int) int {
	switch c := byteAt(text, i); {
	case c == '"':
		return plainString(text, i)
	case c == '-' || '0' <= c && c <= '9':
		return plainInteger(text, i)
	case c == '{':
		var members [plainMembers]span
		end, _ := plainObject(text, i, depth, &members)
		return end
	case c == '[' && depth > 0:
		if byteAt(text, i+1) == ']' {
			return i + 2
		}
		for {
			if i = plainValue(text, skipSpace(text, i+1), depth-1); i < 0 {
				return -1
			}
			switch byteAt(text, i) {
			case ']':
				return i + 1
			case ',':
			default:
				return -1
			}
		}
	}
	for _, literal := range [...]string{"true", "false", "null"} {
		if len(text)-i >= len(literal) && string(text[i:i+len(literal)]) == literal {
			return i + len(literal)
		}
	}
	return -1
}

func plainString(text []byte, i int) int {
	if byteAt(text, i) != '"' {
		return -1
	}
	ascii := true
	for j := i + 1; j < len(text); j++ {
		switch c := text[j]; {
		case c == '"':
			if !ascii && !utf8.Valid(text[i:j]) {
				return -1
			}
			return j + 1
		case c < ' ':
			return -1
		case c == '\\':
			switch j++; byteAt(text, j) {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			default:
				return -1
			}
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return -1
}

func plainInteger(text []byte, i int) int {
	if text[i] == '-' {
		i++
	}
	if byteAt(text, i) == '0' {
		return i + 1 // a digit behind it fits nowhere
	}
	j := i
	for j < len(text) && '0' <= text[j] && text[j] <= '9' {
		j++
	}
	if j == i {
		return -1
	}
	return j
}

// byteAt is text[i], or 0, which is nothing that JSON has outside of strings.
func byteAt(text []byte, i int) byte {
	if uint(i) < uint(len(text)) {
		return text[i]
	}
	return 0
}

// skipSpace skips the one blank that some writers put behind commas and colons.
func skipSpace(text []byte, i int) int {
	if byteAt(text, i) == ' ' {
		return i + 1
	}
	return i
}

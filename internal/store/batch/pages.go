package batch

import (
	"context"
	"unicode"

	"github.com/grima-chat/grima/internal/chat"
)

// Merge makes a page of a chat's changes of its parts, each in the order of its
// changes and of at most limit rows: messages that never changed, messages that
// did, and participants.
func Merge(unchanged, changed []chat.Message, people []chat.Participant, limit int) ([]chat.Message, []chat.Participant) {
	messages := mergeMessages(unchanged, changed)
	// Cut both lists where together they have limit rows.
	m, p := 0, 0
	for m+p < limit && (m < len(messages) || p < len(people)) {
		if p == len(people) || m < len(messages) && messages[m].UpdatedSeq < people[p].UpdatedSeq {
			m++
		} else {
			p++
		}
	}
	return messages[:m], people[:p]
}

// mergeMessages merges two lists that ascend by UpdatedSeq.
func mergeMessages(a, b []chat.Message) []chat.Message {
	if len(b) == 0 {
		return a
	}
	list := make([]chat.Message, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0].UpdatedSeq < b[0].UpdatedSeq {
			list, a = append(list, a[0]), a[1:]
		} else {
			list, b = append(list, b[0]), b[1:]
		}
	}
	return append(append(list, a...), b...)
}

// PastPrefix is the least text above every one that begins with prefix, which
// is UTF-8 and not empty.
func PastPrefix(prefix string) string {
	runes := []rune(prefix)
	for i := len(runes) - 1; i >= 0; i-- {
		switch runes[i] {
		case unicode.MaxRune: // nothing is above it here
			continue
		case 0xd7ff: // surrogates are no characters
			runes[i] = 0xe000
		default:
			runes[i]++
		}
		return string(runes[:i+1])
	}
	return prefix + prefix // of nothing but the last character: as good as the end
}

// Timeout is what a reader hears whose context ended.
func Timeout(ctx context.Context) error {
	return &chat.Error{Code: chat.CodeTimeout, Message: "the request took too long", Cause: context.Cause(ctx)}
}

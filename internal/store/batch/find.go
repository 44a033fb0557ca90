package batch

import (
	"slices"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/words"
)

// Word is a row of user_words: a word by which somebody is found.
type Word struct {
	Word string
	User chat.UserID
}

// WordColumns are those of user_words, all of which are its key.
const WordColumns = `word, user_id`

// BindWord binds a row of user_words.
func BindWord(b Binder, w *Word) {
	b.Text(w.Word)
	b.Int(int64(w.User))
}

// wordsOf are the words by which u is found.
func wordsOf(u *chat.User) []string { return words.Of(u.Name, u.Username) }

// WordsOf are the rows of user_words that stand for u.
func WordsOf(u *chat.User) []Word {
	list := wordsOf(u)
	rows := make([]Word, len(list))
	for i, w := range list {
		rows[i] = Word{w, u.ID}
	}
	return rows
}

// putWords puts the words of a user in the place of those of the row before, nil:
// there was none.
func (t *Tx) putWords(old, now *chat.User) {
	var was []Word
	if old != nil {
		was = WordsOf(old)
	}
	is := WordsOf(now)
	for _, w := range was {
		if !slices.Contains(is, w) {
			t.words.delete(w)
			t.wrote(len(w.Word))
		}
	}
	for _, w := range is {
		if !slices.Contains(was, w) {
			t.words.put(w, w)
			t.wrote(len(w.Word))
		}
	}
}

// Found is a user beside the word by which they are found.
type Found struct {
	Word string
	User chat.User
}

// ScanFound reads a word and a user.
func ScanFound(c Columns) Found {
	word := c.Text()
	return Found{word, ScanUser(c)}
}

const (
	mostLooked = 1000 // rows of user_words that a page looks at
	lookedAt   = 200  // at a time, where not all that are looked at are meant
)

// FindUsers is chat.Reader's, of rows of user_words with their users: those
// behind after and below the word past, in the order of the index.
func FindUsers(find string, after chat.FoundPos, limit int, rows func(after chat.FoundPos, past string, limit int) ([]Found, error)) (page []chat.User, next chat.FoundPos, err error) {
	asked := words.Asked(find)
	if len(asked) == 0 {
		return nil, next, nil
	}
	first, others := asked[0], asked[1:]
	next, past := after, PastPrefix(first)
	if next.Word < first {
		next = chat.FoundPos{Word: first}
	}
	for looked := 0; looked < mostLooked; {
		n := limit - len(page) + 1 // one more says whether there is more
		if len(others) > 0 || looked > 0 {
			n = max(n, lookedAt)
		}
		list, err := rows(next, past, n)
		if err != nil {
			return nil, chat.FoundPos{}, err
		}
		for i := range list {
			f := &list[i]
			if isFound(f, first, others) {
				if len(page) == limit {
					return page, next, nil // behind which f comes
				}
				page = append(page, f.User)
			}
			next = chat.FoundPos{Word: f.Word, User: f.User.ID}
		}
		if len(list) < n {
			return page, chat.FoundPos{}, nil
		}
		looked += len(list)
	}
	return page, next, nil
}

// isFound says that f is a user whom all that was asked for means, at the first of
// the words by which they come.
func isFound(f *Found, first string, others []string) bool {
	have := wordsOf(&f.User)
	return words.Begun(have, first) == f.Word &&
		!slices.ContainsFunc(others, func(asked string) bool { return words.Begun(have, asked) == "" })
}

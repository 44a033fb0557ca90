// Package words says by what people are found: the words of their names, without
// what is left out by who types them, which is case and most marks
// (docs/protocol.md#find).
package words

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// most is how many code points of a word count: an index has them all.
const most = 32

// plainly has letters that are typed without a key for them, of which Unicode says
// nothing: a stroke through a letter is no mark, and two in one stay one.
var plainly = strings.NewReplacer("ł", "l", "đ", "d", "ð", "d", "ø", "o", "ħ", "h", "ŧ", "t", "þ", "th", "ß", "ss", "æ", "ae", "œ", "oe")

// Of gives the words by which whoever has these names is found, each once and in
// order. In scripts that put nothing between words, one may begin with any
// character.
func Of(names ...string) []string {
	var list []string
	for _, name := range names {
		for _, word := range split(name) {
			list = append(list, cut(word))
			for i, r := range word {
				if i > 0 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai) {
					list = append(list, cut(word[i:]))
				}
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Asked gives the words that are looked for, the longest first: the fewest people
// have it. None: nobody is found.
func Asked(find string) []string {
	list := split(find)
	for i := range list {
		list[i] = cut(list[i])
	}
	slices.SortStableFunc(list, func(a, b string) int { return len(b) - len(a) })
	return list
}

// Begun is the first of the words that a name has which begins with what was asked
// for; none: empty.
func Begun(words []string, asked string) string {
	i, _ := slices.BinarySearch(words, asked)
	if i < len(words) && strings.HasPrefix(words[i], asked) {
		return words[i]
	}
	return ""
}

// split takes a text apart where it has neither letters nor digits.
func split(text string) []string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
			return -1
		case unicode.In(r, unicode.L, unicode.N, unicode.Mc):
			// Some letters have two small forms, or two large ones.
			return unicode.ToLower(unicode.ToUpper(r))
		}
		return ' '
	}, norm.NFKD.String(text))
	return strings.Fields(plainly.Replace(text))
}

func cut(word string) string {
	n := 0
	for i := range word {
		if n++; n > most {
			return word[:i]
		}
	}
	return word
}

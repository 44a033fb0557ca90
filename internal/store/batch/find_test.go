package batch

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

// Behind a page that is full, or on the way to one, there may be many who come by
// an earlier word of theirs. They were looked at one at a time: a page of one asked
// the store a thousand times.
func TestFindingAsksForManyAtATime(t *testing.T) {
	var index []Found
	for n := range 700 {
		u := chat.User{ID: chat.UserID(n + 1), Username: fmt.Sprintf("mb%d", n+1), Name: "Ma"}
		if n > 0 {
			u.Name = "Na" // found by their usernames, all but the first
		}
		if n > 0 && n < 600 {
			u.Name = "M Mc" // and these before by "m"
		}
		for _, w := range WordsOf(&u) {
			index = append(index, Found{w.Word, u})
		}
	}
	compare := func(a, b Found) int { return cmp.Or(cmp.Compare(a.Word, b.Word), cmp.Compare(a.User.ID, b.User.ID)) }
	slices.SortFunc(index, compare)
	asks := 0
	rows := func(after chat.FoundPos, past string, limit int) (list []Found, _ error) {
		asks++
		for _, f := range index {
			if compare(f, Found{after.Word, chat.User{ID: after.User}}) > 0 && f.Word < past && len(list) < limit {
				list = append(list, f)
			}
		}
		return list, nil
	}
	seen := map[chat.UserID]bool{}
	most := 0
	for pos, pages := (chat.FoundPos{}), 0; ; {
		before := asks
		page, next, err := FindUsers("m", pos, 1, rows)
		if err != nil || len(page) > 1 {
			t.Fatalf("a page of %d, %v", len(page), err)
		}
		for _, u := range page {
			if seen[u.ID] {
				t.Fatalf("%s comes twice", u.Username)
			}
			seen[u.ID] = true
		}
		most = max(most, asks-before)
		if next == (chat.FoundPos{}) {
			break
		}
		if pos = next; pages > len(index) {
			t.Fatal("there is no end")
		}
		pages++
	}
	if len(seen) != 700 {
		t.Errorf("found %d of 700", len(seen))
	}
	if want := 1 + mostLooked/lookedAt + 1; most > want {
		t.Errorf("a page asked the store %d times, want at most %d", most, want)
	}
}

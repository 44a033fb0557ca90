package batch

import (
	"fmt"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

// A page asks few times for rows, also where people have several words that begin
// with what is looked for, and it is full before the rows of their other words.
func TestFindingAsksFewTimes(t *testing.T) {
	const people, limit = 400, 400
	var list []Found
	for _, word := range []string{"anna", "annabel"} {
		for id := range chat.UserID(people) {
			list = append(list, Found{word, chat.User{ID: id + 1, Name: "Anna Annabel", Username: fmt.Sprint("x", id)}})
		}
	}
	asked := 0
	page, next, err := FindUsers("ann", chat.FoundPos{}, limit, func(after chat.FoundPos, _ string, n int) (rows []Found, _ error) {
		asked++
		for _, f := range list {
			if len(rows) < n && (f.Word > after.Word || f.Word == after.Word && f.User.ID > after.User) {
				rows = append(rows, f)
			}
		}
		return rows, nil
	})
	if err != nil || len(page) != people || next != (chat.FoundPos{}) {
		t.Fatalf("%d people, then %+v, %v", len(page), next, err)
	}
	if asked > 5 {
		t.Errorf("it asked %d times", asked)
	}
}

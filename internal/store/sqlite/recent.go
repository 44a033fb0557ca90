package sqlite

import (
	"encoding/json"
	"math"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

// recent is what changed lately. The writer notes a change before it commits it.
type recent struct {
	*batch.Recent

	cost  int64  // lookupCost, save in tests
	asked func() // tests: called when Changed has its answer; nil: nothing
}

func newRecent(stamp int64, most int) *recent {
	return &recent{Recent: batch.NewRecent(stamp, most), cost: lookupCost}
}

// How sync chooses its way: looking a chat up costs about as much as lookupCost
// memberships in a row, and more than mostLookups are not worth counting.
const (
	lookupCost  = 3
	mostLookups = 4096
)

const countMemberships = `SELECT count(*) FROM (SELECT 1 FROM participants INDEXED BY participants_by_user WHERE user_id = ? LIMIT ?)`

// FewChanged implements chat.FewChanged. The snapshot has begun.
func (r *reader) FewChanged(user chat.UserID, pos chat.SyncPos, most int) bool {
	if pos.AfterChat == 0 {
		pos.AfterChat = math.MaxInt64
	}
	_, ok := r.recent.Changed(user, batch.Above(pos), most)
	return ok
}

// candidates gives the few chats among which are all that changed for user above
// a position, as a JSON array, or nothing if there are none. ok is false if it
// is better to look at all of theirs.
func (r *reader) candidates(user chat.UserID, pos chat.SyncPos) (ids string, ok bool, err error) {
	after := batch.Above(pos)
	// The snapshot begins with its first read. Were that after the list, a commit
	// between them would be in the snapshot alone.
	if _, err := r.LastStamp(); err != nil {
		return "", false, err
	}
	list, ok := r.recent.Changed(user, after, mostLookups)
	if r.recent.asked != nil {
		r.recent.asked()
	}
	if !ok {
		return "", false, nil
	}
	if len(list) == 0 {
		return "", true, nil
	}
	if worth := int64(len(list)) * r.recent.cost; worth > 0 {
		n, err := r.count("count memberships", r.c.prep(countMemberships).int(int64(user)).int(worth))
		if err != nil || n < worth {
			return "", false, err
		}
	}
	text, err := json.Marshal(list)
	return string(text), err == nil, err
}

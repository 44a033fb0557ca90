package sqlite

import (
	"container/list"
	"encoding/json"
	"math"
	"slices"
	"sync"

	"github.com/grima-chat/grima/internal/chat"
)

// recent remembers which chats changed last, in the order of their stamps, so
// that a sync need not look at everything its user is in. It is what an index
// over chats.stamp would be, without a page to write for every message; a
// restart forgets it, and then the memberships are looked at, as they are when
// more chats changed than that is worth.
//
// The writer notes a change before it commits it. So for every snapshot what is
// here is too much and never too little: whoever asks looks the rows up.
type recent struct {
	mu    sync.Mutex
	chats order                 // chat.Stamp
	marks map[chat.UserID]marks // participant.Stamp, which moves a chat for that user alone
	count int                   // of all marks
	last  int64                 // the largest stamp of a mark
	since int64                 // marks above it are all here
	most  int                   // chats, and marks, that are remembered
	cost  int64                 // lookupCost, save in tests
	asked func()                // tests: called when changed has its answer; nil: nothing
}

func newRecent(stamp int64, most int) *recent {
	return &recent{chats: newOrder(stamp), marks: map[chat.UserID]marks{}, since: stamp, most: most, cost: lookupCost}
}

func (r *recent) chatChanged(id chat.ChatID, stamp int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.chats.put(id, stamp)
	if len(r.chats.at) > r.most {
		r.chats.dropOldest()
	}
}

func (r *recent) markMoved(id chat.ChatID, user chat.UserID, stamp int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if stamp <= r.since {
		return
	}
	r.last = max(r.last, stamp)
	before := r.marks[user]
	after := before.put(id, stamp)
	r.marks[user] = after
	r.count += len(after) - len(before)
	if r.count > r.most {
		r.marks = map[chat.UserID]marks{}
		r.count, r.since = 0, r.last
	}
}

// changed gives the chats that may have changed for user after a stamp, each
// once, in no order. ok is false if some are forgotten, or there are more than
// limit.
func (r *recent) changed(user chat.UserID, after int64, limit int) (ids []chat.ChatID, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if after < r.since {
		return nil, false
	}
	if ids, ok = r.chats.above(after, limit); !ok {
		return nil, false
	}
	moved, ok := r.marks[user].above(after, limit)
	for _, id := range moved {
		if at := r.chats.at[id]; at == nil || at.Value.(stamped).stamp <= after {
			ids = append(ids, id)
		}
	}
	return ids, ok && len(ids) <= limit
}

// order is chats by stamp, each with its newest.
type order struct {
	at    map[chat.ChatID]*list.Element
	list  *list.List // of stamped, newest first
	since int64      // stamps above it are all here
}

type stamped struct {
	chat  chat.ChatID
	stamp int64
}

func newOrder(since int64) order {
	return order{at: map[chat.ChatID]*list.Element{}, list: list.New(), since: since}
}

func (o *order) put(id chat.ChatID, stamp int64) {
	if stamp <= o.since {
		return
	}
	e := o.at[id]
	if e != nil && e.Value.(stamped).stamp >= stamp {
		return
	}
	// A batch is written in another order than its stamps'.
	older := o.list.Front()
	for older != nil && older.Value.(stamped).stamp > stamp {
		older = older.Next()
	}
	switch {
	case e == nil && older == nil:
		e = o.list.PushBack(stamped{id, stamp})
	case e == nil:
		e = o.list.InsertBefore(stamped{id, stamp}, older)
	default: // older is e or before it
		e.Value = stamped{id, stamp}
		o.list.MoveBefore(e, older)
	}
	o.at[id] = e
}

func (o *order) dropOldest() {
	e := o.list.Back()
	v := o.list.Remove(e).(stamped)
	delete(o.at, v.chat)
	o.since = v.stamp
}

func (o *order) above(after int64, limit int) (ids []chat.ChatID, ok bool) {
	if after < o.since {
		return nil, false
	}
	for e := o.list.Front(); e != nil && e.Value.(stamped).stamp > after; e = e.Next() {
		if len(ids) == limit {
			return nil, false
		}
		ids = append(ids, e.Value.(stamped).chat)
	}
	return ids, true
}

// marks are the chats that somebody's marks moved, each once, with its newest
// stamp, in the order of the stamps. Most people have a few, and there may be as
// many people as marks: so no index, which would take most of the memory, and a
// look along it for each that moves, from the end, where it is as a rule.
type marks []stamped

func (m marks) put(id chat.ChatID, stamp int64) marks {
	i := len(m) - 1
	for i >= 0 && m[i].chat != id {
		i--
	}
	if i >= 0 {
		if m[i].stamp >= stamp {
			return m
		}
		m = slices.Delete(m, i, i+1)
	}
	// A batch is written in another order than its stamps'.
	k := len(m)
	for k > 0 && m[k-1].stamp > stamp {
		k--
	}
	return slices.Insert(m, k, stamped{id, stamp})
}

// above gives those with a stamp above after, unless there are more than limit.
func (m marks) above(after int64, limit int) (ids []chat.ChatID, ok bool) {
	for _, s := range slices.Backward(m) {
		if s.stamp <= after {
			break
		}
		if len(ids) == limit {
			return nil, false
		}
		ids = append(ids, s.chat)
	}
	return ids, true
}

// How sync chooses its way: looking a chat up costs about as much as lookupCost
// memberships in a row, and more than mostLookups are not worth counting.
const (
	lookupCost  = 3
	mostLookups = 4096
)

const countMemberships = `SELECT count(*) FROM (SELECT 1 FROM participants INDEXED BY participants_by_user WHERE user_id = ? LIMIT ?)`

// above is the stamp above which everything changed that did so above pos.
func above(pos chat.SyncPos) int64 {
	if pos.Below == 0 && pos.AfterChat != math.MaxInt64 {
		return pos.After - 1 // the rest of that stamp, too
	}
	return pos.After
}

// FewChanged implements chat.FewChanged. The snapshot has begun.
func (r *reader) FewChanged(user chat.UserID, pos chat.SyncPos, most int) bool {
	if pos.AfterChat == 0 {
		pos.AfterChat = math.MaxInt64
	}
	_, ok := r.recent.changed(user, above(pos), most)
	return ok
}

// candidates gives the few chats among which are all that changed for user above
// a position, as a JSON array, or nothing if there are none. ok is false if it
// is better to look at all of theirs.
func (r *reader) candidates(user chat.UserID, pos chat.SyncPos) (ids string, ok bool, err error) {
	after := above(pos)
	// The snapshot begins with its first read. Were that after the list, a commit
	// between them would be in the snapshot alone.
	if _, err := r.LastStamp(); err != nil {
		return "", false, err
	}
	list, ok := r.recent.changed(user, after, mostLookups)
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

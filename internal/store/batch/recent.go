package batch

import (
	"container/list"
	"math"
	"slices"
	"sync"

	"github.com/grima-chat/grima/internal/chat"
)

// Recent remembers which chats changed last, in the order of their stamps, so that
// a sync need not look at everything its user is in. It is what an index over
// chats.stamp would be, without an entry to write for every message; a restart
// forgets it, and then the memberships are looked at, as they are when more chats
// changed than that is worth.
//
// A change is noted before a snapshot with it is asked. So for every snapshot what
// is here is too much and never too little: whoever asks looks the rows up. Its
// methods may be called from any goroutine.
type Recent struct {
	mu    sync.Mutex
	chats order                 // chat.Stamp
	marks map[chat.UserID]marks // participant.Stamp, which moves a chat for that user alone
	many  map[chat.UserID]order // the same of who has more than few
	few   int                   // marks of one user that are looked along
	count int                   // of all marks
	last  int64                 // the largest stamp of a mark
	since int64                 // marks above it are all here
	most  int                   // chats, and marks, that are remembered
}

// NewRecent makes a Recent that knows nothing up to a stamp, and remembers so many
// chats, and marks, above.
func NewRecent(stamp int64, most int) *Recent {
	r := &Recent{chats: newOrder(stamp), since: stamp, few: 256, most: most}
	r.forgetMarks()
	return r
}

func (r *Recent) forgetMarks() {
	r.marks, r.many, r.count = map[chat.UserID]marks{}, map[chat.UserID]order{}, 0
}

// ChatChanged notes a chat's stamp.
func (r *Recent) ChatChanged(id chat.ChatID, stamp int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.chats.put(id, stamp)
	if len(r.chats.at) > r.most {
		r.chats.dropOldest()
	}
}

// MarkMoved notes the stamp of somebody's own row in a chat.
func (r *Recent) MarkMoved(id chat.ChatID, user chat.UserID, stamp int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if stamp <= r.since {
		return
	}
	r.last = max(r.last, stamp)
	if o, ok := r.many[user]; ok {
		before := len(o.at)
		o.put(id, stamp)
		r.count += len(o.at) - before
	} else {
		before := r.marks[user]
		after := before.put(id, stamp)
		r.marks[user] = after
		r.count += len(after) - len(before)
		if len(after) > r.few {
			r.many[user] = after.order()
			delete(r.marks, user)
		}
	}
	if r.count > r.most {
		r.forgetMarks()
		r.since = r.last
	}
}

// Changed gives the chats that may have changed for user after a stamp, each
// once, in no order. ok is false if some are forgotten, or there are more than
// limit.
func (r *Recent) Changed(user chat.UserID, after int64, limit int) (ids []chat.ChatID, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if after < r.since {
		return nil, false
	}
	if ids, ok = r.chats.above(after, limit); !ok {
		return nil, false
	}
	moved, ok := r.marks[user].above(after, limit)
	if o, has := r.many[user]; has {
		moved, ok = o.above(after, limit)
	}
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
// look along it for each that moves, from the end, where it is as a rule. Who has
// more than a few has an order.
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

func (m marks) order() order {
	o := newOrder(0)
	for _, s := range m {
		o.put(s.chat, s.stamp)
	}
	return o
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

// Above is the stamp above which everything changed that did so above pos, of
// which AfterChat is not 0.
func Above(pos chat.SyncPos) int64 {
	if pos.Below == 0 && pos.AfterChat != math.MaxInt64 {
		return pos.After - 1 // the rest of that stamp, too
	}
	return pos.After
}

package postgres

import (
	"math"
	"sync"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

// Each transaction that writes rows of chats or participants leaves a row in the
// table changed: its stamp, and whose rows they are. So who knows everything up to
// a LastStamp reads what has changed since, of any process, without a look at
// anything else; what is above LastStamp is read again the next time. An index
// over chats.stamp would say the same, and would have an entry to write for each
// message, where one row for a whole commit is.
//
// Rows are kept for some minutes. They are deleted from the lowest on, and what is
// deleted is below a row that stays: who finds none at or below where they stand
// may have missed some, and begins anew, with the lowest that there is.

const (
	addChanged   = `INSERT INTO changed (stamp, chats, people_chats, people_users) VALUES ($1, $2, $3, $4)`
	pruneChanged = `DELETE FROM changed WHERE stamp < $1`

	selChangedSince = `SELECT c.stamp, u.chat_id, u.user_id FROM changed c, LATERAL (
SELECT chat_id, 0::bigint AS user_id FROM unnest(c.chats) chat_id
UNION ALL SELECT * FROM unnest(c.people_chats, c.people_users)) u
WHERE c.stamp > $1 ORDER BY c.stamp LIMIT $2`
	selPeopleSince = `SELECT c.stamp, u.chat_id, u.user_id FROM changed c, unnest(c.people_chats, c.people_users) u (chat_id, user_id)
WHERE c.stamp > $1 ORDER BY c.stamp LIMIT $2`

	countMemberships = `SELECT count(*) FROM (SELECT 1 FROM participants WHERE user_id = $1 LIMIT $2) m`
)

// Where the log begins is no more than where it is known to be whole.
var selChangedUpto = `SELECT ` + lastStampSQL(1) + `, coalesce((SELECT min(stamp) FROM changed), 0)`

const (
	// keepChanged is for how long rows are kept at least: a process that has not
	// looked for longer begins anew. They are deleted now and then.
	keepChanged = 5 * time.Minute
	pruneEvery  = 5 * time.Second
	// mostChanges are read at once, and mostRecent chats remembered.
	mostChanges = 1 << 16
	mostRecent  = 1 << 17
	// More lookups than mostLookups are not worth counting, and so few as
	// freeLookups are cheaper than counting memberships.
	mostLookups = 4096
	freeLookups = 64
)

// changed is what a transaction changed.
type changed struct {
	chats, peopleChats, peopleUsers []int64
}

// put is the queries that note it, and delete what is below prune.
func (c *changed) put(stamp, prune int64) (queries []query) {
	if len(c.chats)+len(c.peopleChats) == 0 {
		return nil
	}
	list := func(ids []int64) []int64 { return append([]int64{}, ids...) } // not NULL
	queries = append(queries, ask(addChanged, stamp, list(c.chats), list(c.peopleChats), list(c.peopleUsers)))
	if prune > 0 {
		queries = append(queries, ask(pruneChanged, prune))
	}
	return queries
}

// pruneMark is the stamp of a row in changed, and when it was committed. None of
// ours is under way for as long as that row is kept, so everything below it is
// final when it is deleted.
type pruneMark struct {
	at    time.Time
	stamp int64
}

// prunable is the stamp below which rows are not kept any more; 0: of none.
func (w *writer) prunable(now time.Time) int64 {
	if len(w.marks) == 0 || now.Sub(w.marks[0].at) < w.cfg.keep {
		return 0
	}
	return w.marks[0].stamp
}

// marked is called when a transaction is committed that was sent at now.
func (w *writer) marked(now time.Time) {
	c := &w.src.changed
	if len(c.chats)+len(c.peopleChats) == 0 {
		return
	}
	if w.prunable(now) > 0 {
		w.marks = w.marks[1:]
	}
	if n := len(w.marks); n == 0 || now.Sub(w.marks[n-1].at) >= min(pruneEvery, w.cfg.keep) {
		w.marks = append(w.marks, pruneMark{now, stampOf(w.src.xid, w.src.offset)})
	}
}

// lately is what this process knows of the table changed.
type lately struct {
	most   int
	freely int64 // so many lookups need no counting of memberships

	mu     sync.Mutex
	recent *batch.Recent
	upto   int64 // everything at or below it is noted, or forgotten
}

func newLately(most int) *lately {
	return &lately{most: most, freely: freeLookups, recent: batch.NewRecent(0, most)}
}

// change says that a transaction with this stamp wrote somebody's row in a chat, or,
// without a user, the chat's.
type change struct {
	stamp int64
	at    chat.Place
}

// changesSince gives what has a stamp above after, by sql. upto is LastStamp, and
// begins the lowest stamp of the log; 0: it is empty. It is not ok, and the list
// nil, if there are more than limit, or if the log does not go back so far.
func (r *reader) changesSince(sql string, after int64, limit int) (list []change, upto, begins int64, ok bool, err error) {
	head := ask(selChangedUpto, r.offset)
	head.row = func(c *columns) error {
		upto, begins = c.Int(), c.Int()
		return nil
	}
	rows := into(&list, ask(sql, after, int64(limit)+1), func(c batch.Columns) change {
		return change{c.Int(), chat.Place{Chat: chat.ChatID(c.Int()), User: chat.UserID(c.Int())}}
	})
	if err := r.run("read what changed", head, rows); err != nil {
		return nil, 0, 0, false, err
	}
	if begins == 0 || begins > after || len(list) > limit {
		return nil, upto, begins, false, nil
	}
	return list, upto, begins, true, nil
}

// PeopleChanged implements chat.ChangeLog.
func (r *reader) PeopleChanged(after int64, limit int) (list []chat.Place, upto int64, ok bool, err error) {
	rows, upto, _, ok, err := r.changesSince(selPeopleSince, after, limit)
	for _, c := range rows {
		list = append(list, c.at)
	}
	return list, upto, ok, err
}

// catchUp gives what has changed lately, at least all of it that this snapshot
// shows; nil if that is not known.
func (r *reader) catchUp() (*batch.Recent, error) {
	l := r.lately
	if l == nil || r.recent != nil {
		return r.recent, nil
	}
	l.mu.Lock()
	from := l.upto
	l.mu.Unlock()
	list, upto, begins, ok, err := r.changesSince(selChangedSince, from, mostChanges)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok {
		if l.upto == from { // the next one reads what there is, or from here on
			if begins > from {
				upto = min(upto, begins)
			}
			l.recent, l.upto = batch.NewRecent(upto, l.most), upto
		}
		return nil, nil
	}
	for _, c := range list {
		if c.at.User == 0 {
			l.recent.ChatChanged(c.at.Chat, c.stamp)
		} else {
			l.recent.MarkMoved(c.at.Chat, c.at.User, c.stamp)
		}
	}
	l.upto = max(l.upto, upto)
	r.recent = l.recent
	return r.recent, nil
}

// FewChanged implements chat.FewChanged.
func (r *reader) FewChanged(user chat.UserID, pos chat.SyncPos, most int) bool {
	if pos.After == 0 || pos.Below > 0 {
		return false
	}
	recent, err := r.catchUp()
	if err != nil || recent == nil {
		return false // an error is there still, for what is read next
	}
	if pos.AfterChat == 0 {
		pos.AfterChat = math.MaxInt64
	}
	_, ok := recent.Changed(user, batch.Above(pos), most)
	return ok
}

// candidates gives the few chats among which are all that changed for user above
// a position. ok is false if it is better to look at all of theirs.
func (r *reader) candidates(user chat.UserID, pos chat.SyncPos) (ids []int64, ok bool, err error) {
	if pos.After == 0 || pos.Below > 0 {
		return nil, false, nil // of a beginning that is all
	}
	recent, err := r.catchUp()
	if err != nil || recent == nil {
		return nil, false, err
	}
	list, ok := recent.Changed(user, batch.Above(pos), mostLookups)
	if !ok {
		return nil, false, nil
	}
	if n := int64(len(list)); n > r.lately.freely {
		theirs, err := r.count("count memberships", ask(countMemberships, int64(user), n))
		if err != nil || theirs < n {
			return nil, false, err
		}
	}
	for _, id := range list {
		ids = append(ids, int64(id))
	}
	return ids, true, nil
}

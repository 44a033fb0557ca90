package postgres

import (
	"math"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

// Each transaction that writes rows of chats or participants leaves a row in the
// table changed: its stamp, and whose rows they are. So who knows everything up to
// a LastStamp reads what has changed since, of any process, without a look at
// anything else; what is above LastStamp, where transactions overtake each other,
// is read again the next time. An index over chats.stamp would say the same, and
// would have an entry to write for each message, where one row for a whole commit
// is.
//
// Rows are kept for some minutes. Whoever deletes some leaves in its row of the
// table writers below which stamp they were (forgot), in the same transaction: so
// above the largest of these, in one snapshot, the log is whole, whatever was late.

const (
	addChanged = `INSERT INTO changed (stamp, chats, people_chats, people_users) VALUES ($1, $2, $3, $4)`
	// No process waits for another that deletes the same ones.
	pruneChanged = `DELETE FROM changed WHERE stamp = ANY (ARRAY(
SELECT stamp FROM changed WHERE stamp >= $1 AND stamp < $2 ORDER BY stamp LIMIT $3 FOR UPDATE SKIP LOCKED))`

	selChangedSince = `SELECT c.stamp, u.chat_id, u.user_id FROM changed c, LATERAL (
SELECT chat_id, 0::bigint AS user_id FROM unnest(c.chats) chat_id
UNION ALL SELECT * FROM unnest(c.people_chats, c.people_users)) u
WHERE c.stamp > $1 ORDER BY c.stamp LIMIT $2`

	countMemberships = `SELECT count(*) FROM (SELECT 1 FROM participants WHERE user_id = $1 LIMIT $2) m`
)

var selLogs = `SELECT ` + lastStampSQL(1) + `, (SELECT max(forgot) FROM writers)`

const (
	// keepChanged is for how long rows are kept at least: a process that has not
	// looked for longer begins anew. Then they are deleted, some at a time.
	keepChanged = 5 * time.Minute
	pruneEvery  = time.Second
	pruneAtOnce = 4000
	// mostRecent chats, and marks, are remembered.
	mostRecent = 1 << 17
	// Up to fewMemberships are cheaper to look at than what changed. Of others so
	// much of what changed is read, and looked up, as they have memberships, of
	// which no more than mostCounted are counted.
	fewMemberships = 256
	mostCounted    = 8192
)

// changed is what a transaction changed.
type changed struct {
	chats, peopleChats, peopleUsers []int64
}

func (c *changed) none() bool { return len(c.chats)+len(c.peopleChats) == 0 }

// put is the query that notes it.
func (c *changed) put(stamp int64) query {
	list := func(ids []int64) []int64 { return append([]int64{}, ids...) } // not NULL
	return ask(addChanged, stamp, list(c.chats), list(c.peopleChats), list(c.peopleUsers))
}

// pruner is what a writer deletes of the table changed, and when.
type pruner struct {
	keep time.Duration
	// marks are stamps of ours, and when they were committed, oldest first.
	marks []pruneMark
	// Below to everything is deleted, save what another process had locked, and was
	// to delete: so the next time begins where the last one did.
	from, to int64
}

type pruneMark struct {
	at    time.Time
	stamp int64
}

func newPruner(keep time.Duration) pruner {
	return pruner{keep: keep, from: math.MinInt64, to: math.MinInt64}
}

// due is how many marks are old enough, and the stamp of the last of them, below
// which rows are to go; 0: it is not time.
func (p *pruner) due(now time.Time) (n int, below int64) {
	for n < len(p.marks) && now.Sub(p.marks[n].at) >= p.keep {
		below = p.marks[n].stamp
		n++
	}
	return n, below
}

// query deletes what is below a stamp, or the first of it, and counts that.
func (p *pruner) query(below int64, deleted *int64) query {
	q := ask(pruneChanged, p.from, below, int64(pruneAtOnce))
	q.tag = func(tag pgconn.CommandTag) { *deleted = tag.RowsAffected() }
	return q
}

// done is called when that is committed.
func (p *pruner) done(n int, below, deleted int64) {
	if n > 0 && deleted < pruneAtOnce { // else there may be more
		p.marks = p.marks[n:]
		p.from, p.to = p.to, below
	}
}

// committed is called when a transaction is that noted what it changed.
func (p *pruner) committed(now time.Time, stamp int64) {
	if n := len(p.marks); n == 0 || now.Sub(p.marks[n-1].at) >= min(pruneEvery, p.keep) {
		p.marks = append(p.marks, pruneMark{now, stamp})
	}
}

// lately is what this process knows of the table changed. Everything of it that is
// at or below upto is in recent, or forgotten by it.
type lately struct {
	most   int
	always bool // tests: whatever is known is used, however few memberships there are

	mu     sync.Mutex
	recent *batch.Recent
	upto   int64
}

func newLately(most int) *lately {
	return &lately{most: most, recent: batch.NewRecent(0, most)}
}

// at is what there is to go on from.
func (l *lately) at() (recent *batch.Recent, upto int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.recent, l.upto
}

// note takes what was read above from, which is no more than upto was when recent
// was what there is. It reports whether recent has all of that snapshot.
func (l *lately) note(recent *batch.Recent, from int64, c changes) bool {
	if c.whole {
		for _, c := range c.list { // too much is never wrong
			if c.at.User == 0 {
				recent.ChatChanged(c.at.Chat, c.stamp)
			} else {
				recent.MarkMoved(c.at.Chat, c.at.User, c.stamp)
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.recent != recent: // it began anew meanwhile
		return false
	case c.whole:
		l.upto = max(l.upto, c.upto)
		return c.complete
	case from == l.upto:
		l.recent, l.upto = batch.NewRecent(c.forgot, l.most), c.forgot
	}
	return false
}

// change says that a transaction with this stamp wrote somebody's row in a chat, or,
// without a user, the chat's.
type change struct {
	stamp int64
	at    chat.Place
}

// changes are some of the log, by ascending stamp.
type changes struct {
	list     []change
	upto     int64 // what is at or below it is in the list, and final
	last     int64 // LastStamp
	forgot   int64 // the log is whole above it only...
	whole    bool  // ... and so was what was asked for
	complete bool  // all that the snapshot shows is in the list
}

// changesSince gives what has a stamp above after, at most so many.
func (r *reader) changesSince(after int64, limit int) (c changes, err error) {
	head := ask(selLogs, r.offset)
	head.row = func(row *columns) error {
		c.last, c.forgot = row.Int(), row.Int()
		return nil
	}
	rows := into(&c.list, ask(selChangedSince, after, int64(limit)+1), func(row batch.Columns) change {
		return change{row.Int(), chat.Place{Chat: chat.ChatID(row.Int()), User: chat.UserID(row.Int())}}
	})
	if err := r.run("read what changed", head, rows); err != nil {
		return c, err
	}
	c.upto, c.whole, c.complete = c.last, after >= c.forgot, len(c.list) <= limit
	if !c.complete {
		c.upto = min(c.upto, c.list[limit].stamp-1) // perhaps in the midst of that one's
	}
	return c, nil
}

// PeopleChanged implements chat.ChangeLog. It also brings what this process knows
// up to date.
func (r *reader) PeopleChanged(after int64, limit int) (list []chat.Place, upto int64, ok bool, err error) {
	var c changes
	for range 3 { // what there is may begin anew, also by others
		var recent *batch.Recent
		from := after
		if r.lately != nil {
			recent, from = r.lately.at()
			from = min(from, after)
		}
		if c, err = r.changesSince(from, limit); err != nil {
			return nil, 0, false, err
		}
		if recent != nil {
			r.lately.note(recent, from, c)
		}
		if c.whole || from == after {
			break
		}
	}
	if !c.whole || !c.complete {
		return nil, c.last, false, nil
	}
	for _, c := range c.list {
		if c.at.User > 0 && c.stamp > after {
			list = append(list, c.at)
		}
	}
	return list, c.last, true, nil
}

// catchUp gives what has changed lately, at least all of it that this snapshot
// shows; nil if that is not known, or is more than so much.
func (r *reader) catchUp(limit int) (*batch.Recent, error) {
	if r.recent != nil {
		return r.recent, nil
	}
	recent, from := r.lately.at()
	c, err := r.changesSince(from, limit)
	if err != nil {
		return nil, err
	}
	if r.lately.note(recent, from, c) {
		r.recent = recent
	}
	return r.recent, nil
}

// candidates gives the few chats among which are all that changed for user above
// a position. ok is false if it is better to look at all of theirs, which are so
// many, or more.
func (r *reader) candidates(user chat.UserID, pos chat.SyncPos, theirs int64) (ids []int64, ok bool, err error) {
	recent, err := r.catchUp(int(theirs))
	if err != nil || recent == nil {
		return nil, false, err
	}
	list, ok := recent.Changed(user, batch.Above(pos), int(theirs))
	for _, id := range list {
		ids = append(ids, int64(id))
	}
	return ids, ok, nil
}

// changedLately is ChangedChats for somebody who was not away for long: for few
// memberships in one go, as if nothing were known. done is false if it is better to
// look at all of theirs.
func (r *reader) changedLately(user chat.UserID, pos chat.SyncPos, limit int) (list []chat.ChangedChat, done bool, err error) {
	theirs := int64(math.MaxInt32)
	if !r.lately.always {
		count := ask(countMemberships, int64(user), int64(mostCounted))
		count.row = func(c *columns) error {
			theirs = c.Int()
			return nil
		}
		few := ask(selChangedFew, int64(user), pos.After, int64(pos.AfterChat), int64(limit), r.offset, int64(fewMemberships))
		err := r.run("list changed chats", count, into(&list, few, batch.ScanChangedChat))
		if err != nil || theirs <= fewMemberships {
			return list, true, err
		}
	}
	ids, ok, err := r.candidates(user, pos, theirs)
	if err != nil || !ok || len(ids) == 0 {
		return nil, err != nil || ok, err
	}
	list, err = all(r, "list changed chats", ask(selChangedAmong, int64(user), pos.After, int64(pos.AfterChat), int64(limit), r.offset, ids), batch.ScanChangedChat)
	return list, true, err
}

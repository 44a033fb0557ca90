package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/words"
)

// The suite is worth what it catches: each of these stores breaks one sentence
// of the contract, and that clause must fail on it.
func TestTheSuiteCatchesBrokenStores(t *testing.T) {
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			for _, c := range suite() {
				if !strings.HasPrefix(c.name, m.caughtBy) {
					continue
				}
				complaint := runRecorded(t, c, m.store)
				if complaint == "" {
					t.Errorf("%q passes", c.name)
				}
				t.Logf("%q: %s", c.name, complaint)
				return
			}
			t.Errorf("no clause %q", m.caughtBy)
		})
	}
}

// runRecorded runs a clause on a broken store and gives its first complaint.
func runRecorded(t *testing.T, c clause, breakIt func(*Memory) chat.Store) string {
	rec := &recorder{TB: t, complaints: make(chan string, 100)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() {
			if v := recover(); v != nil {
				rec.Errorf("panic: %v", v)
			}
		}()
		c.test(newBox(rec, func(testing.TB) chat.Store { return breakIt(NewMemory()) }))
	}()
	<-ended
	for _, f := range slices.Backward(rec.cleanups) {
		f()
	}
	select {
	case s := <-rec.complaints:
		return s
	default:
		return ""
	}
}

// recorder is a test that may fail without failing the test around it.
type recorder struct {
	testing.TB
	complaints chan string
	cleanups   []func()
}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Error(a ...any)   { r.Errorf("%s", fmt.Sprint(a...)) }
func (r *recorder) Fatal(a ...any)   { r.Fatalf("%s", fmt.Sprint(a...)) }
func (r *recorder) Errorf(format string, a ...any) {
	select {
	case r.complaints <- fmt.Sprintf(format, a...):
	default: // enough of them
	}
}

func (r *recorder) Fatalf(format string, a ...any) {
	r.Errorf(format, a...)
	runtime.Goexit()
}

// mutant is a Memory some of whose reads, writes or updates are replaced.
type mutant struct {
	*Memory
	reads  func(*reader) chat.Reader
	writes func(*tx) chat.Tx
	update func(m *Memory, op chat.Op, done func(error))
}

func (m mutant) View(ctx context.Context, fn func(chat.Reader) error) error {
	return m.Memory.View(ctx, func(r chat.Reader) error {
		if m.reads != nil {
			r = m.reads(r.(*reader))
		}
		return fn(r)
	})
}

func (m mutant) Update(op chat.Op, done func(error)) {
	if m.writes != nil {
		run := op.Run
		op.Run = func(t chat.Tx) error { return run(m.writes(t.(*tx))) }
	}
	if m.update != nil {
		m.update(m.Memory, op, done)
		return
	}
	m.Memory.Update(op, done)
}

func reads[R chat.Reader](wrap func(*reader) R) func(*Memory) chat.Store {
	return func(m *Memory) chat.Store {
		return mutant{Memory: m, reads: func(r *reader) chat.Reader { return wrap(r) }}
	}
}

func writes[T chat.Tx](wrap func(*tx) T) func(*Memory) chat.Store {
	return func(m *Memory) chat.Store { return mutant{Memory: m, writes: func(t *tx) chat.Tx { return wrap(t) }} }
}

func updates(update func(m *Memory, op chat.Op, done func(error))) func(*Memory) chat.Store {
	return func(m *Memory) chat.Store { return mutant{Memory: m, update: update} }
}

var mutants = map[string]struct {
	caughtBy string // how the name of a clause that must fail begins
	store    func(*Memory) chat.Store
}{
	// Updates and dones.
	"done before a View sees it": {"A later View sees", reads(func(r *reader) *reader {
		r.at = max(0, r.at-1)
		r.listAt = r.at
		return r
	})},
	"dones swapped": {"Updates take effect and are done in the order", func(m *Memory) chat.Store {
		var held func()
		return mutant{Memory: m, update: func(m *Memory, op chat.Op, done func(error)) {
			m.Update(op, func(err error) {
				m.queue.mu.Lock()
				more := len(m.queue.items) > 0
				m.queue.mu.Unlock()
				if held == nil && more {
					held = func() { done(err) }
					return
				}
				done(err)
				if held != nil {
					held()
					held = nil
				}
			})
		}}
	}},
	"dones at once": {"Updates take effect and are done in the order", updates(func(m *Memory, op chat.Op, done func(error)) {
		m.Update(op, func(err error) { go done(err) })
	})},
	"done twice": {"Updates take effect and are done in the order", updates(func(m *Memory, op chat.Op, done func(error)) {
		m.Update(op, func(err error) { done(err); done(err) })
	})},
	"updates overtake": {"What stands in the store", func(m *Memory) chat.Store {
		n := 0
		return mutant{Memory: m, update: func(m *Memory, op chat.Op, done func(error)) {
			m.queue.mu.Lock()
			n++
			if i := len(m.queue.items); n%3 == 0 && i > 0 && !m.queue.closed {
				m.queue.items = slices.Insert(m.queue.items, i-1, update{op: op, done: done})
				m.queue.mu.Unlock()
				return
			}
			m.queue.mu.Unlock()
			m.Update(op, done)
		}}
	}},
	"an error undoes nothing": {"An update's error comes back", updates(func(m *Memory, op chat.Op, done func(error)) {
		run := op.Run
		var failed error
		op.Run = func(tx chat.Tx) error { failed = run(tx); return nil }
		m.Update(op, func(err error) { done(errors.Join(err, failed)) })
	})},
	"errors are wrapped": {"An update's error comes back", updates(func(m *Memory, op chat.Op, done func(error)) {
		m.Update(op, func(err error) {
			if err != nil {
				err = fmt.Errorf("update: %w", err)
			}
			done(err)
		})
	})},
	"an error fails the next update too": {"An update that fails spares", func(m *Memory) chat.Store {
		var before error
		return mutant{Memory: m, update: func(m *Memory, op chat.Op, done func(error)) {
			run := op.Run
			op.Run = func(tx chat.Tx) error {
				err := run(tx)
				failed := before
				before = err
				return errors.Join(err, failed)
			}
			m.Update(op, done)
		}}
	}},
	"a panic is a success": {"A panic in Run costs", updates(func(m *Memory, op chat.Op, done func(error)) {
		run := op.Run
		op.Run = func(tx chat.Tx) error {
			defer func() { _ = recover() }()
			return run(tx)
		}
		m.Update(op, done)
	})},
	"Run twice in one transaction": {"What stands in the store", updates(func(m *Memory, op chat.Op, done func(error)) {
		run := op.Run
		op.Run = func(tx chat.Tx) error { return errors.Join(run(tx), run(tx)) }
		m.Update(op, done)
	})},
	"Close leaves updates behind": {"Close waits", func(m *Memory) chat.Store { return &hasty{Memory: m} }},
	"updates after Close succeed": {"An update after Close", updates(func(m *Memory, op chat.Op, done func(error)) {
		m.Update(op, func(err error) {
			if chat.CodeOf(err) == chat.CodeUnavailable {
				err = nil
			}
			done(err)
		})
	})},

	// Transactions.
	"usernames are not unique":       {"A username has one user", writes(func(t *tx) noUsernames { return noUsernames{t} })},
	"pairs are not unique":           {"A pair has one", writes(func(t *tx) noChatKeys { return noChatKeys{t, true} })},
	"client_chat_ids are not unique": {"A client_chat_id is unique", writes(func(t *tx) noChatKeys { return noChatKeys{t, false} })},
	"a sent key is overwritten":      {"A client_msg_id is used once", writes(func(t *tx) sentOverwritten { return sentOverwritten{t} })},
	"client_msg_ids fold case":       {"Two client_msg_ids", writes(func(t *tx) sentFolded { return sentFolded{t} })},
	"a message put is not read":      {"Reads by a key see what the same", writes(func(t *tx) messageStale { return messageStale{t} })},
	"old names find rows":            {"Reads by a key see what the same", writes(func(t *tx) nameStale { return nameStale{t} })},
	"lists miss earlier updates":     {"Lists see earlier", writes(func(t *tx) listsStale { return listsStale{t, &reader{m: t.m, listAt: max(0, t.listAt-1)}} })},
	"now runs on":                    {"Now is in UTC", writes(func(t *tx) nowRuns { return nowRuns{t} })},
	"now has microseconds":           {"Now is in UTC", writes(func(t *tx) *tx { t.now = t.now.Add(time.Microsecond); return t })},
	"ids come again":                 {"New ids", writes(func(t *tx) idsAgain { return idsAgain{t} })},
	"deleted sessions stay":          {"A deleted session", writes(func(t *tx) sessionsStay { return sessionsStay{t} })},
	"deleted avatars stay":           {"A user has one avatar", writes(func(t *tx) avatarsStay { return avatarsStay{t} })},
	"old avatars stay":               {"A user has one avatar", writes(func(t *tx) oldAvatarsStay { return oldAvatarsStay{t} })},
	"avatars are shared":             {"The bytes of an avatar", writes(func(t *tx) avatarsShared { return avatarsShared{t} })},
	"read marks stamp the chat":      {"A read mark moves", writes(func(t *tx) readStampsChat { return readStampsChat{t} })},
	"read marks do not stamp":        {"A read mark moves", writes(func(t *tx) readUnstamped { return readUnstamped{t} })},
	"rows bring stamps":              {"PutParticipant keeps", writes(func(t *tx) bringsStamps { return bringsStamps{t} })},
	"puts keep mentions":             {"What a caller does", writes(func(t *tx) keepsMentions { return keepsMentions{t} })},
	"content is trimmed":             {"Strings come back", writes(func(t *tx) trims { return trims{t} })},
	"times lose milliseconds":        {"Times come back", writes(func(t *tx) seconds { return seconds{t} })},

	// Views and lists.
	"Changes outside the snapshot":           {"A View is a snapshot", reads(func(r *reader) changesLoose { return changesLoose{r} })},
	"single rows outside the snapshot":       {"A View is a snapshot", reads(func(r *reader) rowsLoose { return rowsLoose{r} })},
	"LastStamp outside the snapshot":         {"A View is a snapshot", reads(func(r *reader) stampLoose { return stampLoose{r} })},
	"the newest page is reversed":            {"A page of messages", reads(func(r *reader) newestReversed { return newestReversed{r} })},
	"the newest page is the first":           {"A page of messages", reads(func(r *reader) newestFirst { return newestFirst{r} })},
	"pages include their end":                {"A page of messages", reads(func(r *reader) endIncluded { return endIncluded{r} })},
	"changes are not cut together":           {"Changes are merged", reads(func(r *reader) notCut { return notCut{r} })},
	"changes miss those who left":            {"A chat's changes", reads(func(r *reader) leaversMissing { return leaversMissing{r} })},
	"changes miss edits":                     {"A chat's changes", reads(func(r *reader) editsMissing { return editsMissing{r} })},
	"changes are listed without an end":      {"A chat's changes", reads(func(r *reader) endless { return endless{r} })},
	"the floor hides changes, not births":    {"A chat's changes", reads(func(r *reader) floorChanges { return floorChanges{r} })},
	"tails are sorted":                       {"Tails are chats", reads(func(r *reader) tailsSorted { return tailsSorted{r} })},
	"tails miss those who left":              {"Tails are chats", reads(func(r *reader) tailsOfLiving { return tailsOfLiving{r} })},
	"tails are not cut":                      {"Tails are chats", reads(func(r *reader) tailsUncut { return tailsUncut{r} })},
	"tails outside the snapshot":             {"Tails are of one snapshot", reads(func(r *reader) tailsLoose { return tailsLoose{r} })},
	"ties are lost in pages":                 {"Changed chats page", reads(func(r *reader) tiesLost { return tiesLost{r} })},
	"descending pages ignore After":          {"Changed chats page", reads(func(r *reader) afterIgnored { return afterIgnored{r} })},
	"descending pages ascend":                {"Changed chats page", reads(func(r *reader) ascends { return ascends{r} })},
	"chats go on for who left":               {"A chat moves for who left", reads(func(r *reader) leaversFollow { return leaversFollow{r} })},
	"LastStamp runs ahead":                   {"Every PutChat", reads(func(r *reader) stampAhead { return stampAhead{r} })},
	"LastStamp stays behind":                 {"LastStamp is not below", reads(func(r *reader) stampBehind { return stampBehind{r} })},
	"unread includes one's own":              {"Unread are", reads(func(r *reader) ownUnread { return ownUnread{r} })},
	"unread has no cap":                      {"Unread are", reads(func(r *reader) noCap { return noCap{r} })},
	"mentions ignore mention_all":            {"Mentions follow", reads(func(r *reader) noAll { return noAll{r} })},
	"positions of deleted chats are missing": {"LastSeqs are", reads(func(r *reader) deletedMissing { return deletedMissing{r} })},
	"ended sessions live":                    {"LiveSessions are", reads(func(r *reader) endedLive { return endedLive{r} })},
	"positions are not in order":             {"LastSeqs are", reads(func(r *reader) positionsSorted { return positionsSorted{r} })},
	"participants include those who left":    {"Participants, their count", reads(func(r *reader) leaversIn { return leaversIn{r} })},
	"deleted chats are listed":               {"Listed chats", reads(func(r *reader) deletedListed { return deletedListed{r} })},
	"participants page from the last again":  {"Participants, their count", reads(func(r *reader) samePage { return samePage{r} })},
	"people are found by former names":       {"Users are found", reads(func(r *reader) former { return former{r} })},
	"people are found twice":                 {"Users are found", reads(func(r *reader) twice { return twice{r} })},
	"who is found ends with an empty page":   {"Who is found behind", reads(func(r *reader) shortEnds { return shortEnds{r} })},
	"prefixes are patterns":                  {"Users come by", reads(func(r *reader) patterns { return patterns{r} })},
}

// hasty holds each update back until the next one comes, and forgets it when
// none does before Close. The first few it lets through.
type hasty struct {
	*Memory
	n    int
	held func()
}

func (h *hasty) Update(op chat.Op, done func(error)) {
	h.n++
	if h.n < 20 {
		h.Memory.Update(op, done)
		return
	}
	if h.held != nil {
		h.held()
	}
	h.held = func() { h.Memory.Update(op, done) }
}

type noUsernames struct{ *tx }

func (t noUsernames) PutUser(u chat.User) error {
	defer t.tx.lock()()
	stored(&u.CreatedAt)
	put(t.tx, t.m.users, u.ID, u)
	return nil
}

type noChatKeys struct {
	*tx
	pair bool
}

func (t noChatKeys) PutChat(c chat.Chat) error {
	err := t.tx.PutChat(c)
	if err != nil && t.pair == (c.ClientChatID == "") {
		defer t.tx.lock()()
		stored(&c.CreatedAt, &c.DeletedAt)
		c.Stamp = t.at
		put(t.tx, t.m.chats, c.ID, c)
		return nil
	}
	return err
}

type sentOverwritten struct{ *tx }

func (t sentOverwritten) PutSent(s chat.Sent) error {
	defer t.tx.lock()()
	stored(&s.CreatedAt)
	put(t.tx, t.m.sent, sentKey{s.Sender, s.ClientMsgID}, s)
	return nil
}

type sentFolded struct{ *tx }

func (t sentFolded) PutSent(s chat.Sent) error {
	s.ClientMsgID = strings.ToLower(s.ClientMsgID)
	return t.tx.PutSent(s)
}

type messageStale struct{ *tx }

func (t messageStale) Message(id chat.ChatID, seq int64) (chat.Message, error) {
	return (&reader{m: t.m, at: t.listAt}).Message(id, seq)
}

type nameStale struct{ *tx }

func (t nameStale) UserByName(name string) (chat.User, error) {
	u, err := t.tx.UserByName(name)
	if errors.Is(err, chat.ErrNotFound) {
		return (&reader{m: t.m, at: t.listAt}).UserByName(name)
	}
	return u, err
}

type listsStale struct {
	*tx
	old *reader
}

func (t listsStale) Messages(id chat.ChatID, lo, hi int64, limit int, newest bool) ([]chat.Message, error) {
	return t.old.Messages(id, lo, hi, limit, newest)
}

type nowRuns struct{ *tx }

func (t nowRuns) Now() time.Time {
	t.now = t.now.Add(time.Millisecond)
	return t.now
}

type idsAgain struct{ *tx }

func (t idsAgain) NewSessionID() (chat.SessionID, error) {
	defer t.lock()()
	last := chat.SessionID(0)
	for s := range t.m.sessions.all(t.at) {
		last = max(last, s.ID)
	}
	return last + 1, nil
}

func (t idsAgain) lock() func() { return t.tx.lock() }

type sessionsStay struct{ *tx }

func (t sessionsStay) DeleteSession(chat.SessionID) error { return nil }

type avatarsStay struct{ *tx }

func (t avatarsStay) DeleteAvatar(chat.UserID) error { return nil }

type oldAvatarsStay struct{ *tx }

func (t oldAvatarsStay) PutAvatar(a chat.Avatar) error {
	defer t.tx.lock()()
	put(t.tx, t.m.avatars, a.User+chat.UserID(len(t.m.avatars))<<32, a)
	return nil
}

type avatarsShared struct{ *tx }

func (t avatarsShared) PutAvatar(a chat.Avatar) error {
	defer t.tx.lock()()
	put(t.tx, t.m.avatars, a.User, a)
	return nil
}

type deletedListed struct{ *reader }

func (r deletedListed) ListedChats(after chat.ChatID, limit int) ([]chat.Chat, error) {
	defer r.lock()()
	list := sorted(r.m.chats.all(r.listAt),
		func(c chat.Chat) bool { return c.Listed && c.ID > after },
		func(c chat.Chat) chat.ChatID { return c.ID })
	return list[:min(limit, len(list))], nil
}

type readStampsChat struct{ *tx }

func (t readStampsChat) PutReadMark(id chat.ChatID, user chat.UserID, seq int64) error {
	if c, err := t.Chat(id); err == nil {
		if err := t.PutChat(c); err != nil {
			return err
		}
	}
	return t.tx.PutReadMark(id, user, seq)
}

type readUnstamped struct{ *tx }

func (t readUnstamped) PutReadMark(id chat.ChatID, user chat.UserID, seq int64) error {
	p, err := t.Participant(id, user)
	if err != nil {
		return err
	}
	p.ReadSeq = seq
	return t.PutParticipant(p)
}

type bringsStamps struct{ *tx }

func (t bringsStamps) PutParticipant(p chat.Participant) error {
	defer t.tx.lock()()
	put(t.tx, in(t.m.participants, p.Chat), p.User, p)
	return nil
}

type keepsMentions struct{ *tx }

func (t keepsMentions) PutMessage(m chat.Message) error {
	defer t.tx.lock()()
	stored(&m.CreatedAt, &m.EditedAt, &m.DeletedAt)
	put(t.tx, in(t.m.messages, m.Chat), m.Seq, m)
	return nil
}

type trims struct{ *tx }

func (t trims) PutMessage(m chat.Message) error {
	m.Content = strings.TrimSpace(m.Content)
	return t.tx.PutMessage(m)
}

type seconds struct{ *tx }

func (t seconds) PutSent(s chat.Sent) error {
	s.CreatedAt = s.CreatedAt.Truncate(time.Second)
	return t.tx.PutSent(s)
}

// latest reads what is committed now.
func (r *reader) latest() *reader {
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	return &reader{m: r.m, at: r.m.committed, listAt: r.m.committed}
}

type changesLoose struct{ *reader }

func (r changesLoose) Changes(id chat.ChatID, after, upto, floor int64, limit int) ([]chat.Message, []chat.Participant, error) {
	return r.latest().Changes(id, after, upto, floor, limit)
}

type rowsLoose struct{ *reader }

func (r rowsLoose) Session(id chat.SessionID) (chat.Session, error) { return r.latest().Session(id) }

type stampLoose struct{ *reader }

func (r stampLoose) LastStamp() (int64, error) { return r.latest().LastStamp() }

type newestReversed struct{ *reader }

func (r newestReversed) Messages(id chat.ChatID, lo, hi int64, limit int, newest bool) ([]chat.Message, error) {
	list, err := r.reader.Messages(id, lo, hi, limit, newest)
	if newest {
		slices.Reverse(list)
	}
	return list, err
}

type newestFirst struct{ *reader }

func (r newestFirst) Messages(id chat.ChatID, lo, hi int64, limit int, _ bool) ([]chat.Message, error) {
	return r.reader.Messages(id, lo, hi, limit, false)
}

type endIncluded struct{ *reader }

func (r endIncluded) Messages(id chat.ChatID, lo, hi int64, limit int, newest bool) ([]chat.Message, error) {
	return r.reader.Messages(id, lo, hi+1, limit, newest)
}

type notCut struct{ *reader }

func (r notCut) Changes(id chat.ChatID, after, upto, floor int64, limit int) ([]chat.Message, []chat.Participant, error) {
	m, p, err := r.reader.Changes(id, after, upto, floor, 1<<20)
	return m[:min(limit, len(m))], p[:min(limit, len(p))], err
}

type leaversMissing struct{ *reader }

func (r leaversMissing) Changes(id chat.ChatID, after, upto, floor int64, limit int) ([]chat.Message, []chat.Participant, error) {
	m, p, err := r.reader.Changes(id, after, upto, floor, limit)
	return m, slices.DeleteFunc(p, func(p chat.Participant) bool { return !p.In() }), err
}

type editsMissing struct{ *reader }

func (r editsMissing) Changes(id chat.ChatID, after, upto, floor int64, limit int) ([]chat.Message, []chat.Participant, error) {
	m, p, err := r.reader.Changes(id, after, upto, floor, limit)
	return slices.DeleteFunc(m, func(m chat.Message) bool { return m.Seq <= after }), p, err
}

type tailsSorted struct{ *reader }

func (r tailsSorted) Tails(after []chat.Position, limit int) ([]chat.Tail, error) {
	after = slices.Clone(after)
	slices.SortFunc(after, func(a, b chat.Position) int { return cmp.Compare(a.Chat, b.Chat) })
	return r.reader.Tails(after, limit)
}

type tailsOfLiving struct{ *reader }

func (r tailsOfLiving) Tails(after []chat.Position, limit int) ([]chat.Tail, error) {
	tails, err := r.reader.Tails(after, limit)
	for i := range tails {
		tails[i].Participants = slices.DeleteFunc(tails[i].Participants, func(p chat.Participant) bool { return !p.In() })
	}
	return tails, err
}

type tailsUncut struct{ *reader }

func (r tailsUncut) Tails(after []chat.Position, _ int) ([]chat.Tail, error) {
	return r.reader.Tails(after, 1<<20)
}

// tailsLoose reads each chat where it stands by then.
type tailsLoose struct{ *reader }

func (r tailsLoose) Tails(after []chat.Position, limit int) (tails []chat.Tail, err error) {
	for _, at := range after {
		t, err := r.latest().Tails([]chat.Position{at}, limit)
		if err != nil {
			return nil, err
		}
		tails = append(tails, t...)
		runtime.Gosched()
	}
	return tails, nil
}

type endless struct{ *reader }

func (r endless) Changes(id chat.ChatID, after, _, floor int64, limit int) ([]chat.Message, []chat.Participant, error) {
	return r.reader.Changes(id, after, math.MaxInt64, floor, limit)
}

type floorChanges struct{ *reader }

func (r floorChanges) Changes(id chat.ChatID, after, upto, floor int64, limit int) ([]chat.Message, []chat.Participant, error) {
	return r.reader.Changes(id, max(after, floor-1), upto, 0, limit)
}

type tiesLost struct{ *reader }

func (r tiesLost) ChangedChats(user chat.UserID, pos chat.SyncPos, limit int) ([]chat.ChangedChat, error) {
	pos.AfterChat, pos.BelowChat = 0, 0
	return r.reader.ChangedChats(user, pos, limit)
}

type afterIgnored struct{ *reader }

func (r afterIgnored) ChangedChats(user chat.UserID, pos chat.SyncPos, limit int) ([]chat.ChangedChat, error) {
	if pos.Below != 0 {
		pos.After = 0
	}
	return r.reader.ChangedChats(user, pos, limit)
}

type ascends struct{ *reader }

func (r ascends) ChangedChats(user chat.UserID, pos chat.SyncPos, limit int) ([]chat.ChangedChat, error) {
	list, err := r.reader.ChangedChats(user, pos, limit)
	slices.SortFunc(list, func(a, b chat.ChangedChat) int { return compareChanged(a, b.Stamp, b.Chat.ID) })
	return list, err
}

type leaversFollow struct{ *reader }

func (r leaversFollow) ChangedChats(user chat.UserID, pos chat.SyncPos, limit int) ([]chat.ChangedChat, error) {
	list, err := r.reader.ChangedChats(user, chat.SyncPos{}, 1<<20)
	for i := range list {
		list[i].Stamp = max(list[i].Chat.Stamp, list[i].Participant.Stamp)
	}
	list = slices.DeleteFunc(list, func(c chat.ChangedChat) bool { return !within(c, pos) })
	slices.SortFunc(list, func(a, b chat.ChangedChat) int {
		if pos.Below != 0 {
			a, b = b, a
		}
		return compareChanged(a, b.Stamp, b.Chat.ID)
	})
	return list[:min(limit, len(list))], err
}

type stampAhead struct{ *reader }

func (r stampAhead) LastStamp() (int64, error) { return r.listAt + 1, nil }

type stampBehind struct{ *reader }

func (r stampBehind) LastStamp() (int64, error) { return max(0, r.listAt-1), nil }

type ownUnread struct{ *reader }

func (r ownUnread) CountUnread(id chat.ChatID, _ chat.UserID, seq int64, most int) (int64, error) {
	return r.reader.CountUnread(id, 0, seq, most)
}

type noCap struct{ *reader }

func (r noCap) CountUnread(id chat.ChatID, user chat.UserID, seq int64, _ int) (int64, error) {
	return r.reader.CountUnread(id, user, seq, 1<<20)
}

type noAll struct{ *reader }

func (r noAll) CountMentions(id chat.ChatID, user chat.UserID, seq int64, most int) (int64, error) {
	return r.countMessages(id, user, seq, most, func(m chat.Message) bool { return slices.Contains(m.Mentions, user) })
}

type leaversIn struct{ *reader }

func (r leaversIn) CountParticipants(id chat.ChatID, roles ...chat.Role) (int, error) {
	defer r.lock()()
	n := 0
	for p := range r.m.participants[id].all(r.listAt) {
		if slices.Contains(roles, p.Role) {
			n++
		}
	}
	return n, nil
}

type samePage struct{ *reader }

func (r samePage) Participants(id chat.ChatID, after chat.UserID, limit int) ([]chat.Participant, error) {
	return r.reader.Participants(id, after-1, limit)
}

type patterns struct{ *reader }

func (r patterns) Users(prefix string, after chat.UserID, limit int) ([]chat.User, error) {
	all, err := r.reader.Users("", after, 1<<20)
	all = slices.DeleteFunc(all, func(u chat.User) bool {
		for i := range len(prefix) {
			if i >= len(u.Username) || prefix[i] != u.Username[i] && prefix[i] != '_' {
				return true
			}
		}
		return false
	})
	return all[:min(limit, len(all))], err
}

type former struct{ *reader }

// FindUsers looks at all versions of a row.
func (r former) FindUsers(find string, after chat.FoundPos, limit int) ([]chat.User, chat.FoundPos, error) {
	list, next, err := r.reader.FindUsers(find, after, limit)
	if len(list) > 0 || err != nil {
		return list, next, err
	}
	defer r.lock()()
	for id, versions := range r.m.users {
		for _, v := range versions {
			if w := words.Asked(find); len(w) == 1 && v.at <= r.listAt && words.Begun(words.Of(v.row.Name), w[0]) != "" {
				now, _ := r.m.users.get(id, r.listAt)
				return []chat.User{now}, chat.FoundPos{}, nil
			}
		}
	}
	return list, next, err
}

type twice struct{ *reader }

// FindUsers begins a page with the last of the one before.
func (r twice) FindUsers(find string, after chat.FoundPos, limit int) ([]chat.User, chat.FoundPos, error) {
	if after.User > 0 && limit > 1 {
		after.User--
	}
	return r.reader.FindUsers(find, after, limit)
}

type shortEnds struct{ *reader }

// FindUsers looks at a thousand and says that there are no others.
func (r shortEnds) FindUsers(find string, after chat.FoundPos, limit int) ([]chat.User, chat.FoundPos, error) {
	list, next, err := r.reader.FindUsers(find, after, limit)
	list = slices.DeleteFunc(list, func(u chat.User) bool { return u.ID > 1000 })
	return list, next, err
}

type deletedMissing struct{ *reader }

func (r deletedMissing) LastSeqs(chats []chat.ChatID) ([]int64, error) {
	seqs, err := r.reader.LastSeqs(chats)
	for i, id := range chats {
		if c, _ := r.Chat(id); !c.DeletedAt.IsZero() {
			seqs[i] = 0
		}
	}
	return seqs, err
}

type endedLive struct{ *reader }

func (r endedLive) LiveSessions(ids []chat.SessionID) ([]chat.SessionID, error) { return ids, nil }

type positionsSorted struct{ *reader }

func (r positionsSorted) LastSeqs(chats []chat.ChatID) ([]int64, error) {
	chats = slices.Clone(chats)
	slices.Sort(chats)
	return r.reader.LastSeqs(chats)
}

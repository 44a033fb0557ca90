package client

import (
	"cmp"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/protocol"
)

// syncing is where the sync of this connection stands.
type syncing struct {
	due       bool // there is something to ask for
	first     bool // nothing was told to be Synced on this connection yet
	asking    bool
	pages     int
	notBefore time.Time // 0: now
	tries     int
	heard     bool // a chat's event came since the last one
}

const (
	syncPage    = 80  // chats; each may be told as three events
	changesPage = 200 // rows
	// A cursor moves on only with a sync, so there is one now and then also
	// while everything is told live. It also finds what a server forgot to tell.
	syncAgain = 5 * time.Minute
	// firstSync is how many events more than others the first sync of a
	// connection may make wait: who waits to be Ready does not read.
	firstSync = 20_000
	// maxSyncPages bounds a sync that does not come to its end.
	maxSyncPages = 10_000
)

// pump asks for, and tells, whatever there is room for. It is called at the end
// of everything that could make a difference.
func (s *Session) pump(now time.Time) error {
	if !s.ready || s.unasked != nil {
		return s.unasked
	}
	s.pumpOutbox(now)
	if s.cfg.Calls {
		return nil
	}
	for id := range s.removals {
		if s.room() <= 0 {
			break
		}
		s.tellRemoval(id)
	}
	s.pumpSync(now)
	s.pumpChats(now)
	return s.unasked
}

// pumpSync asks for the next page of what changed.
func (s *Session) pumpSync(now time.Time) {
	y := &s.sync
	if y.asking || now.Before(y.notBefore) {
		return
	}
	y.notBefore = time.Time{}
	if y.heard && !y.due {
		y.due, y.heard = true, false
	}
	const places = 3*syncPage + 2
	room := s.room()
	if y.first {
		room += firstSync
	}
	if !y.due || room < places {
		return
	}
	y.asking = true
	s.reserved += places
	timeline := int64(0)
	if y.first {
		timeline = int64(s.cfg.Timeline)
	}
	p := protocol.SyncParams{Limit: syncPage, TimelineLimit: &timeline}
	if s.cursor != "" {
		p.Cursor = protocol.Some(s.cursor)
	}
	gen := s.gen
	s.ask(now, protocol.OpSync, p, func(now time.Time, result jsontext.Value, failure *protocol.Error) error {
		s.reserved -= places
		y.asking = false
		if gen != s.gen {
			return nil
		}
		return s.synced(now, result, failure)
	})
}

// synced takes an answer to sync.
func (s *Session) synced(now time.Time, result jsontext.Value, failure *protocol.Error) error {
	y := &s.sync
	switch {
	case failure == nil:
	case failure.Code == protocol.CodeCursorInvalid && s.cursor != "":
		s.startOver()
		return nil
	case failure.Retryable:
		y.notBefore = now.Add(s.retryIn(failure, y.tries))
		y.tries++
		return nil
	default:
		return broke("it refuses to sync: %v", failure)
	}
	y.tries = 0
	var page protocol.SyncResult
	if err := decode(result, &page); err != nil {
		return err
	}
	if y.pages++; len(page.Chats) > syncPage || y.pages > maxSyncPages || page.Cursor == "" {
		return broke("a page of sync that cannot be: %d chats, the %d. page", len(page.Chats), y.pages)
	}
	for _, cs := range page.Chats {
		back, err := s.state(cs)
		if err != nil {
			return err
		}
		if back {
			// As another epoch, if only the server had said so.
			if s.wentBack {
				return broke("the position of %s went back", cs.ChatID)
			}
			s.wentBack = true
			s.startOver()
			return nil
		}
	}
	// What the cursor covers is told before it, room or not: it may be all that
	// is kept.
	for id := range s.removals {
		s.tellRemoval(id)
	}
	for _, cs := range page.Chats {
		if e := s.chats[cs.ChatID]; e != nil && e.known {
			s.tellState(e)
		}
	}
	s.cursor = page.Cursor
	s.complete = s.complete || !page.HasMore
	s.queue.put(Event{Kind: CursorMoved, UserID: s.user.UserID, Cursor: s.cursor, Epoch: s.epoch, Complete: s.complete})
	if page.HasMore {
		return nil
	}
	if y.first {
		s.setLink(Connection{Link: Online})
		s.queue.only(Event{Kind: Synced})
	}
	*y = syncing{notBefore: now.Add(syncAgain), heard: y.heard}
	return nil
}

// startOver forgets the positions, and syncs from the beginning.
func (s *Session) startOver() {
	s.reset(s.epoch)
	s.sync = syncing{due: true, first: true}
	s.setLink(Connection{Link: Syncing})
}

// retryIn is how long to wait after a failure that may pass, the tries-th in a
// row.
func (s *Session) retryIn(failure *protocol.Error, tries int) time.Duration {
	return time.Duration(min(failure.RetryAfterMS, longestWait.Milliseconds()))*time.Millisecond + s.delay(tries)
}

// pumpChats does what chats are waiting for: those in focus first.
func (s *Session) pumpChats(now time.Time) {
	if len(s.work) == 0 {
		return
	}
	if s.focused {
		for _, id := range s.focus {
			if e := s.chats[id]; e != nil && e.queued {
				s.serve(now, e)
			}
		}
	}
	work := s.work
	s.work = nil
	for _, e := range work {
		e.queued = false
		if s.is(e) && s.serve(now, e) {
			s.todo(e)
		}
	}
}

// serve asks and tells what e waits for. It reports whether e still waits.
func (s *Session) serve(now time.Time, e *entry) bool {
	if s.removals[e.st.ChatID] {
		return true
	}
	if s.room() > 0 {
		s.tellState(e)
	}
	if !now.Before(e.notBefore) {
		e.notBefore = time.Time{}
	}
	s.pumpMark(now, e)
	if !e.asking && e.notBefore.IsZero() {
		switch {
		case !e.known:
			// What changed while the user was away, sync tells.
			if s.link.Link == Online && s.room() >= 3 {
				s.fetch(now, e)
			}
		case s.stale(e):
			s.catchUp(now, e)
		case e.fetch && e.st.Mark == 0 && s.room() >= 3:
			s.fetch(now, e)
		}
	}
	return s.waiting(e)
}

// tellState tells how e stands, if there is news.
func (s *Session) tellState(e *entry) {
	if e.news {
		e.news = false
		s.queue.put(Event{Kind: ChatState, ChatID: e.st.ChatID, State: e.snapshot()})
	}
}

// tellRemoval tells that a chat is not there any more.
func (s *Session) tellRemoval(chatID string) {
	delete(s.removals, chatID)
	s.queue.put(Event{Kind: ChatRemoved, ChatID: chatID})
}

// waiting reports whether there is something to ask or to tell about e.
func (s *Session) waiting(e *entry) bool {
	return !e.known || e.news || e.asking || e.st.Mark > 0 || s.stale(e) || e.fetch
}

// stale reports whether e is to be caught up.
func (s *Session) stale(e *entry) bool {
	return e.st.Pos < e.st.LastSeq &&
		(!s.cfg.Lazy || e.live || s.focused && slices.Contains(s.focus, e.st.ChatID))
}

// catchUp asks for the next changes of a chat.
func (s *Session) catchUp(now time.Time, e *entry) {
	if most := s.cfg.MaxCatchUp; most > 0 && e.st.LastSeq-e.st.Pos > most && s.room() > 0 {
		e.st.Unseen = nil
		ev := Event{Kind: Skipped, ChatID: e.st.ChatID, PrevSeq: e.st.Pos, Seq: e.st.LastSeq}
		e.st.Pos, e.live = e.st.LastSeq, false
		if e.counted < e.st.Pos {
			s.recount(e)
		}
		ev.State = e.snapshot()
		s.queue.put(ev)
		return
	}
	limit := min(changesPage, s.cfg.Buffer/2)
	places := limit + 2 // the chat's own row, and how far it went
	if s.room() < places {
		return
	}
	s.reserved += places
	e.asking = true
	after := e.st.Pos
	s.ask(now, protocol.OpChangesList, protocol.ChangesListParams{ChatID: e.st.ChatID, After: after, Limit: int64(limit)},
		func(now time.Time, result jsontext.Value, failure *protocol.Error) error {
			s.reserved -= places
			e.asking = false
			if !s.is(e) {
				return nil // left, or another history: not of this chat any more
			}
			if failure != nil {
				return s.refused(now, e, failure)
			}
			var page protocol.ChangesListResult
			if err := decode(result, &page); err != nil {
				return err
			}
			return s.changes(e, after, limit, page)
		})
}

// refused takes an error of a question about e.
func (s *Session) refused(now time.Time, e *entry, failure *protocol.Error) error {
	switch {
	case failure.Code == protocol.CodeNotFound:
		s.drop(e, Event{ChatID: e.st.ChatID})
	case failure.Retryable:
		e.notBefore = now.Add(s.retryIn(failure, e.tries))
		e.tries++
		s.todo(e)
	default:
		return broke("it refuses to say how %s stands: %v", e.st.ChatID, failure)
	}
	return nil
}

// changes takes a page of changes.list after a position (docs/protocol.md#changes).
func (s *Session) changes(e *entry, after int64, limit int, page protocol.ChangesListResult) error {
	e.tries = 0
	if n := len(page.Messages) + len(page.Participants); n > limit || page.Next < after ||
		page.Next > protocol.MaxInteger || page.HasMore && page.Next <= after {
		return broke("a page of changes that cannot be: %d rows, from %d to %d", n, after, page.Next)
	}
	for _, p := range page.Participants {
		if p.UserID == s.user.UserID && p.LeftSeq == 0 && p.JoinedSeq > e.st.JoinedSeq {
			// Left and came back, unheard.
			s.drop(e, Event{ChatID: e.st.ChatID})
			s.heardOf(e.st.ChatID, p.JoinedSeq-1, e.st.LastSeq)
			return nil
		}
	}
	before := e.st.Pos
	for _, ev := range rows(e.st.ChatID, page) {
		if err := sound(ev); err != nil {
			return err
		}
		if ev.Seq <= after || ev.Seq > page.Next {
			return broke("a page of changes from %d to %d has one of %d", after, page.Next, ev.Seq)
		}
		if ev.Seq <= e.st.Pos {
			continue // it was told live meanwhile
		}
		ev.PrevSeq = e.st.Pos
		e.st.Unseen.Add(ev.PrevSeq+1, ev.Seq-1)
		s.tell(e, ev)
	}
	if page.Next > e.st.Pos {
		ev := Event{ChatID: e.st.ChatID, PrevSeq: e.st.Pos, Seq: page.Next}
		e.st.Unseen.Add(ev.PrevSeq+1, ev.Seq)
		s.tell(e, ev)
	}
	if page.HasMore {
		if n := len(e.st.Unseen); n > maxUnseen {
			e.st.Unseen = slices.Clone(e.st.Unseen[n-maxUnseen:])
		}
	} else {
		e.st.Unseen.Remove(1, page.Next)
	}
	switch {
	case e.st.Pos >= e.st.LastSeq:
		e.live = false
	case e.st.Pos > before || page.HasMore:
		e.idle = 0
	default:
		// An answer may cross an event; a second one to a question that was
		// asked after the event may not.
		if e.idle++; e.idle > 1 {
			e.st.LastSeq = e.st.Pos
			return broke("%s is said to be further than its changes", e.st.ChatID)
		}
	}
	s.todo(e)
	return nil
}

// rows makes events of a page's rows, in order. Rows of one position, as of a
// chat and its creator, are one event.
func rows(chatID string, page protocol.ChangesListResult) []Event {
	events := make([]Event, 0, len(page.Messages)+len(page.Participants)+1)
	put := func(seq int64) *Event {
		events = append(events, Event{ChatID: chatID, Seq: seq, PrevSeq: seq - 1})
		return &events[len(events)-1]
	}
	for i := range page.Messages {
		put(page.Messages[i].UpdatedSeq).Message = &page.Messages[i]
	}
	for i := range page.Participants {
		put(page.Participants[i].UpdatedSeq).Participant = &page.Participants[i]
	}
	if c := page.Chat; c != nil {
		i := slices.IndexFunc(events, func(ev Event) bool { return ev.Seq == c.UpdatedSeq })
		if i < 0 {
			put(c.UpdatedSeq).Chat = c
		} else {
			events[i].Chat = c
		}
	}
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.Seq, b.Seq) })
	return events
}

// fetch asks for the state of a chat: one that was heard of only, or whose
// counts are uncertain.
func (s *Session) fetch(now time.Time, e *entry) {
	const places = 3
	s.reserved += places
	e.asking, e.fetch = true, false
	s.ask(now, protocol.OpChatsGet, protocol.ChatParams{ChatID: e.st.ChatID}, func(now time.Time, result jsontext.Value, failure *protocol.Error) error {
		s.reserved -= places
		e.asking = false
		if !s.is(e) {
			return nil
		}
		if failure != nil {
			return s.refused(now, e, failure)
		}
		var r protocol.ChatResult
		if err := decode(result, &r); err != nil {
			return err
		}
		if r.Chat.ChatID != e.st.ChatID {
			return broke("asked for %s it answers %s", e.st.ChatID, r.Chat.ChatID)
		}
		counted, was := max(e.counted, e.newest), e.known
		if _, err := s.state(r.Chat); err != nil {
			return err
		}
		if s.is(e) && e.known && was && (r.Chat.LastSeq < counted || r.Chat.ReadSeq < e.st.ReadSeq) {
			// The answer crossed an event. A server that does not get on has
			// the last word.
			e.tries++
			e.fetch = e.tries < 3
		}
		if s.is(e) && !e.known {
			e.notBefore = now.Add(s.cfg.MinBackoff) // a state from before the user came back
		}
		s.todo(e)
		return nil
	})
}

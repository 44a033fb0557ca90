package chat

import (
	"context"
	"slices"
	"sync"
)

// Underway knows which of this process's updates have not been answered and
// published yet. Where other processes write to the same store, their news may
// make somebody read a row of ours that is committed and not yet answered: who
// tells rows asks Underway first. The zero value is ready; its methods may be
// called from any goroutine.
type Underway struct {
	mu      sync.Mutex
	next    uint64
	of      map[ChatID][]uint64 // ascending; 0: of a chat that is not known beforehand
	waiting map[ChatID]map[*waiter]struct{}
}

// waiter waits until nothing of its chat is under way that was begun before.
type waiter struct {
	before uint64
	over   chan struct{}
}

// begin notes an update of a chat, 0 for one that may be of any. end has to be
// called when it has been answered and published.
func (u *Underway) begin(id ChatID) (end func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.of == nil {
		u.of = make(map[ChatID][]uint64)
	}
	n := u.next
	u.next++
	u.of[id] = append(u.of[id], n)
	return func() { u.end(id, n) }
}

func (u *Underway) end(id ChatID, n uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := u.of[id]
	i, _ := slices.BinarySearch(list, n) // the first, as a rule
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(u.of, id)
	} else {
		u.of[id] = list
	}
	if id == 0 {
		for of := range u.waiting {
			u.wakeLocked(of)
		}
		return
	}
	u.wakeLocked(id)
	u.wakeLocked(0)
}

// wakeLocked ends the waiting of those who wait for a chat, if it is over.
func (u *Underway) wakeLocked(id ChatID) {
	waiting := u.waiting[id]
	if len(waiting) == 0 {
		return
	}
	oldest := u.oldestLocked(id)
	for w := range waiting {
		if oldest >= w.before {
			close(w.over)
			u.forgetLocked(id, w)
		}
	}
}

func (u *Underway) forgetLocked(id ChatID, w *waiter) {
	if delete(u.waiting[id], w); len(u.waiting[id]) == 0 {
		delete(u.waiting, id)
	}
}

// Wait waits until the updates of a chat that are under way now, and those of
// which it is not known beforehand, have been answered and published. 0: all.
func (u *Underway) Wait(ctx context.Context, id ChatID) error {
	u.mu.Lock()
	if u.oldestLocked(id) == u.next {
		u.mu.Unlock()
		return nil
	}
	w := &waiter{u.next, make(chan struct{})}
	if u.waiting == nil {
		u.waiting = make(map[ChatID]map[*waiter]struct{})
	}
	if u.waiting[id] == nil {
		u.waiting[id] = make(map[*waiter]struct{})
	}
	u.waiting[id][w] = struct{}{}
	u.mu.Unlock()
	select {
	case <-w.over:
		return nil
	case <-ctx.Done():
		u.mu.Lock()
		defer u.mu.Unlock()
		u.forgetLocked(id, w)
		return ctx.Err()
	}
}

// oldestLocked is the first of those that are under way, or the next.
func (u *Underway) oldestLocked(id ChatID) uint64 {
	oldest := u.next
	if id == 0 {
		for _, list := range u.of {
			oldest = min(oldest, list[0])
		}
		return oldest
	}
	for _, of := range []ChatID{0, id} {
		if list := u.of[of]; len(list) > 0 {
			oldest = min(oldest, list[0])
		}
	}
	return oldest
}

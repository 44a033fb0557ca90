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
	waiting map[chan struct{}]struct{}
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
	for w := range u.waiting {
		close(w)
	}
	clear(u.waiting)
}

// Wait waits until the updates of a chat that are under way now, and those of
// which it is not known beforehand, have been answered and published. 0: all.
func (u *Underway) Wait(ctx context.Context, id ChatID) error {
	u.mu.Lock()
	before := u.next
	for u.oldestLocked(id) < before {
		ended := make(chan struct{})
		if u.waiting == nil {
			u.waiting = make(map[chan struct{}]struct{})
		}
		u.waiting[ended] = struct{}{}
		u.mu.Unlock()
		select {
		case <-ended:
		case <-ctx.Done():
			u.mu.Lock()
			delete(u.waiting, ended)
			u.mu.Unlock()
			return ctx.Err()
		}
		u.mu.Lock()
	}
	u.mu.Unlock()
	return nil
}

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

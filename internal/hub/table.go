package hub

import (
	"iter"
	"math/bits"
)

// table finds connections by their session or their user, of which each has one
// or none, and several may have the same. Chains lead through the connections
// themselves, so that it takes some 10 bytes for each, where a map would take
// 37. It grows by one chain at a time (linear hashing): nobody waits for all to
// be moved. It is guarded by hub.mu.
type table struct {
	by    key
	heads []*Conn
	n     int
}

type key int8

const (
	bySession key = iota
	byUser
)

func (t *table) keyOf(c *Conn) int64 {
	if t.by == bySession {
		return int64(c.session)
	}
	return int64(c.user)
}

// next is where c's chain goes on.
func (t *table) next(c *Conn) **Conn {
	if t.by == bySession {
		return &c.nextBySession
	}
	return &c.nextByUser
}

// chain is the number of a key's chain: of a table of the next power of two, or
// of half of that, if it has not got so far.
func (t *table) chain(key int64) int {
	mixed := uint64(key) * 0x9e3779b97f4a7c15 >> 32 // ids are given out by us, in turn
	size := uint64(1) << bits.Len(uint(len(t.heads)-1))
	i := mixed & (size - 1)
	if i >= uint64(len(t.heads)) {
		i -= size / 2
	}
	return int(i)
}

// of gives those of a key, who came last first.
func (t *table) of(key int64) iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for c := t.first(key); c != nil; c = t.from(*t.next(c), key) {
			if !yield(c) {
				return
			}
		}
	}
}

// first is the one of a key that came last; nil: there is none.
func (t *table) first(key int64) *Conn {
	if t.n == 0 {
		return nil
	}
	return t.from(t.heads[t.chain(key)], key)
}

// from is the first of a key from c on.
func (t *table) from(c *Conn, key int64) *Conn {
	for c != nil && t.keyOf(c) != key {
		c = *t.next(c)
	}
	return c
}

// all gives everybody.
func (t *table) all() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for _, c := range t.heads {
			for ; c != nil; c = *t.next(c) {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// add adds a connection that is not there.
func (t *table) add(c *Conn) {
	if t.n++; t.n > len(t.heads) {
		t.grow()
	}
	head := &t.heads[t.chain(t.keyOf(c))]
	*head, *t.next(c) = c, *head
}

// grow adds a chain, and moves to it those of one other that belong there.
func (t *table) grow() {
	t.heads = append(t.heads, nil)
	last := len(t.heads) - 1
	if last == 0 {
		return
	}
	end := &t.heads[last]
	at := &t.heads[last-1<<(bits.Len(uint(last))-1)]
	for c := *at; c != nil; c = *at {
		if t.chain(t.keyOf(c)) == last {
			*at = *t.next(c)
			*end, *t.next(c) = c, nil
			end = t.next(c)
		} else {
			at = t.next(c)
		}
	}
}

// remove takes out a connection that is there.
func (t *table) remove(c *Conn) {
	at := &t.heads[t.chain(t.keyOf(c))]
	for *at != c {
		at = t.next(*at)
	}
	*at, *t.next(c) = *t.next(c), nil
	if t.n--; t.n == 0 {
		t.heads = nil
	}
}

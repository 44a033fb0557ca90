package batch

import (
	"errors"

	"github.com/grima-chat/grima/internal/chat"
)

// rows is what the writer knows of one table: rows it read, and rows that
// updates put and the database does not have yet. Each touched row is written once
// per batch, however many updates touched it, and an update that fails leaves
// nothing behind.
type rows[K comparable, V any] struct {
	load   func(K) (V, error) // chat.ErrNotFound when there is none
	write  func([]*V) error   // each of another key
	remove func([]K) error    // nil: rows of this table are never deleted
	keep   int                // how many rows may stay known from batch to batch; 0: none

	known map[K]*row[K, V]
	dirty []*row[K, V]  // as they were put; one may be there twice, or be clean again
	undo  []saved[K, V] // what the running update replaced

	puts []*V // flush's own
	gone []K
}

type row[K comparable, V any] struct {
	key   K
	val   V
	state state
	dirty bool
}

type state uint8

const (
	unknown state = iota // nobody looked yet
	missing
	present
)

type saved[K comparable, V any] struct {
	row *row[K, V]
	was row[K, V]
}

// table is what the writer does with every rows.
type table interface {
	accept()      // the running update succeeded
	revert()      // it failed
	hide()        // hides what it put, so that a flush leaves it out
	show()        // takes it back
	flush() error // writes what is dirty
	settle()      // the batch is durable
	forget()      // the batch failed: nothing is known any more
}

// get gives the row as the running update sees it.
func (t *rows[K, V]) get(key K) (V, error) {
	k := t.at(key)
	if k.state == unknown {
		val, err := t.load(key)
		switch {
		case err == nil:
			k.val, k.state = val, present
		case errors.Is(err, chat.ErrNotFound):
			k.state = missing
		default:
			return val, err
		}
	}
	if k.state == missing {
		var zero V
		return zero, chat.ErrNotFound
	}
	return k.val, nil
}

func (t *rows[K, V]) at(key K) *row[K, V] {
	k, ok := t.known[key]
	if !ok {
		if t.known == nil {
			t.known = map[K]*row[K, V]{}
		}
		k = &row[K, V]{key: key}
		t.known[key] = k
	}
	return k
}

// find gives a row by something else than its key: match says which, load asks
// the store. What this batch put comes before what it has.
func (t *rows[K, V]) find(match func(*V) bool, load func() (V, error), key func(*V) K) (V, error) {
	for _, k := range t.dirty {
		if k.dirty && k.state == present && match(&k.val) {
			return k.val, nil
		}
	}
	val, err := load()
	if err != nil {
		return val, err
	}
	val, err = t.get(key(&val))
	if err == nil && !match(&val) {
		var zero V
		return zero, chat.ErrNotFound
	}
	return val, err
}

func (t *rows[K, V]) put(key K, val V) {
	t.set(row[K, V]{key: key, val: val, state: present, dirty: true})
}

func (t *rows[K, V]) delete(key K) { t.set(row[K, V]{key: key, state: missing, dirty: true}) }

func (t *rows[K, V]) set(now row[K, V]) {
	k := t.at(now.key)
	t.undo = append(t.undo, saved[K, V]{k, *k})
	if !k.dirty {
		t.dirty = append(t.dirty, k)
	}
	*k = now
}

func (t *rows[K, V]) accept() {
	clear(t.undo)
	t.undo = t.undo[:0]
}

func (t *rows[K, V]) revert() {
	t.hide()
	t.accept()
}

func (t *rows[K, V]) hide() {
	for i := len(t.undo) - 1; i >= 0; i-- {
		t.undo[i].swap()
	}
}

func (t *rows[K, V]) show() {
	for i := range t.undo {
		t.undo[i].swap()
		t.dirty = append(t.dirty, t.undo[i].row)
	}
}

func (s *saved[K, V]) swap() { *s.row, s.was = s.was, *s.row }

// learn tells what the store has under a key, unless that is known; nil: nothing.
func (t *rows[K, V]) learn(key K, val *V) {
	k := t.at(key)
	if k.state != unknown {
		return
	}
	if k.state = missing; val != nil {
		k.val, k.state = *val, present
	}
}

func (t *rows[K, V]) flush() error {
	clear(t.puts)
	t.puts, t.gone = t.puts[:0], t.gone[:0]
	for _, k := range t.dirty {
		switch {
		case !k.dirty:
			continue
		case k.state == present:
			t.puts = append(t.puts, &k.val)
		case t.remove != nil:
			t.gone = append(t.gone, k.key)
		}
		k.dirty = false
	}
	clear(t.dirty)
	t.dirty = t.dirty[:0]
	if len(t.gone) > 0 {
		if err := t.remove(t.gone); err != nil {
			return err
		}
	}
	if len(t.puts) == 0 {
		return nil
	}
	return t.write(t.puts)
}

func (t *rows[K, V]) settle() {
	if len(t.known) > t.keep {
		clear(t.known)
	}
}

func (t *rows[K, V]) forget() {
	t.known, t.dirty, t.undo = nil, nil, nil
}

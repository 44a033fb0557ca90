package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

func TestFaultyWithoutFaultsIsAStore(t *testing.T) {
	Run(t, func(testing.TB) chat.Store { return NewFaulty(NewMemory()) })
}

// A Run that is run again must not show.
func TestFaultyThatRunsTwiceIsAStore(t *testing.T) {
	Run(t, func(testing.TB) chat.Store {
		f := NewFaulty(NewMemory())
		f.Always(RunTwice)
		return f
	})
}

func newFaultyBox(t *testing.T) (*box, *Faulty) {
	f := NewFaulty(NewMemory())
	return newBox(t, func(testing.TB) chat.Store { return f }), f
}

func TestFaults(t *testing.T) {
	b, f := newFaultyBox(t)
	users := b.users(1)
	id := b.group(users[0])
	f.Next(NoFault, NotWritten, AnswerLost, RunTwice)
	runs := make([]int, 5)
	var outcomes []<-chan error
	for i := range runs {
		outcomes = append(outcomes, b.start(func(tx chat.Tx) error {
			runs[i]++
			return text(id, users[0], fmt.Sprint(i))(tx)
		}))
	}
	for i, c := range outcomes {
		err := wait(b, "done", c)
		lost := i == 1 || i == 2
		if lost != (err != nil) || lost && (chat.CodeOf(err) != chat.CodeUnavailable || !errors.Is(err, ErrFault)) {
			t.Errorf("update %d: %v", i, err)
		}
	}
	var there []string
	for _, m := range read(b, func(r chat.Reader) ([]chat.Message, error) { return r.Messages(id, 0, 100, 100, false) }) {
		there = append(there, m.Content)
	}
	b.same("messages", []string{"0", "2", "3", "4"}, there)
	b.same("runs", []int{1, 1, 1, 2, 1}, runs)
	CheckLog(t, f)
}

func TestHeldDonesComeInOrderOnceReleased(t *testing.T) {
	b, f := newFaultyBox(t)
	release := f.Hold()
	var outcomes []<-chan error
	for i := range 3 {
		outcomes = append(outcomes, b.start(func(tx chat.Tx) error {
			return tx.PutUser(chat.User{ID: chat.UserID(i + 1), Username: letter(i), Role: chat.RoleMember})
		}))
	}
	for { // until the last is committed, unheard
		users := read(b, func(r chat.Reader) ([]chat.User, error) { return r.Users("", 0, 10) })
		if len(users) == 3 {
			break
		}
	}
	for _, c := range outcomes {
		if len(c) > 0 {
			t.Error("a done came through")
		}
	}
	release()
	for _, c := range outcomes {
		if err := wait(b, "done", c); err != nil {
			t.Error(err)
		}
	}
}

func TestABrokenStoreRefusesUpdatesAndStillReads(t *testing.T) {
	b, f := newFaultyBox(t)
	b.users(1)
	broken := errors.New("fsync: input/output error")
	f.Break(broken)
	<-f.Failed()
	if f.Err() != broken {
		t.Errorf("Err is %v", f.Err())
	}
	if err := b.try(func(chat.Tx) error { return nil }); chat.CodeOf(err) != chat.CodeUnavailable || !errors.Is(err, broken) {
		t.Errorf("an update: %v", err)
	}
	if u := read(b, func(r chat.Reader) (chat.User, error) { return r.UserByName("a") }); u.ID != 1 {
		t.Errorf("user %+v", u)
	}
	f.FailViews(broken)
	if _, err := try(b, chat.Reader.LastStamp); err != broken {
		t.Errorf("a view: %v", err)
	}
}

package storetest

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grima-chat/grima/internal/chat"
)

// Run checks that a store keeps the contract of chat.Store, sentence by
// sentence. open makes an empty store; the suite closes it.
func Run(t *testing.T, open func(t testing.TB) chat.Store) {
	for _, c := range suite() {
		t.Run(c.name, func(t *testing.T) { c.test(newBox(t, open)) })
	}
}

// A clause is a sentence of the contract and its test.
type clause struct {
	name string
	test func(*box)
}

func suite() []clause {
	var all []clause
	for _, chapter := range [][]clause{rowClauses, keyClauses, updateClauses, doneClauses, viewClauses, listClauses, changeClauses, syncClauses, closeClauses} {
		all = append(all, chapter...)
	}
	return all
}

// box is a store in a test.
type box struct {
	testing.TB
	store     chat.Store
	closeOnce sync.Once
}

func newBox(t testing.TB, open func(t testing.TB) chat.Store) *box {
	b := &box{TB: t, store: open(t)}
	t.Cleanup(b.close)
	return b
}

func (b *box) close() {
	b.closeOnce.Do(func() {
		if err := b.store.Close(); err != nil {
			b.Errorf("Close: %v", err)
		}
	})
}

// patience is for what never comes; nothing that works waits for it.
const patience = time.Minute

// wait receives from c.
func wait[T any](b *box, what string, c <-chan T) T {
	b.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-c:
		return v
	case <-timer.C:
		b.Fatalf("%s: nothing came in %v", what, patience)
		panic("unreachable")
	}
}

// start begins an update; its outcome comes from the channel.
func (b *box) start(run write) <-chan error {
	outcome := make(chan error, 2) // with room for a second call of done, which some test looks for
	b.store.Update(chat.Op{Run: run}, func(err error) { outcome <- err })
	return outcome
}

// try updates and waits for the outcome.
func (b *box) try(run write) error {
	b.Helper()
	return wait(b, "an update's done", b.start(run))
}

// do updates and wants it to succeed.
func (b *box) do(runs ...write) {
	b.Helper()
	for _, run := range runs {
		if err := b.try(run); err != nil {
			b.Fatalf("update: %v", err)
		}
	}
}

// view runs fn on a snapshot.
func (b *box) view(fn func(chat.Reader) error) {
	b.Helper()
	if err := b.store.View(context.Background(), fn); err != nil {
		b.Fatalf("view: %v", err)
	}
}

// read gives what get finds in a new snapshot.
func read[T any](b *box, get func(chat.Reader) (T, error)) T {
	b.Helper()
	v, err := try(b, get)
	if err != nil {
		b.Fatalf("reading: %v", err)
	}
	return v
}

func try[T any](b *box, get func(chat.Reader) (T, error)) (v T, err error) {
	b.Helper()
	err = b.store.View(context.Background(), func(r chat.Reader) error {
		v, err = get(r)
		return err
	})
	return v, err
}

// same compares, taking an empty list for none.
func (b *box) same(what string, want, got any, opts ...cmp.Option) {
	b.Helper()
	if d := diff(want, got, opts...); d != "" {
		b.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func diff(want, got any, opts ...cmp.Option) string {
	if reflect.DeepEqual(want, got) { // nearly always, and much faster
		return ""
	}
	return cmp.Diff(want, got, append(opts, cmpopts.EquateEmpty())...)
}

// noStamps leaves out what the store sets.
var noStamps = cmp.Options{
	cmpopts.IgnoreFields(chat.Chat{}, "Stamp"),
	cmpopts.IgnoreFields(chat.Participant{}, "Stamp"),
	cmpopts.IgnoreFields(chat.ChangedChat{}, "Stamp"),
}

// someTime is n minutes into a day.
func someTime(n int) time.Time {
	return time.Date(2026, 9, 20, 10, n, 0, 120e6, time.UTC)
}

// users makes so many users, named a, b, c and on.
func (b *box) users(n int) []chat.UserID {
	b.Helper()
	ids := make([]chat.UserID, n)
	b.do(func(tx chat.Tx) error {
		for i := range ids {
			id, err := tx.NewUserID()
			if err != nil {
				return err
			}
			ids[i] = id
			if err := tx.PutUser(chat.User{ID: id, Username: letter(i), Role: chat.RoleMember, CreatedAt: someTime(0)}); err != nil {
				return err
			}
		}
		return nil
	})
	return ids
}

func letter(i int) string {
	if i < 26 {
		return string(rune('a' + i))
	}
	return fmt.Sprintf("%s%d", letter(i%26), i/26)
}

// group makes a group.
func (b *box) group(creator chat.UserID, others ...chat.UserID) chat.ChatID {
	b.Helper()
	c := newGroup(creator)
	b.do(create(&c, others...))
	return c.ID
}

func newGroup(creator chat.UserID) chat.Chat {
	return chat.Chat{Kind: chat.KindGroup, Title: "Port", History: chat.HistoryAll, CreatedBy: creator, CreatedAt: someTime(0)}
}

func text(id chat.ChatID, sender chat.UserID, content string) write {
	return send(chat.Message{Chat: id, Sender: sender, Content: content, CreatedAt: someTime(1)}, "")
}

func (b *box) chat(id chat.ChatID) chat.Chat {
	b.Helper()
	return read(b, func(r chat.Reader) (chat.Chat, error) { return r.Chat(id) })
}

func (b *box) lastStamp() int64 {
	b.Helper()
	return read(b, chat.Reader.LastStamp)
}

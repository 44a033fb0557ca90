//go:build grimabench

package main

import (
	"context"
	"errors"
	"math"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/sqlite"
	"github.com/grima-chat/grima/internal/store/storetest"
)

// openStore of a binary that is built for internal/cmd/bench alone: everything
// in the data directory is copied into memory, where it stays, so that what
// durable commits cost can be seen by leaving them out. No binary that people
// get is built like this.
func (f *dataFlags) openStore(ctx context.Context, cfg sqlite.Config) (chat.Store, error) {
	from, err := sqlite.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	to := storetest.NewMemory(storetest.WithEpoch(from.Epoch()))
	err = from.View(ctx, func(r chat.Reader) error {
		done := make(chan error, 1)
		to.Update(chat.Op{Run: func(tx chat.Tx) error { return copyRows(r, tx) }}, func(err error) { done <- err })
		return <-done
	})
	return to, errors.Join(err, from.Close())
}

func copyRows(r chat.Reader, tx chat.Tx) error {
	users, err := r.Users("", 0, math.MaxInt32)
	if err != nil {
		return err
	}
	known := map[chat.ChatID]bool{}
	for _, u := range users {
		if err := reserve(u.ID, tx.NewUserID); err != nil {
			return err
		}
		sessions, err := r.Sessions(u.ID)
		if err != nil {
			return err
		}
		memberships, err := r.Memberships(u.ID)
		if err != nil {
			return err
		}
		if err := tx.PutUser(u); err != nil {
			return err
		}
		for _, s := range sessions {
			if err := errors.Join(reserve(s.ID, tx.NewSessionID), tx.PutSession(s)); err != nil {
				return err
			}
		}
		for _, m := range memberships {
			if known[m.Chat] {
				continue
			}
			known[m.Chat] = true
			if err := copyChat(r, tx, m.Chat); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyChat(r chat.Reader, tx chat.Tx, id chat.ChatID) error {
	c, err := r.Chat(id)
	if err != nil {
		return err
	}
	people, err := r.Participants(id, 0, math.MaxInt32)
	if err != nil {
		return err
	}
	messages, err := r.Messages(id, 0, math.MaxInt64, math.MaxInt32, false)
	if err != nil {
		return err
	}
	if err := errors.Join(reserve(id, tx.NewChatID), tx.PutChat(c)); err != nil {
		return err
	}
	for _, p := range people {
		if err := tx.PutParticipant(p); err != nil {
			return err
		}
	}
	for _, m := range messages {
		if err := tx.PutMessage(m); err != nil {
			return err
		}
	}
	return nil
}

// reserve sees that id is not given out again.
func reserve[ID ~int64](id ID, next func() (ID, error)) error {
	for {
		if last, err := next(); err != nil || last >= id {
			return err
		}
	}
}

//go:build linux

package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/sqlite"
)

// crowd is the people and rooms of a data directory that a server is started
// on. It is written through the store, without passwords: thousands of them
// would take minutes to hash, and everybody comes back with a token anyway.
type crowd struct {
	people     int
	publishers int    // the first who only speaks
	room       string // the first room
	rooms      []string
	users      []string // ids, by person
	perRoom    int      // people of each room, in order; 0: all are in the first
	dir        string   // copied for every server
}

// roomOf is a group of the people from..to-1, with messages of size bytes.
type roomOf struct{ from, to, messages, size int }

// token is what a person logs in with; it is no secret, nor is anything else
// there.
func (w *crowd) token(i int) string { return fmt.Sprintf("gt_bench%035d", i) }

// roomWith is the room that person i is in.
func (w *crowd) roomWith(i int) string {
	if w.perRoom == 0 {
		return w.room
	}
	return w.rooms[i/w.perRoom]
}

// makeCrowd writes a data directory into dir.
func (b *bench) makeCrowd(dir string, people, publishers int, rooms []roomOf) (*crowd, error) {
	w := &crowd{people: people, publishers: publishers, dir: dir}
	store, err := sqlite.Open(b.ctx, sqlite.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	err = w.fill(b.ctx.Err, store, rooms)
	if err := errors.Join(err, store.Close()); err != nil {
		return nil, fmt.Errorf("writing people and rooms: %w", err)
	}
	if err := checkpoint(dir); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *crowd) fill(stopped func() error, store chat.Store, rooms []roomOf) error {
	update := func(run func(chat.Tx) error) error {
		done := make(chan error, 1)
		store.Update(chat.Op{Run: run}, func(err error) { done <- err })
		return errors.Join(<-done, stopped())
	}
	ids := make([]chat.UserID, w.people)
	const atOnce = 2000
	for from := 0; from < w.people; from += atOnce {
		if err := update(func(tx chat.Tx) error {
			for i := from; i < min(from+atOnce, w.people); i++ {
				if err := w.person(tx, ids, i); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	for _, id := range ids {
		w.users = append(w.users, api.FormatUser(id))
	}
	w.rooms = make([]string, len(rooms))
	for at := 0; at < len(rooms); {
		from, rows := at, 0
		for ; at < len(rooms) && rows < atOnce; at++ {
			rows += rooms[at].to - rooms[at].from
		}
		if err := update(func(tx chat.Tx) error {
			for i := from; i < at; i++ {
				if err := w.makeRoom(tx, ids, i, rooms[i]); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	w.room = w.rooms[0]
	return nil
}

func (w *crowd) person(tx chat.Tx, ids []chat.UserID, i int) (err error) {
	if ids[i], err = tx.NewUserID(); err != nil {
		return err
	}
	if err := tx.PutUser(chat.User{ID: ids[i], Username: fmt.Sprintf("person%d", i), Role: chat.RoleMember, CreatedAt: tx.Now()}); err != nil {
		return err
	}
	s := chat.Session{
		User: ids[i], TokenHash: sha256.Sum256([]byte(w.token(i))), Device: "bench",
		CreatedAt: tx.Now(), UsedAt: tx.Now(), ExpiresAt: tx.Now().Add(24 * time.Hour),
	}
	if s.ID, err = tx.NewSessionID(); err != nil {
		return err
	}
	return tx.PutSession(s)
}

func (w *crowd) makeRoom(tx chat.Tx, ids []chat.UserID, i int, room roomOf) error {
	id, err := tx.NewChatID()
	if err != nil {
		return err
	}
	w.rooms[i] = api.FormatChat(id)
	members := int64(room.to - room.from)
	c := chat.Chat{
		ID: id, Kind: chat.KindGroup, Title: fmt.Sprintf("room %d", i), History: chat.HistoryAll, CreatedBy: ids[room.from],
		CreatedAt: tx.Now(), LastSeq: members + int64(room.messages), UpdatedSeq: 1,
	}
	if err := tx.PutChat(c); err != nil {
		return err
	}
	for k := range members {
		role := chat.RoleMember
		if k == 0 {
			role = chat.RoleOwner
		}
		if err := tx.PutParticipant(chat.Participant{Chat: id, User: ids[room.from+int(k)], Role: role, JoinedSeq: k + 1, UpdatedSeq: k + 1}); err != nil {
			return err
		}
	}
	body := strings.Repeat("a heavy message ", room.size/16+1)[:room.size]
	for k := range int64(room.messages) {
		seq := members + 1 + k
		if err := tx.PutMessage(chat.Message{Chat: id, Seq: seq, UpdatedSeq: seq, Sender: ids[room.from], Content: body, CreatedAt: tx.Now()}); err != nil {
			return err
		}
	}
	return nil
}

// startOn starts a server on a copy of a crowd.
func (b *bench) startOn(k kind, w *crowd) (*target, error) {
	b.live.starts++
	dir := filepath.Join(b.tmp, fmt.Sprintf("run-%d", b.live.starts))
	if err := copyStore(dir, w.dir); err != nil {
		return nil, err
	}
	t, err := k.start(b.ctx, site{dir, w})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", k.name, err), removeAll(dir))
	}
	stop := t.stop
	t.stop = func() {
		stop()
		if err := removeAll(dir); err != nil {
			b.progress("%v", err)
		}
	}
	return t, nil
}

package apitest

import (
	"context"
	"slices"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/password"
	"github.com/grima-chat/grima/internal/store/storetest"
)

// CheapPasswords is for hashers of tests, which hash much and guard nothing.
var CheapPasswords = password.Params{Memory: 8, Time: 1}

// NewService makes the rules on a fresh store in memory, with registration by
// invite, and the code that makes the first owner. Nobody hears what is
// published. It has no limits on rates.
func NewService(t testing.TB) (svc *chat.Service, ownerInvite string) {
	t.Helper()
	store := storetest.NewMemory()
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	svc = chat.NewService(chat.Config{
		Store: store, Publisher: deaf{}, Passwords: password.New(CheapPasswords), NoLimits: true, Statuses: nobodyThere,
	})
	code, ok, err := svc.OwnerInvite(context.Background())
	if err != nil || !ok {
		t.Fatalf("the first owner's invite: %v, %v", ok, err)
	}
	return svc, code
}

// nobodyThere are the statuses of a server without live connections.
func nobodyThere(users []chat.UserID) []chat.Status {
	return slices.Repeat([]chat.Status{chat.Offline}, len(users))
}

// deaf is a Publisher for servers without live connections.
type deaf struct{}

func (deaf) Publish(chat.Event)                           {}
func (deaf) PublishPlace(chat.Participant, bool)          {}
func (deaf) PublishTyping(chat.ChatID, chat.UserID, bool) {}
func (deaf) PublishPresence(chat.UserID)                  {}
func (deaf) PublishUser(chat.UserID)                      {}
func (deaf) EndSessions([]chat.SessionID)                 {}

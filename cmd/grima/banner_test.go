package main

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/storetest"
)

// A stop asks the store whether the owner's link is of use still, if there is
// one, and does not wait for ever for a store that is away (it did).
func TestStopWithAStoreThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &away{Store: storetest.NewMemory()}
		store.gone.Store(true)
		svc, data := chat.NewService(chat.Config{Store: store}), t.TempDir()
		began := time.Now()
		if err := dropOwnerLink(t.Context(), svc, data); err != nil || time.Since(began) != 0 {
			t.Errorf("without a link: %v after %v", err, time.Since(began))
		}
		link := filepath.Join(data, ownerLinkFile)
		if err := writeOwn(link, "a link"); err != nil {
			t.Fatal(err)
		}
		if err := dropOwnerLink(t.Context(), svc, data); chat.CodeOf(err) != chat.CodeTimeout || time.Since(began) != lookForUsers {
			t.Errorf("with one: %v after %v", err, time.Since(began))
		}
		if _, err := os.Stat(link); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

package main

import (
	"testing"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/postgres"
	"github.com/grima-chat/grima/internal/store/sqlite"
)

// A store whose Stats had another type would have no metrics, and nobody were told.
func TestStoresHaveMetrics(t *testing.T) {
	for _, store := range []chat.Store{(*sqlite.Store)(nil), (*postgres.Store)(nil)} {
		if ofStore(store) == nil {
			t.Errorf("nothing is counted of a %T", store)
		}
	}
}

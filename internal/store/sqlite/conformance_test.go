package sqlite

import (
	"testing"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t testing.TB) chat.Store { return open(t, t.TempDir()) })
}

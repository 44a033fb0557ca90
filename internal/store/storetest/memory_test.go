package storetest

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/grima-chat/grima/internal/chat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openMemory(testing.TB) chat.Store { return NewMemory() }

func TestMemory(t *testing.T) { Run(t, openMemory) }

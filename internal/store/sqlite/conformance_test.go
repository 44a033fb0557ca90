package sqlite

import (
	"testing"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"as it is":                func(*Config) {},
		"looking up what changed": func(c *Config) { c.alwaysLookUp = true },
		"forgetting soon":         func(c *Config) { c.alwaysLookUp, c.recent = true, 3 },
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t testing.TB) chat.Store { return open(t, t.TempDir(), change) })
		})
	}
}

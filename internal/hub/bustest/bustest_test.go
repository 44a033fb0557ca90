package bustest_test

import (
	"testing"

	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/hub/bustest"
	"github.com/grima-chat/grima/internal/hub/fakebus"
)

func TestNet(t *testing.T) {
	for name, faults := range map[string]fakebus.Faults{
		"well": {}, "losing": {Lose: 50}, "doubling": {Double: 50}, "out of order": {Hold: 50}, "all of it": {Lose: 20, Double: 20, Hold: 30},
	} {
		t.Run(name, func(t *testing.T) {
			bustest.Run(t, func(*testing.T) func() hub.Bus {
				net := fakebus.NewNet(1, faults)
				return func() hub.Bus { return net.Join() }
			})
		})
	}
}

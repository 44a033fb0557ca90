package api

import (
	"regexp"
	"strings"
	"testing"

	"github.com/grima-chat/grima/protocol"
)

// Every operation that package protocol names is in the table, once.
func TestTableIsComplete(t *testing.T) {
	named := constants(t, "../../protocol/ops.go", "Op")
	for name, value := range named {
		if _, ok := Lookup(strings.Trim(value, `"`)); !ok {
			t.Errorf("%s (%s) is not in the table", name, value)
		}
	}
	if len(named) != len(table) || len(byName) != len(table) {
		t.Errorf("%d operations are named, the table has %d rows and %d names", len(named), len(table), len(byName))
	}
}

// Each row hangs together: its routes name members of its params, no two rows
// share one, and every data and broadcast operation has one, save what is about
// the connection.
func TestRoutes(t *testing.T) {
	wildcard := regexp.MustCompile(`\{([a-z_]+)\}`)
	seen := map[string]string{}
	for _, op := range Operations() {
		if len(op.Routes) == 0 && op.Name != protocol.OpSessionUpdate && op.Name != protocol.OpPresenceWatch {
			t.Errorf("%s has no route", op.Name)
		}
		if op.Summary == "" || op.Frame.Response() == "" {
			t.Errorf("%s: summary %q, frame %q", op.Name, op.Summary, op.Frame)
		}
		members := map[string]bool{}
		for i := range op.Params.NumField() {
			name, _, _ := strings.Cut(op.Params.Field(i).Tag.Get("json"), ",")
			members[name] = true
		}
		for _, r := range op.Routes {
			if other := seen[r]; other != "" {
				t.Errorf("%s is %s and %s", r, other, op.Name)
			}
			seen[r] = op.Name
			for _, m := range wildcard.FindAllStringSubmatch(r, -1) {
				if !members[m[1]] {
					t.Errorf("%s: %s has no %s", r, op.Params, m[1])
				}
			}
		}
	}
}

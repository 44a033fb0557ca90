package client

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/protocol"
)

// Every operation of the table has a call of its name with its types, and goes
// in its frame.
func TestEveryOperationHasACall(t *testing.T) {
	own := []string{protocol.OpSessionStart, protocol.OpSessionUpdate, protocol.OpSync, protocol.OpTyping}
	empty := reflect.TypeFor[protocol.Empty]()
	for _, op := range api.Operations() {
		if got := frameOf(op.Name); got != op.Frame {
			t.Errorf("%s goes in a %s, not a %s", op.Name, op.Frame, got)
		}
		if slices.Contains(own, op.Name) {
			continue
		}
		var name string
		for part := range strings.SplitSeq(op.Name, ".") {
			name += strings.ToUpper(part[:1]) + part[1:]
		}
		m, ok := reflect.TypeFor[*Client]().MethodByName(name)
		if !ok {
			t.Errorf("there is no %s for %s", name, op.Name)
			continue
		}
		params, result := empty, empty
		if m.Type.NumIn() == 3 {
			params = m.Type.In(2)
		}
		if m.Type.NumOut() == 2 {
			result = m.Type.Out(0)
		}
		if params != op.Params || result != op.Result {
			t.Errorf("%s takes %v and gives %v; the operation takes %v and gives %v", name, params, result, op.Params, op.Result)
		}
	}
}

func TestNewID(t *testing.T) {
	seen := map[string]bool{}
	last := ""
	for range 1000 {
		id := NewID()
		if len(id) != 36 || id[14] != '7' || !strings.ContainsRune("89ab", rune(id[19])) || seen[id] {
			t.Fatalf("%q", id)
		}
		if id[:13] < last {
			t.Fatalf("%q after %q", id, last)
		}
		seen[id], last = true, id[:13]
	}
}

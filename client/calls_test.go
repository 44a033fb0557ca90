package client

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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

// What may be asked twice without a person's knowing is what the protocol says.
func TestRepeatable(t *testing.T) {
	// docs/protocol.md#idempotency names these; the keyed ones depend on their key.
	never := []string{
		protocol.OpSessionStart, protocol.OpTokensCreate, protocol.OpInvitesCreate, protocol.OpUsersCreate, protocol.OpParticipantsRemove,
		protocol.OpChatsDelete, protocol.OpSessionsRevoke, protocol.OpInvitesRevoke, protocol.OpSessionEnd, protocol.OpUsersUpdate,
		protocol.OpChatsCreate, protocol.OpMessageSend,
		protocol.OpSessionUpdate, protocol.OpTyping, protocol.OpPresenceWatch, // of a connection
	}
	var got []string
	for _, op := range api.Operations() {
		if !repeatable(op.Name, []byte(`{}`)) {
			got = append(got, op.Name)
		}
	}
	slices.Sort(never)
	slices.Sort(got)
	if diff := cmp.Diff(never, got); diff != "" {
		t.Errorf("not repeated (-want +got):\n%s", diff)
	}
	for params, want := range map[string]bool{
		`{"kind":"group","title":"x"}`:                        false,
		`{"kind":"group","title":"x","client_chat_id":"k"}`:   true,
		`{"kind":"private","user_id":"u_1"}`:                  true,
		`{"kind":"private","user_id":"u_1","later":{"a":[]}}`: true,
		`{`: false,
	} {
		if repeatable(protocol.OpChatsCreate, []byte(params)) != want {
			t.Errorf("%s: not %v", params, want)
		}
	}
	if !repeatable(protocol.OpMessageSend, []byte(`{"client_msg_id":"k"}`)) {
		t.Error("a send with a key is not repeated")
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

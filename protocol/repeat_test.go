package protocol_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/protocol"
)

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
		if !protocol.Repeatable(op.Name, []byte(`{}`)) {
			got = append(got, op.Name)
		}
	}
	slices.Sort(never)
	slices.Sort(got)
	if diff := cmp.Diff(never, got); diff != "" {
		t.Errorf("not repeated (-want +got):\n%s", diff)
	}
	// sdk/ts/test/operations.test.ts has the same of that SDK.
	for _, c := range []struct {
		op, params string
		want       bool
	}{
		{protocol.OpChatsCreate, `{"kind":"group","title":"x"}`, false},
		{protocol.OpChatsCreate, `{"kind":"group","title":"x","client_chat_id":"k"}`, true},
		{protocol.OpChatsCreate, `{"kind":"group","title":"x","client_chat_id":""}`, false},
		{protocol.OpChatsCreate, `{"kind":"group","title":"x","client_msg_id":"k"}`, false},
		{protocol.OpChatsCreate, `{"kind":"private","user_id":"u_1"}`, true},
		{protocol.OpChatsCreate, `{"kind":"private","user_id":"u_1","later":{"a":[]}}`, true},
		{protocol.OpChatsCreate, `{`, false},
		{protocol.OpChatsCreate, `null`, false},
		{protocol.OpMessageSend, `{"chat_id":"c_1","content":"x","client_msg_id":"k"}`, true},
		{protocol.OpMessageSend, `{"chat_id":"c_1","content":"x","client_msg_id":""}`, false},
		{protocol.OpMessageSend, `{"chat_id":"c_1","content":"x","client_chat_id":"k"}`, false},
		{protocol.OpMessageSend, `{"chat_id":"c_1","content":"x","kind":"private"}`, false},
		{protocol.OpMessageEdit, `{`, true}, // whatever it is, twice is harmless
		{"later.op", `{"client_msg_id":"k"}`, false},
	} {
		if protocol.Repeatable(c.op, []byte(c.params)) != c.want {
			t.Errorf("%s of %s: not %v", c.op, c.params, c.want)
		}
	}
}

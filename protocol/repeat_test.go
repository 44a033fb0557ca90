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
	for params, want := range map[string]bool{
		`{"kind":"group","title":"x"}`:                        false,
		`{"kind":"group","title":"x","client_chat_id":"k"}`:   true,
		`{"kind":"private","user_id":"u_1"}`:                  true,
		`{"kind":"private","user_id":"u_1","later":{"a":[]}}`: true,
		`{`: false,
	} {
		if protocol.Repeatable(protocol.OpChatsCreate, []byte(params)) != want {
			t.Errorf("%s: not %v", params, want)
		}
	}
	if !protocol.Repeatable(protocol.OpMessageSend, []byte(`{"client_msg_id":"k"}`)) {
		t.Error("a send with a key is not repeated")
	}
}

package protocol

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// repeats is the one table of the operations that a client may ask again by
// itself, on another connection, when the answer was lost: with the member of the
// params that has the key which makes that harmless, or "" where it always is.
var repeats = map[string]string{
	OpSync: "", OpChangesList: "", OpChatsList: "", OpChatsBrowse: "", OpChatsGet: "", OpParticipantsList: "",
	OpMessagesList: "", OpMessagesGet: "", OpUsersMe: "", OpUsersGet: "", OpUsersList: "",
	OpSessionsList: "", OpInvitesList: "", OpPresenceGet: "",

	OpChatsCreate: "client_chat_id", OpChatsUpdate: "",
	OpParticipantsAdd: "", OpParticipantsUpdate: "", OpReadSet: "",
	OpMessageSend: "client_msg_id", OpMessageEdit: "", OpMessageDelete: "",
}

// Repeats says whether a client may ask an operation again when the answer was
// lost (docs/protocol.md#idempotency). With a key, which is a member of the params,
// it may only if that is there; a private chat needs none. Of what it does not know
// it says no.
func Repeats(op string) (key string, ok bool) {
	key, ok = repeats[op]
	return key, ok
}

// Repeatable says it of a request. What is no JSON is not repeated.
func Repeatable(op string, params jsontext.Value) bool {
	key, ok := repeats[op]
	if !ok || key == "" {
		return ok
	}
	var p map[string]any
	if json.Unmarshal(params, &p) != nil {
		return false
	}
	if op == OpChatsCreate && p["kind"] == "private" {
		return true // there is one per pair
	}
	k, _ := p[key].(string)
	return k != ""
}

package api

import "github.com/grima-chat/grima/protocol"

// Role says what of the protocol a node serves (docs/protocol.md#roles).
type Role string

const (
	// RoleAll is everything.
	RoleAll Role = "all"
	// RoleData is HTTP and DataRequests: nobody listens here, nobody speaks.
	RoleData Role = "data"
	// RoleStream is live connections and what is spoken into chats. Of data it
	// serves what a live connection needs to be live.
	RoleStream Role = "stream"
)

// Roles says what this node serves, and where the rest is: URLs that clients
// reach them by, empty where nobody said. The zero Roles is RoleAll.
type Roles struct {
	Role               Role
	DataURL, StreamURL string
}

// misdirected refuses what another node serves.
func (r Roles) misdirected(c Caller, op *Operation) *protocol.Error {
	switch {
	case c.Actor.Operator || op.Frame == session:
		return nil
	case r.Role == RoleData && (op.Frame == broadcast || op.Name == protocol.OpPresenceWatch):
		return r.NotLive()
	case r.Role == RoleStream && op.Frame == data && !(op.Live && c.Live):
		return elsewhere("this node serves live connections; "+op.Name+" is for one that serves data", r.DataURL)
	}
	return nil
}

// NotLive refuses a live connection where there is none; nil where there is.
func (r Roles) NotLive() *protocol.Error {
	if r.Role != RoleData {
		return nil
	}
	return elsewhere("this node serves data; what is live is served by another", r.StreamURL)
}

func elsewhere(message, url string) *protocol.Error {
	e := protocol.NewError(protocol.CodeMisdirected, message)
	e.URL = url
	return e
}

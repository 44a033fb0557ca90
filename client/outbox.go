package client

import "time"

// Draft is a message to send.
type Draft struct {
	// ID is the message's client_msg_id: chosen once, with the draft. Empty:
	// the client makes one (see [NewID]).
	ID         string   `json:"client_msg_id"`
	ChatID     string   `json:"chat_id"`
	Content    string   `json:"content"`
	ReplyTo    int64    `json:"reply_to,omitzero"` // 0: to nothing
	Mentions   []string `json:"mentions,omitzero"`
	MentionAll bool     `json:"mention_all,omitzero"`
}

// Progress is how far a draft has got.
type Progress string

// The states of an item. Pending leads to Sent or Failed, and [Client.Retry]
// from Failed to Pending.
const (
	Pending   Progress = "pending"   // in the outbox; sent again until it is answered
	Sent      Progress = "sent"      // on the server's disk, as Seq; no longer in the outbox
	Failed    Progress = "failed"    // refused for good; stays in the outbox until Retry or Discard
	Discarded Progress = "discarded" // taken out by Discard. Whether it was sent is unknown if it had been tried
)

// Item is a draft in the outbox.
type Item struct {
	Draft
	Progress Progress  `json:"progress"`
	QueuedAt time.Time `json:"queued_at"`
	Tries    int       `json:"tries,omitzero"`
	Seq      int64     `json:"seq,omitzero"`        // Sent
	SentAt   string    `json:"created_at,omitzero"` // Sent: the server's time
	// Duplicate: it was there from an earlier try (Sent).
	Duplicate bool   `json:"duplicate,omitzero"`
	Err       error  `json:"-"`              // Failed, or why the last try of a Pending one came to nothing: a *protocol.Error
	Error     string `json:"error,omitzero"` // the same, for a person and for a Store
}

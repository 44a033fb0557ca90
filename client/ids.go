package client

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"
)

// NewID makes a client_msg_id or client_chat_id: a UUIDv7 (RFC 9562), which
// sorts by the time it was made and cannot be guessed.
func NewID() string { return newID(time.Now()) }

func newID(now time.Time) string {
	var u [16]byte
	rand.Read(u[:]) // never fails
	ms := now.UnixMilli()
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	u[6] = u[6]&0x0f | 0x70
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// prefix is the part of an operation's name before its point.
func prefix(op string) string {
	name, _, _ := strings.Cut(op, ".")
	return name
}

package api

import (
	"context"
	"errors"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// internalMessage is all that a user reads of a fault of ours.
const internalMessage = "something went wrong on the server; it is in its log"

// codes is the one mapping of the domain's errors to the wire's.
var codes = map[chat.Code]protocol.Code{
	chat.CodeContentTooLarge:     protocol.CodeContentTooLarge,
	chat.CodeInvalidRequest:      protocol.CodeInvalidRequest,
	chat.CodeUnauthenticated:     protocol.CodeUnauthenticated,
	chat.CodeInvalidCredentials:  protocol.CodeInvalidCredentials,
	chat.CodeTokenExpired:        protocol.CodeTokenExpired,
	chat.CodePermissionDenied:    protocol.CodePermissionDenied,
	chat.CodeNotFound:            protocol.CodeNotFound,
	chat.CodeConflict:            protocol.CodeConflict,
	chat.CodeIdempotencyConflict: protocol.CodeIdempotencyConflict,
	chat.CodeCursorInvalid:       protocol.CodeCursorInvalid,
	chat.CodeRateLimited:         protocol.CodeRateLimited,
	chat.CodeInternal:            protocol.CodeInternal,
	chat.CodeUnavailable:         protocol.CodeUnavailable,
	chat.CodeTimeout:             protocol.CodeTimeout,
}

// ToError is the wire's form of err (docs/protocol.md#errors). What is neither
// the domain's error nor the wire's is internal, and its text is for the log
// only.
func ToError(err error) *protocol.Error {
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*chat.Error](err); ok {
		code, known := codes[e.Code]
		if !known || code == protocol.CodeInternal {
			return protocol.NewError(protocol.CodeInternal, internalMessage)
		}
		out := protocol.NewError(code, e.Message)
		if e.RetryAfter > 0 {
			out.RetryAfterMS = int64((e.RetryAfter + time.Millisecond - 1) / time.Millisecond)
		}
		return out
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return protocol.NewError(protocol.CodeTimeout, "it took too long; a write may or may not have happened")
	}
	return protocol.NewError(protocol.CodeInternal, internalMessage)
}

// Error is ToError, with a line in the log for what the answer hides. A store
// that cannot write says so itself, once, so unavailable is for debugging here.
func (a *API) Error(op string, err error) *protocol.Error {
	out := ToError(err)
	switch out.Code {
	case protocol.CodeInternal:
		a.log().Error("an operation failed", "op", op, "error", err)
	case protocol.CodeUnavailable, protocol.CodeTimeout:
		a.log().Debug("an operation could not be done", "op", op, "error", err)
	}
	return out
}

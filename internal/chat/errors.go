package chat

import (
	"errors"
	"fmt"
	"time"
)

// Code classifies an Error. The values are the wire's error codes
// (docs/protocol.md#errors); each edge maps them in one place.
type Code string

const (
	CodeContentTooLarge     Code = "content_too_large"
	CodeInvalidRequest      Code = "invalid_request"
	CodeUnauthenticated     Code = "unauthenticated"
	CodeInvalidCredentials  Code = "invalid_credentials"
	CodeTokenExpired        Code = "token_expired"
	CodePermissionDenied    Code = "permission_denied"
	CodeNotFound            Code = "not_found"
	CodeConflict            Code = "conflict"
	CodeIdempotencyConflict Code = "idempotency_conflict"
	CodeCursorInvalid       Code = "cursor_invalid"
	CodeRateLimited         Code = "rate_limited"
	CodeInternal            Code = "internal"
	CodeUnavailable         Code = "unavailable"
	CodeTimeout             Code = "timeout"
)

// Error is the domain's one error: a code for programs, a sentence that helps
// a person, and the cause for the log (never shown).
type Error struct {
	Code       Code
	Message    string
	RetryAfter time.Duration // with CodeRateLimited
	Cause      error
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.Cause)
	}
	return string(e.Code) + ": " + e.Message
}

func (e *Error) Unwrap() error { return e.Cause }

// Errorf makes an Error without a cause. What users read has no business with
// causes: give those to [Unavailable] and [Internal].
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Unavailable is an error of the store's: nothing was acknowledged, and the
// same request may succeed later. On a send it means "outcome unknown".
func Unavailable(message string, cause error) *Error {
	return &Error{Code: CodeUnavailable, Message: message, Cause: cause}
}

// Internal is a fault of ours: the message is for nobody in particular, the
// cause for the log.
func Internal(message string, cause error) *Error {
	return &Error{Code: CodeInternal, Message: message, Cause: cause}
}

// CodeOf is err's code: that of the Error in its chain, else CodeInternal.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// ErrNotFound is what a Reader returns for a row that is not there. The service
// turns it into the not_found of whatever was asked for.
var ErrNotFound = errors.New("no such row")

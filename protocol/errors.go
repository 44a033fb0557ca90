package protocol

// Code is a machine-readable error code (docs/protocol.md#errors).
type Code string

// The error codes.
const (
	CodeParseError          Code = "parse_error"
	CodeInvalidUTF8         Code = "invalid_utf8"
	CodeFrameTooLarge       Code = "frame_too_large"
	CodeContentTooLarge     Code = "content_too_large"
	CodeInvalidRequest      Code = "invalid_request"
	CodeUnknownType         Code = "unknown_type"
	CodeUnknownOp           Code = "unknown_op"
	CodeUnsupportedVersion  Code = "unsupported_version"
	CodeUnauthenticated     Code = "unauthenticated"
	CodeInvalidCredentials  Code = "invalid_credentials"
	CodeTokenExpired        Code = "token_expired"
	CodePermissionDenied    Code = "permission_denied"
	CodeNotFound            Code = "not_found"
	CodeConflict            Code = "conflict"
	CodeIdempotencyConflict Code = "idempotency_conflict"
	CodeCursorInvalid       Code = "cursor_invalid"
	CodeMisdirected         Code = "misdirected"
	CodeRateLimited         Code = "rate_limited"
	CodeInternal            Code = "internal"
	CodeUnavailable         Code = "unavailable"
	CodeTimeout             Code = "timeout"
)

// codes is the one table of error codes: the HTTP status each maps to and
// whether the same request may succeed later.
var codes = []CodeInfo{
	{CodeParseError, 400, false},
	{CodeInvalidUTF8, 400, false},
	{CodeFrameTooLarge, 413, false},
	{CodeContentTooLarge, 413, false},
	{CodeInvalidRequest, 400, false},
	{CodeUnknownType, 400, false},
	{CodeUnknownOp, 404, false},
	{CodeUnsupportedVersion, 400, false},
	{CodeUnauthenticated, 401, false},
	{CodeInvalidCredentials, 401, false},
	{CodeTokenExpired, 401, false},
	{CodePermissionDenied, 403, false},
	{CodeNotFound, 404, false},
	{CodeConflict, 409, false},
	{CodeIdempotencyConflict, 409, false},
	{CodeCursorInvalid, 410, false},
	{CodeMisdirected, 421, false},
	{CodeRateLimited, 429, true},
	{CodeInternal, 500, true},
	{CodeUnavailable, 503, true},
	{CodeTimeout, 504, true},
}

// CodeInfo is a row of the table of error codes.
type CodeInfo struct {
	Code      Code
	Status    int  // HTTP status
	Retryable bool // on a send it means "outcome unknown": retry with the same client_msg_id
}

// Codes lists every error code, in the order of docs/protocol.md#errors.
func Codes() []CodeInfo { return append([]CodeInfo(nil), codes...) }

// Info is c's row of the table; an unknown code counts as internal.
func (c Code) Info() CodeInfo {
	for _, i := range codes {
		if i.Code == c {
			return i
		}
	}
	return CodeInfo{c, 500, true}
}

// Error is the error object of an answer. Message is a sentence for a person
// and may change; programs look at Code.
type Error struct {
	Code         Code   `json:"code"`
	Message      string `json:"message"`
	Retryable    bool   `json:"retryable"`
	RetryAfterMS int64  `json:"retry_after_ms,omitzero"`
	URL          string `json:"url,omitzero"` // with CodeMisdirected: where it is served
}

// Error implements error.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// NewError makes an Error whose Retryable is that of its code.
func NewError(code Code, message string) *Error {
	return &Error{Code: code, Message: message, Retryable: code.Info().Retryable}
}

// GoodbyeCode says why a server closes a connection (docs/protocol.md#goodbye).
type GoodbyeCode string

// The goodbye codes. [GoodbyeCode.Reconnect] says which of them invite the
// client back.
const (
	GoodbyeShutdown           GoodbyeCode = "shutdown"
	GoodbyeSlowConsumer       GoodbyeCode = "slow_consumer"
	GoodbyeIdleTimeout        GoodbyeCode = "idle_timeout"
	GoodbyeAuthTimeout        GoodbyeCode = "auth_timeout"
	GoodbyeInternal           GoodbyeCode = "internal"
	GoodbyeSessionRevoked     GoodbyeCode = "session_revoked"
	GoodbyeProtocolViolation  GoodbyeCode = "protocol_violation"
	GoodbyeTooManyConnections GoodbyeCode = "too_many_connections"
	GoodbyeUnsupportedVersion GoodbyeCode = "unsupported_version"
)

// goodbyes is the one table of goodbye codes, in the order of
// docs/protocol.md#goodbye: the code that a WebSocket is closed with
// (docs/protocol.md#websocket). Below 4500 the client is invited back.
var goodbyes = []struct {
	code      GoodbyeCode
	closeCode int
}{
	{GoodbyeShutdown, 4000},
	{GoodbyeSlowConsumer, 4001},
	{GoodbyeIdleTimeout, 4002},
	{GoodbyeAuthTimeout, 4003},
	{GoodbyeInternal, 4004},
	{GoodbyeSessionRevoked, 4500},
	{GoodbyeProtocolViolation, 4501},
	{GoodbyeTooManyConnections, 4502},
	{GoodbyeUnsupportedVersion, 4503},
}

// Goodbyes lists every goodbye code, in the order of docs/protocol.md#goodbye.
func Goodbyes() []GoodbyeCode {
	codes := make([]GoodbyeCode, len(goodbyes))
	for i, g := range goodbyes {
		codes[i] = g.code
	}
	return codes
}

// Reconnect reports whether a client should come back after c.
func (c GoodbyeCode) Reconnect() bool { return c.CloseCode() < 4500 }

// CloseCode is what a WebSocket is closed with after c: 4000 to 4499 when the
// client should come back, 4500 to 4999 when not. An unknown code has 4999.
func (c GoodbyeCode) CloseCode() int {
	for _, g := range goodbyes {
		if g.code == c {
			return g.closeCode
		}
	}
	return 4999
}

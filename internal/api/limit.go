package api

import (
	"bytes"
	"fmt"
	"reflect"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// A page has 1 to MaxPage rows (docs/protocol.md#paging), whatever it lists, so
// the limit is looked at in one place for every operation that has one.

// limitOf is the index of t's limit, -1 when it has none.
func limitOf(t reflect.Type) int {
	if f, ok := t.FieldByName("Limit"); ok {
		return f.Index[0]
	}
	return -1
}

// checkLimit refuses a limit out of bounds in params, decoded from raw, and puts
// the default in for an absent one.
func checkLimit(params any, field int, raw jsontext.Value) *protocol.Error {
	limit := reflect.ValueOf(params).Elem().Field(field)
	switch n := limit.Int(); {
	case n == 0 && !present(raw, "limit"):
		limit.SetInt(protocol.DefaultPage)
	case n < 1 || n > protocol.MaxPage:
		return protocol.NewError(protocol.CodeInvalidRequest, fmt.Sprintf("limit must be 1 to %d", protocol.MaxPage))
	}
	return nil
}

// checkZeros judges a 0 or "" that a client wrote where only an absent member
// means "as usual" (docs/protocol.md#patch). Decoded, the two are alike.
func checkZeros(params any, raw jsontext.Value) *protocol.Error {
	written := func(zero bool, name string) bool { return zero && present(raw, name) }
	switch p := params.(type) {
	case *protocol.UsersUpdateParams:
		if written(p.UserID == "", "user_id") { // it is not oneself either
			return protocol.NewError(protocol.CodeNotFound, "no such user")
		}
	case *protocol.ChatsCreateParams:
		if p.Kind == string(chat.KindPrivate) && written(p.UserID == "", "user_id") {
			return protocol.NewError(protocol.CodeNotFound, "no such user")
		}
	case *protocol.TokensCreateParams:
		if written(p.TTLMS == 0, "ttl_ms") {
			return protocol.NewError(protocol.CodeInvalidRequest, "ttl_ms must be at least 1")
		}
	case *protocol.InvitesCreateParams:
		if written(p.MaxUses == 0, "max_uses") {
			return protocol.NewError(protocol.CodeInvalidRequest, "max_uses must be at least 1")
		}
		if written(p.TTLMS == 0, "ttl_ms") {
			return protocol.NewError(protocol.CodeInvalidRequest, "ttl_ms must be at least 1")
		}
	case *protocol.ChatsListParams:
		if written(p.Cursor == "", "cursor") {
			return errCursor
		}
	case *protocol.ChatsBrowseParams:
		if written(p.Cursor == "", "cursor") {
			return errCursor
		}
	case *protocol.UsersListParams:
		if written(p.Cursor == "", "cursor") {
			return errCursor
		}
	}
	return nil
}

// present reports whether raw, a valid JSON object or nothing, has the member.
func present(raw jsontext.Value, name string) bool {
	if len(raw) == 0 {
		return false
	}
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	if _, err := d.ReadToken(); err != nil {
		return false
	}
	for d.PeekKind() == '"' {
		t, err := d.ReadToken()
		if err != nil {
			return false
		}
		if t.String() == name {
			return true
		}
		if err := d.SkipValue(); err != nil {
			return false
		}
	}
	return false
}

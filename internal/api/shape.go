package api

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/protocol"
)

// shape is what every params struct is checked for in one place: members that
// must be there (those without omitzero), and the size of a page.
type shape struct {
	required []member
	limit    int // index of the limit, -1: there is none
}

type member struct {
	name  string
	index int
}

func shapeOf(t reflect.Type) shape {
	s := shape{limit: -1}
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if !strings.Contains(options, "omitzero") {
			s.required = append(s.required, member{name, i})
		}
		if name == "limit" {
			s.limit = i
		}
	}
	return s
}

// check says what is missing in params, decoded from raw, and puts the default
// in for an absent limit.
func (s shape) check(params any, raw jsontext.Value) *protocol.Error {
	v := reflect.ValueOf(params).Elem()
	for _, m := range s.required {
		// Only a zero value can be an absent one.
		if v.Field(m.index).IsZero() && !present(raw, m.name) {
			return protocol.NewError(protocol.CodeInvalidRequest, m.name+" is missing")
		}
	}
	if s.limit < 0 {
		return nil
	}
	limit := v.Field(s.limit)
	switch n := limit.Int(); {
	case n == 0 && !present(raw, "limit"):
		limit.SetInt(protocol.DefaultPage)
	case n < 1 || n > protocol.MaxPage:
		return protocol.NewError(protocol.CodeInvalidRequest, fmt.Sprintf("limit must be 1 to %d", protocol.MaxPage))
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

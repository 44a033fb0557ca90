package protocol

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Opt is a member of which absent, null and a value mean three things: keep,
// clear, set (docs/protocol.md#patch). The zero Opt is absent and is not
// encoded under omitzero.
type Opt[T any] struct {
	Set   bool // it was there, as null or as a value
	Null  bool // it was null
	Value T
}

// Some is an Opt that sets v.
func Some[T any](v T) Opt[T] { return Opt[T]{Set: true, Value: v} }

// IsZero reports whether the member is absent.
func (o Opt[T]) IsZero() bool { return !o.Set }

// MarshalJSONTo implements json.MarshalerTo.
func (o Opt[T]) MarshalJSONTo(e *jsontext.Encoder) error {
	if !o.Set || o.Null {
		return e.WriteToken(jsontext.Null)
	}
	return json.MarshalEncode(e, &o.Value)
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (o *Opt[T]) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	*o = Opt[T]{Set: true}
	if d.PeekKind() == 'n' {
		o.Null = true
		return d.SkipValue()
	}
	return json.UnmarshalDecode(d, &o.Value)
}

func (o *Opt[T]) setNull() { *o = Opt[T]{Set: true, Null: true} }

func (o *Opt[T]) setValue() any {
	*o = Opt[T]{Set: true}
	return &o.Value
}

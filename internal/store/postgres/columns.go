package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/grima-chat/grima/internal/store/batch"
)

// rowsOf gathers rows column by column, for a statement that takes them apart
// with unnest: one statement and one parameter per column, however many rows. It
// is a batch.Binder.
type rowsOf struct {
	cols []any // *[]pgtype.Int8 and so on, in the order of the first row's binding
	at   int   // the next column of the row being bound
}

var _ batch.Binder = (*rowsOf)(nil)

// gather binds every row.
func gather[V any](rows []*V, bind func(batch.Binder, *V)) []any {
	b := &rowsOf{}
	for _, v := range rows {
		b.at = 0
		bind(b, v)
	}
	args := make([]any, len(b.cols))
	for i, c := range b.cols {
		switch c := c.(type) {
		case *[]pgtype.Int8:
			args[i] = *c
		case *[]pgtype.Text:
			args[i] = *c
		case *[]bool:
			args[i] = *c
		case *[][]byte:
			args[i] = *c
		}
	}
	return args
}

func add[T any](b *rowsOf, v T) {
	if b.at == len(b.cols) {
		b.cols = append(b.cols, &[]T{})
	}
	list := b.cols[b.at].(*[]T)
	*list = append(*list, v)
	b.at++
}

func (b *rowsOf) Int(v int64)         { add(b, pgtype.Int8{Int64: v, Valid: true}) }
func (b *rowsOf) IntOrNull(v int64)   { add(b, pgtype.Int8{Int64: v, Valid: v != 0}) }
func (b *rowsOf) Bool(v bool)         { add(b, v) }
func (b *rowsOf) Text(v string)       { add(b, pgtype.Text{String: escape(v), Valid: true}) }
func (b *rowsOf) TextOrNull(v string) { add(b, pgtype.Text{String: escape(v), Valid: v != ""}) }
func (b *rowsOf) Bytes(v []byte)      { add(b, append([]byte{}, v...)) }
func (b *rowsOf) Time(v time.Time)    { b.Int(v.UnixMilli()) }

func (b *rowsOf) TimeOrNull(v time.Time) {
	add(b, pgtype.Int8{Int64: v.UnixMilli(), Valid: !v.IsZero()})
}

func (b *rowsOf) ClientMsgID(v string) { add(b, clientMsgID(v)) }

// clientMsgID is the key of a client_msg_id in the table sent.
func clientMsgID(id string) []byte {
	if uuid, ok := batch.ParseUUID(id); ok {
		return append([]byte{'u'}, uuid[:]...)
	}
	return append([]byte{'t'}, id...)
}

// columns is a row's values as PostgreSQL sends them, in its binary format. It
// is a batch.Columns; its first error sticks.
type columns struct {
	raw [][]byte
	at  int
	err error
}

var _ batch.Columns = (*columns)(nil)

var errFormat = errors.New("the database's answer is not in the form that was asked for")

func (c *columns) next(size int) []byte {
	if c.at >= len(c.raw) {
		c.err = errors.Join(c.err, fmt.Errorf("%w: it has %d columns", errFormat, len(c.raw)))
		return nil
	}
	v := c.raw[c.at]
	c.at++
	if v != nil && size > 0 && len(v) != size {
		c.err = errors.Join(c.err, fmt.Errorf("%w: column %d has %d bytes, want %d", errFormat, c.at, len(v), size))
		return nil
	}
	return v
}

func (c *columns) Int() int64 {
	v := c.next(8)
	if v == nil {
		return 0
	}
	return int64(binary.BigEndian.Uint64(v))
}

func (c *columns) Bool() bool {
	v := c.next(1)
	return v != nil && v[0] != 0
}

func (c *columns) Text() string { return unescape(string(c.next(0))) }

func (c *columns) Bytes() []byte { return c.next(0) }

func (c *columns) Time() time.Time {
	v := c.next(8)
	if v == nil {
		return time.Time{}
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(v))).UTC()
}

func (c *columns) ClientMsgID() string {
	v := c.next(0)
	switch {
	case len(v) == 17 && v[0] == 'u':
		return batch.FormatUUID([16]byte(v[1:]))
	case len(v) > 0 && v[0] == 't':
		return string(v[1:])
	}
	return ""
}

// escape writes a text so that PostgreSQL takes it, which has no U+0000. Each
// byte of it becomes one or two, so that beginnings stay beginnings.
func escape(s string) string {
	if !strings.ContainsAny(s, "\x00\x01") {
		return s
	}
	return strings.NewReplacer("\x00", "\x01\x01", "\x01", "\x01\x02").Replace(s)
}

func unescape(s string) string {
	if strings.IndexByte(s, 1) < 0 {
		return s
	}
	return strings.NewReplacer("\x01\x01", "\x00", "\x01\x02", "\x01").Replace(s)
}

package hub

import (
	"encoding/binary"

	"github.com/grima-chat/grima/internal/chat"
)

// What nodes tell one another is varints behind a byte of version: nodes of one
// release understand each other, and of what is older or newer, or no payload at
// all, nothing is believed. A list ends with its payload.

const payloadVersion = 1

type payload struct {
	kind Kind
	b    []byte
}

func newPayload(kind Kind) *payload { return &payload{kind, []byte{payloadVersion}} }

// encodeAll puts a list into as few payloads as it fits into.
func encodeAll[T any](kind Kind, list []T, put func(*payload, T)) (all []*payload) {
	for i, v := range list {
		if i == 0 || len(all[len(all)-1].b) > MaxPayload/2 {
			all = append(all, newPayload(kind))
		}
		put(all[len(all)-1], v)
	}
	return all
}

func (p *payload) int(n int64)               { p.b = binary.AppendUvarint(p.b, uint64(n)) }
func (p *payload) session(id chat.SessionID) { p.int(int64(id)) }
func (p *payload) user(id chat.UserID)       { p.int(int64(id)) }
func (p *payload) place(of chat.Place)       { p.int(int64(of.Chat)); p.int(int64(of.User)) }
func (p *payload) mark(m mark)               { p.place(m.Place); p.int(m.seq) }
func (p *payload) bool(yes bool)             { p.int(map[bool]int64{true: 1}[yes]) }
func (p *payload) typing(n typingNote)       { p.place(n.Place); p.bool(n.stop) }
func (p *payload) node(id nodeID, of saying) { p.b = append(append(p.b, byte(of)), id[:]...) }
func (p *payload) standing(at standing) {
	p.int(int64(at.user))
	p.int(at.code())
	p.int(int64(at.conns))
}

func (p *payload) standings(list ...standing) {
	for _, at := range list {
		p.standing(at)
	}
}

func (p *payload) hint(n hint) {
	p.int(int64(n.chat))
	p.int(n.seq)
	p.int(int64(len(n.entered)))
	for _, user := range n.entered {
		p.int(int64(user))
	}
}

// decoder reads a payload. After something is wrong with it, it gives zeros, and
// it is not good.
type decoder struct {
	b   []byte
	bad bool
}

func newDecoder(b []byte) *decoder {
	d := &decoder{b: b}
	if len(b) == 0 || b[0] != payloadVersion || len(b) > 2*MaxPayload {
		d.fail()
		return d
	}
	d.b = b[1:]
	return d
}

func (d *decoder) fail() { d.b, d.bad = nil, true }

// good reports whether it was all well and is read to its end.
func (d *decoder) good() bool { return !d.bad && len(d.b) == 0 }

// most is above any id, seq or count: what is not an integer of the wire's is
// none of ours.
const most = 1 << 53

func (d *decoder) int() int64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 || n >= most {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return int64(n)
}

// id is an int that is not 0.
func (d *decoder) id() int64 {
	n := d.int()
	if n == 0 {
		d.fail()
	}
	return n
}

func (d *decoder) session() chat.SessionID { return chat.SessionID(d.id()) }
func (d *decoder) user() chat.UserID       { return chat.UserID(d.id()) }

func (d *decoder) place() chat.Place {
	id := chat.ChatID(d.id())
	return chat.Place{Chat: id, User: chat.UserID(d.id())}
}

func (d *decoder) mark() mark {
	at := d.place()
	return mark{at, d.int()}
}

func (d *decoder) bool() bool {
	n := d.int()
	if n > 1 {
		d.fail()
	}
	return n == 1
}

func (d *decoder) typing() typingNote {
	at := d.place()
	return typingNote{at, d.bool()}
}

func (d *decoder) hint() hint {
	n := hint{chat: chat.ChatID(d.id()), seq: d.id()}
	count := d.int()
	if count > int64(len(d.b)) { // each needs a byte
		d.fail()
		return n
	}
	for range count {
		n.entered = append(n.entered, chat.UserID(d.id()))
	}
	return n
}

// decodeAll reads a list, of at least one, up to the payload's end.
func decodeAll[T any](d *decoder, get func(*decoder) T) (list []T) {
	for {
		list = append(list, get(d))
		if d.bad || len(d.b) == 0 {
			return list
		}
	}
}

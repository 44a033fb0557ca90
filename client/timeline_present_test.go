package client_test

import (
	"testing"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// What was asked for around a message, before the newest were, is not the present:
// a window that jumps there goes on down from it.
func TestAPageInTheMiddleIsNotThePresent(t *testing.T) {
	var tl client.Timeline
	seq := int64(10)
	page := func(from, to int64) (r protocol.MessagesListResult) {
		for n := from; n <= to; n++ {
			r.Messages = append(r.Messages, protocol.Message{ChatID: "c_1", Seq: n, UpdatedSeq: n})
		}
		r.HasMoreBefore, r.HasMoreAfter, r.LastSeq = from > 1, to < 100, 100
		return r
	}
	if err := tl.ApplyPage(protocol.MessagesListParams{Around: &seq}, page(5, 15)); err != nil {
		t.Fatal(err)
	}
	if got := tl.Messages(0); len(got) > 0 {
		t.Errorf("%d to %d are taken for the newest", got[0].Seq, got[len(got)-1].Seq)
	}
	if p, more := tl.Before(0, 50); !more || p.Before != nil || p.Around != nil {
		t.Errorf("the newest are asked for by %+v, %v", p, more)
	}
	p, more := tl.After(10, 50)
	if !more || p.After == nil || *p.After != 15 {
		t.Fatalf("to go on, %+v, %v is asked for", p, more)
	}
	if err := tl.ApplyPage(p, page(16, 100)); err != nil {
		t.Fatal(err)
	}
	if _, more := tl.After(10, 50); more || len(tl.Messages(0)) != 96 {
		t.Errorf("%d are held at the end, and more below: %v", len(tl.Messages(0)), more)
	}
	tl.Apply(client.Event{Kind: client.MessageCreated, PrevSeq: 100, Seq: 101, Message: &protocol.Message{Seq: 101, UpdatedSeq: 101}})
	if got := tl.Messages(0); len(got) != 97 {
		t.Errorf("with a new one %d are held", len(got))
	}
}

// A page of what was before may be ahead of the events: the present stays in the
// window meanwhile.
func TestAPageAheadOfTheEventsLeavesThePresent(t *testing.T) {
	var tl client.Timeline
	page := func(from, to, last int64) (r protocol.MessagesListResult) {
		for n := from; n <= to; n++ {
			r.Messages = append(r.Messages, protocol.Message{ChatID: "c_1", Seq: n, UpdatedSeq: n})
		}
		r.HasMoreBefore, r.HasMoreAfter, r.LastSeq = from > 1, to < last, last
		return r
	}
	if err := tl.ApplyPage(protocol.MessagesListParams{}, page(51, 100, 100)); err != nil {
		t.Fatal(err)
	}
	p, more := tl.Before(0, 50)
	if !more || p.Before == nil || *p.Before != 51 {
		t.Fatalf("to scroll back, %+v, %v is asked for", p, more)
	}
	if err := tl.ApplyPage(p, page(21, 50, 102)); err != nil {
		t.Fatal(err)
	}
	if got := tl.Messages(0); len(got) != 80 {
		t.Errorf("%d are held before the events come", len(got))
	}
	if p, more := tl.Before(0, 50); !more || p.Before == nil || *p.Before != 21 {
		t.Errorf("to scroll on, %+v, %v is asked for", p, more)
	}
	if p, more := tl.After(0, 50); !more || p.After == nil || *p.After != 100 {
		t.Errorf("what is known to be missing is asked for by %+v, %v", p, more)
	}
	for n := int64(101); n <= 102; n++ {
		tl.Apply(client.Event{Kind: client.MessageCreated, PrevSeq: n - 1, Seq: n, Message: &protocol.Message{Seq: n, UpdatedSeq: n}})
	}
	if _, more := tl.After(0, 50); more || len(tl.Messages(0)) != 82 {
		t.Errorf("%d are held when they came, and more below: %v", len(tl.Messages(0)), more)
	}
}

// The newest that a cache has are the present, though the chat is known to go on
// and the last position kept is no message; what else it has is not.
func TestTheNewestThatAreKeptAreThePresent(t *testing.T) {
	page := func(from, to int64) (r protocol.MessagesListResult) {
		for n := from; n <= to; n++ {
			r.Messages = append(r.Messages, protocol.Message{ChatID: "c_1", Seq: n, UpdatedSeq: n})
		}
		r.HasMoreBefore, r.HasMoreAfter, r.LastSeq = true, true, 100
		return r
	}
	var tl client.Timeline
	seq := int64(40)
	if err := tl.ApplyPage(protocol.MessagesListParams{Around: &seq}, page(31, 50)); err != nil {
		t.Fatal(err)
	}
	if got := tl.Messages(0); len(got) > 0 {
		t.Errorf("%d to %d are taken for the newest", got[0].Seq, got[len(got)-1].Seq)
	}
	if err := tl.ApplyPage(protocol.MessagesListParams{}, page(91, 99)); err != nil {
		t.Fatal(err)
	}
	if got := tl.Messages(0); len(got) != 9 {
		t.Errorf("%d are shown, want the 9 that are kept", len(got))
	}
}

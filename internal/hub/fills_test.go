package hub

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/grima-chat/grima/internal/chat"
)

// pages is a source whose reads of spans wait until the test lets them go on.
type pages struct {
	oneChat

	on     chan struct{} // one read may go on; closed: all
	broken chat.ChatID   // whatever is read with it fails

	mu    sync.Mutex
	reads [][]chat.Span
}

var errDamaged = errors.New("a row is damaged")

func (p *pages) Changed(ctx context.Context, spans []chat.Span) ([]chat.Changed, error) {
	p.mu.Lock()
	p.reads = append(p.reads, slices.Clone(spans))
	p.mu.Unlock()
	select {
	case <-p.on:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	list := make([]chat.Changed, len(spans))
	for i, s := range spans {
		if s.Chat == p.broken {
			return nil, errDamaged
		}
		list[i].Next = s.Upto
	}
	return list, nil
}

// asked are the sizes of the reads so far, sorted.
func (p *pages) asked() (sizes []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.reads {
		sizes = append(sizes, len(r))
	}
	slices.Sort(sizes)
	return sizes
}

type filled struct {
	span chat.Span
	ch   chat.Changed
	err  error
}

// fillingOf has the rooms from one on to another filled, each by a flusher of its
// own.
func fillingOf(h *Hub, from, to int, all chan<- filled) {
	for i := from; i <= to; i++ {
		span := chat.Span{Chat: chat.ChatID(i), After: 1, Upto: int64(100 + i)}
		go func() {
			ch, err := h.changed(span)
			all <- filled{span, ch, err}
		}()
	}
}

func pagesHub(p *pages) *Hub {
	return New(Config{Source: p, Log: slog.New(slog.DiscardHandler)})
}

func TestRoomsThatWantFillingShareAReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pages{on: make(chan struct{})}
		h := pagesHub(p)
		all := make(chan filled, 200)
		for i := range fillsAtOnce { // each alone, and at once
			fillingOf(h, i+1, i+1, all)
			synctest.Wait()
		}
		if got := p.asked(); !slices.Equal(got, []int{1, 1}) {
			t.Fatalf("the first reads are of %v rooms", got)
		}
		fillingOf(h, 3, 42, all)
		synctest.Wait()
		if got := p.asked(); len(got) != fillsAtOnce {
			t.Fatalf("%v are read at the same time", got)
		}
		p.on <- struct{}{}
		synctest.Wait()
		if got := p.asked(); !slices.Equal(got, []int{1, 1, 40}) {
			t.Fatalf("what gathered was read as %v", got)
		}
		fillingOf(h, 43, 42+fillRooms+1, all)
		synctest.Wait()
		close(p.on)
		for range 42 + fillRooms + 1 {
			if f := <-all; f.err != nil || f.ch.Next != f.span.Upto {
				t.Errorf("%+v", f)
			}
		}
		if got := p.asked(); !slices.Equal(got, []int{1, 1, 1, 40, fillRooms}) {
			t.Errorf("the reads were of %v rooms", got)
		}
		h.Close()
	})
}

func TestADamagedRowIsItsRoomsAffair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pages{on: make(chan struct{}), broken: 7}
		close(p.on)
		h := pagesHub(p)
		all := make(chan filled, 10)
		fillingOf(h, 1, 10, all)
		for range 10 {
			f := <-all
			if bad := f.span.Chat == 7; bad != errors.Is(f.err, errDamaged) || !bad && f.ch.Next != f.span.Upto {
				t.Errorf("%+v", f)
			}
		}
		h.Close()
	})
}

func TestCloseEndsReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pages{on: make(chan struct{})}
		h := pagesHub(p)
		all := make(chan filled, 20)
		fillingOf(h, 1, 20, all)
		synctest.Wait()
		h.Close()
		for range 20 {
			if f := <-all; !errors.Is(f.err, context.Canceled) {
				t.Errorf("%+v", f)
			}
		}
		if h.fills.readers != 0 || len(h.fills.waiting) != 0 {
			t.Errorf("%+v is left", h.fills)
		}
	})
}

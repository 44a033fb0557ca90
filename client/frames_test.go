package client

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

// Whatever a server says that it takes, a session neither panics nor blames the
// application; what cannot be asked ends the connection.
func TestHostileMaxFrame(t *testing.T) {
	for _, max := range []int64{math.MinInt64, -1, 1, 10, 150, 400, math.MaxInt64} {
		k := startTalk(t, Config{})
		k.s.Focus(k.now, "c_1")
		k.s.Connected(k.now)
		for _, id := range []string{"before", "later"} {
			it, err := k.s.Draft(k.now, Draft{ID: id, ChatID: "c_1", Content: strings.Repeat("x", 100)})
			if err == nil {
				err = k.s.Queue(k.now, it)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		_ = k.s.Retry(k.now, "nothing")
		var broken error
		for _, l := range []string{strings.Replace(hello, `"max_frame":65536`, fmt.Sprintf(`"max_frame":%d`, max), 1), started} {
			if broken = k.try(l); broken != nil {
				break
			}
		}
		it, err := k.s.Draft(k.now, Draft{ID: "after", ChatID: "c_1", Content: "x"})
		if err == nil {
			err = k.s.Queue(k.now, it)
		}
		if err != nil {
			t.Errorf("max_frame %d: queueing: %v", max, err)
		}
		k.s.MarkRead(k.now, "c_1", 5)
		if err := errors.Join(k.s.Focus(k.now), k.s.Typing(k.now, "c_1", false)); err != nil {
			t.Errorf("max_frame %d: %v", max, err)
		}
		if broken == nil {
			broken = k.s.Tick(k.now)
		}
		if small := max > 0 && max < 100; small != isServerError(broken) || !small && broken != nil {
			t.Errorf("max_frame %d: %v", max, broken)
		}
		if broken != nil {
			k.s.Lost(k.now, broken)
			if link := k.s.Connection(); link.Link != Offline || !link.Retry.After(k.now) {
				t.Errorf("max_frame %d: %+v", max, link)
			}
		}
		if n := len(k.s.Outbox()); n != 3 {
			t.Errorf("max_frame %d: %d messages are left", max, n)
		}
		k.s.Take(1000)
	}
}

// One message of an ID is in the outbox.
func TestQueuedTwice(t *testing.T) {
	k := startTalk(t, Config{})
	it, err := k.s.Draft(k.now, Draft{ID: "k", ChatID: "c_1", Content: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.s.Queue(k.now, it); err != nil {
		t.Fatal(err)
	}
	if err := k.s.Queue(k.now, it); err == nil || len(k.s.boxes["c_1"].items) != 1 {
		t.Errorf("queued twice: %v", err)
	}
}

// A server of another version is no reason to log in anew.
func TestAnotherVersion(t *testing.T) {
	for _, lines := range [][]string{
		{strings.Replace(hello, `"protocol":1`, `"protocol":2`, 1)},
		{hello, `{"type":"SessionResponse","id":1,"op":"session.start","error":{"code":"unsupported_version","message":"","retryable":false}}`},
	} {
		k := startTalk(t, Config{})
		k.s.Connected(k.now)
		var err error
		for _, l := range lines {
			if err = k.try(l); err != nil {
				break
			}
		}
		_, login := errors.AsType[*LoginError](err)
		if login || !errors.Is(err, ErrVersion) {
			t.Errorf("%v", err)
		}
		if k.s.Lost(k.now, err); k.s.Connection().Link != Stopped {
			t.Errorf("it comes back: %+v", k.s.Connection())
		}
	}
}

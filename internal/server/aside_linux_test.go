package server_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/grima-chat/grima/internal/stream"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// priorities looks at which the threads have that answer chats.get.
type priorities struct {
	usual          int
	asUsual, lower atomic.Int64
}

func threadPriority(t *testing.T) int {
	t.Helper()
	n, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (p *priorities) Request(op string, _ protocol.Code, _ time.Duration) {
	if op != protocol.OpChatsGet {
		return
	}
	if n, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid()); err == nil && n < p.usual {
		p.lower.Add(1)
	} else {
		p.asUsual.Add(1)
	}
}

func (*priorities) Login(string, protocol.Code) {}

// Who asks without a pause is answered all the same, in order, on threads that
// others go before. Who pauses, or asks for a few things at once, is not.
func TestWhoAsksWithoutAPauseWaitsForOthers(t *testing.T) {
	p := &priorities{usual: threadPriority(t)}
	if os.Getenv("GOMAXPROCS") != "" || p.usual <= 10 {
		t.Skip("threads have no lower priority here")
	}
	srv := testserver.Start(t, testserver.Options{Stream: func(c *stream.Config) { c.API.Observer = p }})
	eve, bob := srv.User("eve").Connect(), srv.User("bob").Connect()
	ask := func(c *testserver.Conn, n int) {
		t.Helper()
		var all strings.Builder
		for i := range n {
			fmt.Fprintf(&all, `{"type":"DataRequest","id":%d,"op":"chats.get","params":{"chat_id":"c_404"}}`+"\n", i)
		}
		c.Raw(all.String())
		for i := range n {
			var r protocol.Response
			line := c.Next()
			if err := json.Unmarshal([]byte(line), &r); err != nil || string(r.ID) != fmt.Sprint(i) {
				t.Fatalf("%s: %v, want the answer to %d", line, err, i)
			}
		}
	}
	want := func(who string, asUsual, lower bool) {
		t.Helper()
		u, l := p.asUsual.Swap(0), p.lower.Swap(0)
		if u > 0 != asUsual || l > 0 != lower {
			t.Errorf("%s: %d answers came as usual and %d from threads of low priority", who, u, l)
		}
	}
	ask(bob.Conn, 16)
	want("bob", true, false)
	ask(eve.Conn, 1000)
	if lower := p.lower.Load(); lower < 500 {
		t.Errorf("%d of a thousand waited for others", lower)
	}
	want("eve", true, true)
	ask(bob.Conn, 16)
	want("bob beside her", true, false)
	// Her pause is seen once there is nothing more to read.
	eventually(t, "eve is answered as usual after a pause", func() bool {
		ask(eve.Conn, 1)
		return p.asUsual.Load() > 0
	})
}

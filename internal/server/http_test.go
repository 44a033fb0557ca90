package server

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
)

// A request whose connection is cut off at the stop may come to its handler when
// nobody waits for it any more. It is not carried out.
func TestNoRequestOutlivesTheDoor(t *testing.T) {
	for range 50 {
		var stopped atomic.Bool
		d := newHTTPDoor(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			if stopped.Load() {
				t.Error("a request is carried out after the stop")
			}
		}), slog.Default())
		var late sync.WaitGroup
		for range 20 {
			late.Go(func() { d.srv.Handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)) })
		}
		if err := d.shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		stopped.Store(true)
		answer := httptest.NewRecorder()
		d.srv.Handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", nil))
		if answer.Code != http.StatusServiceUnavailable {
			t.Errorf("answered with %d", answer.Code)
		}
		late.Wait()
	}
}

// Of what two programs might read differently, net/http refuses the most, and
// reads the rest as RFC 9112 has it. This is where a change of that would show:
// behind a proxy it is what keeps somebody's request from being another's.
func TestHeadersThatCouldBeReadInTwoWays(t *testing.T) {
	for name, c := range map[string]struct {
		head, body string
		want       int
		read       string // of the body
		x          string // the header
	}{
		"a line that goes on (obs-fold) is one, with a blank": {head: "X: one\r\n two\r\n\tContent-Length: 5\r\n", want: 200, x: "one two Content-Length: 5"},
		"a first line that goes on":                           {head: " X: one\r\n", want: 400},
		"also of what ends the body":                          {head: "Transfer-Encoding:\r\n chunked\r\n", body: "2\r\nhi\r\n0\r\n\r\n", want: 200, read: "hi"},
		"a blank before the colon":                            {head: "Content-Length : 2\r\n", body: "hi", want: 400},
		"two lengths":                                         {head: "Content-Length: 2\r\nContent-Length: 3\r\n", body: "hi!", want: 400},
		"a length with a sign":                                {head: "Content-Length: +2\r\n", body: "hi", want: 400},
		"an encoding that nobody knows":                       {head: "Transfer-Encoding: xchunked\r\n", body: "hi", want: 501},
		"two encodings":                                       {head: "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", body: "0\r\n\r\n", want: 501},
		"an encoding goes before a length":                    {head: "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", body: "2\r\nhi\r\n0\r\n\r\n", want: 200, read: "hi"},
		"a bare CR":                                           {head: "X: one\rContent-Length: 2\r\n", want: 400},
	} {
		t.Run(name, func(t *testing.T) {
			type seen struct{ x, body string }
			got := make(chan seen, 2)
			d := newHTTPDoor(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				got <- seen{r.Header.Get("X"), string(body)}
			}), slog.Default())
			var over sync.WaitGroup
			over.Go(func() {
				if err := d.serve(); err != nil {
					t.Error(err)
				}
			})
			near, far := net.Pipe()
			d.take(near)
			over.Go(func() {
				// It may be refused in the middle.
				_, _ = io.WriteString(far, "POST / HTTP/1.1\r\n"+c.head+"Host: x\r\nConnection: close\r\n\r\n"+c.body)
			})
			answer, err := http.ReadResponse(bufio.NewReader(far), nil)
			if err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != c.want {
				t.Errorf("answered with %s", answer.Status)
			}
			if _, err := io.Copy(io.Discard, answer.Body); err != nil {
				t.Error(err)
			}
			if err := far.Close(); err != nil {
				t.Error(err)
			}
			if c.want == 200 {
				if s := <-got; s != (seen{c.x, c.read}) {
					t.Errorf("it was read as %q", s)
				}
			}
			if err := d.shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			over.Wait()
			if len(got) > 0 {
				t.Error("it was carried out")
			}
		})
	}
}

package server_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grima-chat/grima/internal/server"
	"github.com/grima-chat/grima/internal/testserver"
)

// What stands in the gate is told by what it turned out to be.
func TestConnectionsByKind(t *testing.T) {
	srv := testserver.Start(t, testserver.Options{Limits: true, Server: func(c *server.Config) { c.MaxConnections, c.MaxPerAddress = 12, 6 }})
	ana := srv.User("ana")
	plain, secure, web := ana.Connect(), ana.ConnectTLS(), ana.ConnectWebSocket()
	stranger := srv.DialWebSocketTLS()
	stranger.Want(`{"type":"Hello"}`)
	events := listen(t, srv, plain.Token, "")
	events.want(`{"type":"Hello"}`, `{"op":"sync","result":{}}`)
	want := []string{
		"events tls=false known=true: 1",
		"lines tls=false known=true: 1",
		"lines tls=true known=true: 1",
		"websocket tls=false known=true: 1",
		"websocket tls=true known=false: 1",
	}
	if d := cmp.Diff(want, connections(srv)); d != "" {
		t.Errorf("connections (-want +got):\n%s", d)
	}

	sixth := srv.Dial()
	sixth.Want(`{"type":"Hello"}`)
	srv.Dial().Want(`{"type":"Goodbye","code":"too_many_connections"}`)
	now := srv.Front.Stats()
	if now.Max != 12 || now.Accepted != 6 || now.Refused["address"] != 1 || now.Refused["full"]+now.Refused["strangers"] != 0 {
		t.Errorf("%+v", now)
	}
	_ = events.Body.Close()
	for _, c := range []*testserver.Conn{plain.Conn, secure.Conn, web.Conn, stranger, sixth} {
		c.EOF()
		c.WantEnd()
	}
	srv.Stop() // which waits for the last of them
	if left := connections(srv); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func connections(srv *testserver.Server) []string {
	var all []string
	for _, c := range srv.Front.Stats().Connections {
		all = append(all, fmt.Sprintf("%s tls=%v known=%v: %d", c.Kind, c.TLS, c.Known, c.Open))
	}
	slices.Sort(all)
	return all
}

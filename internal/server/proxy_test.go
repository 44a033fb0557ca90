package server_test

import (
	"testing"

	"github.com/grima-chat/grima/internal/server"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// All lines that come through a proxy have one address. Wrong passwords of one
// client made the server refuse everybody's.
func TestGuessersBehindAProxyLockNobodyOut(t *testing.T) {
	srv := testserver.Start(t, testserver.Options{Limits: true, Server: func(c *server.Config) { c.BehindProxy = true }})
	ana := srv.User("ana")
	login := func(c *testserver.Conn, password, want string) {
		t.Helper()
		c.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "PLAIN", Username: "ana", Password: password}))
		c.Want(`{"id":1,` + want + `}`)
	}
	stranger := srv.Dial()
	stranger.Want(`{"type":"Hello"}`)
	for range 10 {
		login(stranger, "a guess", `"error":{"code":"invalid_credentials"}`)
	}
	c := srv.Dial()
	c.Want(`{"type":"Hello"}`)
	login(c, ana.Password, `"result":{}`)
}

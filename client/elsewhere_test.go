package client_test

import (
	"bufio"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// A client that was sent elsewhere, where nobody is any more, asks again where to
// go: the operator may have moved what was there.
func TestElsewhereMoves(t *testing.T) {
	srv := testserver.Start(t)
	bob := srv.User("bob").Connect()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := nobody.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			nc, err := data.Accept()
			if err != nil {
				return
			}
			line, err := bufio.NewReader(nc).ReadBytes('\n')
			if req, bad := protocol.DecodeRequest(line); err == nil && bad == nil {
				url := "grima://" + nobody.Addr().String()
				if asked.Add(1) > 1 {
					url = "grima://" + srv.Addr
				}
				fmt.Fprintf(nc, `{"type":"SessionResponse","id":%s,"op":"session.start","error":{"code":"misdirected","message":"not here","retryable":false,"url":%q}}`+"\n", req.ID, url)
			}
			_ = nc.Close()
		}
	}()
	defer func() {
		_ = data.Close()
		<-over
	}()
	c := open(t, client.Config{Server: data.Addr().String(), Token: bob.Token})
	if err := c.Ready(testContext(t)); err != nil {
		t.Errorf("asked %d times where to go: %v", asked.Load(), err)
	}
}

//go:build unix

package stream

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"net"
	"strings"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/grima-chat/grima/internal/queue"
)

// byHand is a queue whose turns the test gives.
type byHand struct{ queue.Queue }

func (byHand) Polls() bool                                         { return false }
func (byHand) Add(*queue.Handle, queue.Client, queue.Source) error { return nil }

// turning is a logged-in connection of which the test gives the turns, over TCP
// and what over puts on top of it, and its other end.
func turning(t *testing.T, cfg Config, p Peer, over func(near, far net.Conn) net.Conn) (*conn, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	// Small, so that what is not read does not vanish in the kernel.
	tcp := near.(*net.TCPConn)
	for _, err := range []error{tcp.SetWriteBuffer(4 << 10), tcp.SetReadBuffer(1 << 20), far.(*net.TCPConn).SetReadBuffer(4 << 10)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	p.Operator = true
	s := New(cfg)
	socket := new(Socket).of(near)
	nc := net.Conn(socket)
	if over != nil {
		nc = over(socket, far)
	}
	c := newConn(s, nc, p)
	c.out.bounds = &s.bounds[0]
	s.running.Add(1) // it may end
	if err := c.out.to.sock.park(&c.turns, c, byHand{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.out.abort()
		c.out.to.cut()
		c.out.waitWritten()
		_, _ = c.out.to.sock.Close(), far.Close()
		s.queue.Close()
	})
	return c, far
}

// What comes in no lines is bounded, too: nobody keeps a worker by sending blank
// lines, or pings of a WebSocket, for ever.
func TestATurnIsBoundedInBytes(t *testing.T) {
	const turns = 3
	ping := append([]byte{0x89, 0x80 | 4, 0, 0, 0, 0}, "ping"...)
	for name, tt := range map[string]struct {
		peer Peer
		unit []byte
	}{
		"blank lines": {Peer{}, []byte("  \r\n")},
		"pings":       {Peer{WebSocket: true}, ping},
	} {
		t.Run(name, func(t *testing.T) {
			c, far := turning(t, Config{}, tt.peer, nil)
			flood := bytes.Repeat(tt.unit, turns*turnBytes/len(tt.unit)+1)
			if _, err := far.Write(flood); err != nil { // it is all on the way now
				t.Fatal(err)
			}
			for i := range turns {
				if v := c.Turn(); v != queue.Again || c.out.to.sock.fed >= turnBytes+smallRead {
					t.Fatalf("turn %d read %d bytes: %v", i+1, c.out.to.sock.fed, v)
				}
			}
		})
	}
}

// smallRead is at most what the last read of a turn goes beyond its bound.
const smallRead = 4 << 10

// updates encrypts TLS 1.3's KeyUpdates that ask for one in return, each with the
// keys that the one before it changed to.
type updates struct {
	t      *testing.T
	suite  uint16
	secret []byte
}

func (u *updates) expand(label string, n int) []byte {
	label = "tls13 " + label
	info := append(binary.BigEndian.AppendUint16(nil, uint16(n)), byte(len(label)))
	b, err := hkdf.Expand(sha256.New, u.secret, string(append(append(info, label...), 0)), n)
	if err != nil {
		u.t.Fatal(err)
	}
	return b
}

// append appends a record with a blank line, without which crypto/tls would soon
// complain, and one with a KeyUpdate.
func (u *updates) append(dst []byte) []byte {
	var (
		aead cipher.AEAD
		err  error
	)
	switch u.suite {
	case tls.TLS_AES_128_GCM_SHA256:
		var block cipher.Block
		if block, err = aes.NewCipher(u.expand("key", 16)); err == nil {
			aead, err = cipher.NewGCM(block)
		}
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		aead, err = chacha20poly1305.New(u.expand("key", 32))
	default:
		u.t.Error("another cipher: ", tls.CipherSuiteName(u.suite))
		return dst
	}
	if err != nil {
		u.t.Error(err)
		return dst
	}
	for seq, inner := range [][]byte{
		{'\n', 23},           // of the application
		{24, 0, 0, 1, 1, 22}, // key_update, update_requested; of the handshake
	} {
		nonce := u.expand("iv", 12)
		nonce[11] ^= byte(seq)
		head := []byte{23, 3, 3, 0, byte(len(inner) + aead.Overhead())}
		dst = aead.Seal(append(dst, head...), nonce, inner, head)
	}
	u.secret = u.expand("traffic upd", 32)
	return dst
}

// Each KeyUpdate of TLS 1.3 may ask for an answer. Who sends them and reads none
// of the answers is soon not read from any more.
func TestKeyUpdatesDoNotPileUp(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	const room = 32 << 10
	u := &updates{t: t}
	c, far := turning(t, Config{Outbox: room}, Peer{}, func(near, far net.Conn) net.Conn {
		server := tls.Server(near, &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}, SessionTicketsDisabled: true,
		})
		var secrets bytes.Buffer
		// It is this test's own certificate.
		client := tls.Client(far, &tls.Config{InsecureSkipVerify: true, KeyLogWriter: &secrets}) //nolint:gosec
		met := make(chan error, 1)
		go func() { met <- server.HandshakeContext(t.Context()) }()
		if err := client.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-met; err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(secrets.String()) {
			if f := strings.Fields(line); f[0] == "CLIENT_TRAFFIC_SECRET_0" {
				if u.secret, err = hex.DecodeString(f[2]); err != nil {
					t.Fatal(err)
				}
			}
		}
		u.suite = client.ConnectionState().CipherSuite
		return server
	})
	const most = 2 << 20
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		var b []byte
		for n := 0; n < most; n += len(b) {
			b = b[:0]
			for range 100 {
				b = u.append(b)
			}
			if _, err := far.Write(b); err != nil {
				return // it was closed: the test is over
			}
		}
	}()
	defer func() { c.out.to.cut(); <-sent }()
	kept, read := 0, 0
	for verdict := queue.Again; verdict != queue.Wait && read < most; {
		verdict = c.Turn()
		read += int(c.out.to.sock.fed)
		kept = max(kept, c.out.to.rest())
		if verdict == queue.Done {
			c.srv.running.Wait()
			t.Fatal("the connection ended after ", read)
		}
	}
	if kept < room || kept > room+2*turnBytes {
		t.Errorf("%d bytes were kept, of %d that were read", kept, read)
	}
}

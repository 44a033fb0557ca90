package server

import (
	"crypto/tls"
	"fmt"
	"sync/atomic"
)

// alpnHTTP is the one protocol we name in a TLS handshake; without it the first
// bytes inside tell.
const alpnHTTP = "http/1.1"

// certificate is what TLS connections are served with. It can change.
type certificate struct {
	certFile, keyFile string

	current atomic.Pointer[tls.Config]
}

func (c *certificate) reload() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("loading the certificate %s and its key %s: %w", c.certFile, c.keyFile, err)
	}
	c.current.Store(&tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		NextProtos:   []string{alpnHTTP},
	})
	return nil
}

func (c *certificate) config() *tls.Config { return c.current.Load() }

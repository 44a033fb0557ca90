// Package password hashes and checks passwords with Argon2id, slowly on
// purpose and boundedly: as many at once as leave the server a processor to
// work on, with a short queue before them.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/grima-chat/grima/internal/chat"
)

// Params is what hashing costs. Zeros give the defaults, which are those that
// OWASP recommends.
type Params struct {
	Memory  uint32 // KiB; 0: 19456
	Time    uint32 // passes over the memory; 0: 2
	Threads uint8  // 0: 1
	Workers int    // hashes at once; 0: GOMAXPROCS-1, at least 1
	Queue   int    // who may wait for their turn; 0: 64 per worker
}

// The shape of what Hash makes, and the bounds of what Verify takes: a hash is
// our own, but a damaged or foreign one must not take the server down.
const (
	saltSize   = 16
	keySize    = 32
	maxMemory  = 1 << 20 // KiB
	maxTime    = 64
	maxThreads = 16
	maxField   = 64 // bytes of salt or key
)

// retryAfter is what somebody is told who finds the queue full.
const retryAfter = 2 * time.Second

// Hasher implements chat.Passwords. Its methods may be called from any
// goroutine.
type Hasher struct {
	params Params
	burn   hash          // what is hashed against where there is no hash
	turns  chan struct{} // a place per worker
	places chan struct{} // a place per worker and per waiter

	hashed, refused atomic.Uint64
	waited, took    atomic.Int64 // ns
}

// Stats is what a Hasher has done since it was made.
type Stats struct {
	Hashed, Refused uint64 // passwords; Refused: too many were waiting
	Waiting         int    // now
	Waited, Took    time.Duration
}

// Stats gives a snapshot.
func (h *Hasher) Stats() Stats {
	return Stats{
		Hashed: h.hashed.Load(), Refused: h.refused.Load(), Waiting: max(0, len(h.places)-len(h.turns)),
		Waited: time.Duration(h.waited.Load()), Took: time.Duration(h.took.Load()),
	}
}

// New makes a Hasher that hashes with p.
func New(p Params) *Hasher {
	if p.Memory == 0 {
		p.Memory = 19 * 1024
	}
	if p.Time == 0 {
		p.Time = 2
	}
	if p.Threads == 0 {
		p.Threads = 1
	}
	if p.Workers == 0 {
		p.Workers = max(1, runtime.GOMAXPROCS(0)-1)
	}
	if p.Queue == 0 {
		p.Queue = 64 * p.Workers
	}
	return &Hasher{
		params: p,
		burn: hash{
			memory: p.Memory, time: p.Time, threads: p.Threads,
			salt: make([]byte, saltSize), key: make([]byte, keySize),
		},
		turns:  make(chan struct{}, p.Workers),
		places: make(chan struct{}, p.Workers+p.Queue),
	}
}

// Hash makes a PHC string of password: algorithm, version, parameters, salt
// and key.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	made := h.burn
	made.salt = make([]byte, saltSize)
	_, _ = rand.Read(made.salt) // never fails: it would end the program
	leave, err := h.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	made.key = made.of(password)
	return made.String(), nil
}

// Verify reports whether password is the hash's, and whether the hash was made
// with weaker parameters than Hash uses now. An empty hash costs as much time
// as a real one and never matches. A hash that cannot be read is an error.
func (h *Hasher) Verify(ctx context.Context, encoded, password string) (ok, weak bool, err error) {
	want := h.burn
	if encoded != "" {
		if want, err = parse(encoded); err != nil {
			return false, false, chat.Internal("a stored password hash cannot be read", err)
		}
	}
	leave, err := h.enter(ctx)
	if err != nil {
		return false, false, err
	}
	defer leave()
	same := subtle.ConstantTimeCompare(want.of(password), want.key) == 1
	if encoded == "" || !same {
		return false, false, nil
	}
	return true, want.memory < h.params.Memory || want.time < h.params.Time || len(want.key) < keySize, nil
}

// enter waits for a turn; leave ends it.
func (h *Hasher) enter(ctx context.Context) (leave func(), err error) {
	select {
	case h.places <- struct{}{}:
	default:
		h.refused.Add(1)
		return nil, &chat.Error{
			Code: chat.CodeRateLimited, Message: "too many logins at once; try again in a moment", RetryAfter: retryAfter,
		}
	}
	began := time.Now()
	select {
	case h.turns <- struct{}{}:
		turn := time.Now()
		h.waited.Add(int64(turn.Sub(began)))
		return func() {
			h.hashed.Add(1)
			h.took.Add(int64(time.Since(turn)))
			<-h.turns
			<-h.places
		}, nil
	case <-ctx.Done():
		<-h.places
		return nil, fmt.Errorf("waiting to hash a password: %w", ctx.Err())
	}
}

// hash is a PHC string taken apart.
type hash struct {
	memory, time uint32
	threads      uint8
	salt, key    []byte
}

// of is the key that password gives with the hash's salt and parameters.
func (p hash) of(password string) []byte {
	return argon2.IDKey([]byte(password), p.salt, p.time, p.memory, p.threads, uint32(len(p.key)))
}

var encoding = base64.RawStdEncoding.Strict()

func (p hash) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.time, p.threads,
		encoding.EncodeToString(p.salt), encoding.EncodeToString(p.key))
}

var errFormat = errors.New("not an Argon2id hash in PHC format")

// parse takes apart what String gives, and nothing else.
func parse(s string) (hash, error) {
	part := strings.Split(s, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" || part[2] != "v="+strconv.Itoa(argon2.Version) {
		return hash{}, errFormat
	}
	var p hash
	params := strings.Split(part[3], ",")
	if len(params) != 3 {
		return hash{}, errFormat
	}
	var n [3]uint64
	for i, bound := range [...]struct {
		name string
		most uint64
	}{{"m=", maxMemory}, {"t=", maxTime}, {"p=", maxThreads}} {
		digits, named := strings.CutPrefix(params[i], bound.name)
		v, err := strconv.ParseUint(digits, 10, 32)
		if !named || err != nil {
			return hash{}, errFormat
		}
		if v < 1 || v > bound.most {
			return hash{}, fmt.Errorf("%s is not within 1 and %d", params[i], bound.most)
		}
		n[i] = v
	}
	p.memory, p.time, p.threads = uint32(n[0]), uint32(n[1]), uint8(n[2])
	for i, field := range []*[]byte{&p.salt, &p.key} {
		b, err := encoding.DecodeString(part[4+i])
		if err != nil || len(b) < 8 || len(b) > maxField {
			return hash{}, errFormat
		}
		*field = b
	}
	if p.String() != s {
		return hash{}, errFormat
	}
	return p, nil
}

//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/harness"
	"github.com/grima-chat/grima/protocol"
)

// The people of a store. Each group has one of each kind and four of the
// hundred, so that 1, 10 or 100 senders can write to every group between them.
const (
	tens     = 10
	hundreds = 100
	perGroup = 4   // of the hundred
	founders = 6   // solo, one of the ten, four of the hundred
	hotChats = 100 // the groups of the workload "hot"
)

// world is who and what every store of a run has: it is made once, through the
// protocol, and copied.
type world struct {
	Chats int `json:"chats"`
	// Tokens and Users are of solo, then the ten, then the hundred.
	Tokens []string `json:"tokens"`
	Users  []string `json:"users"`
	ChatID []string `json:"chat_ids"`
}

// membersOf are the indexes, into Users, of who is in a group.
func membersOf(group int) [founders]int {
	m := [founders]int{0, 1 + group%tens}
	// Different strides mix people; the largest stays below a hundred, so that
	// the four differ.
	stride := 1 + group/hundreds%24
	for k := range perGroup {
		m[2+k] = 1 + tens + (group+k*stride)%hundreds
	}
	return m
}

// senders are n people with the groups, of the first `groups`, they write to.
func (w *world) senders(n, groups int) ([]person, error) {
	first := map[int]int{1: 0, tens: 1, hundreds: 1 + tens}
	from, ok := first[n]
	if !ok {
		return nil, fmt.Errorf("there are 1, %d or %d senders, not %d", tens, hundreds, n)
	}
	people := make([]person, n)
	for i := range people {
		people[i].token = w.Tokens[from+i]
	}
	for g := range groups {
		for _, m := range membersOf(g) {
			if m >= from && m < from+n {
				people[m-from].chats = append(people[m-from].chats, w.ChatID[g])
			}
		}
	}
	return people, nil
}

// chatKeys are the groups' keys in the store.
func (w *world) chatKeys() []int64 {
	keys := make([]int64, len(w.ChatID))
	for i, id := range w.ChatID {
		keys[i] = int64(api.ParseChat(id))
	}
	return keys
}

// makeWorld makes, or finds, the store without messages in dir/empty.
func (b *bench) makeWorld(dir string) (*world, error) {
	w := &world{Chats: b.Chats}
	file := filepath.Join(dir, fmt.Sprintf("world-%d.json", b.Chats))
	raw, err := os.ReadFile(file)
	if err == nil {
		if err := json.Unmarshal(raw, w); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		b.progress("found the people and groups of an earlier run in %s", dir)
		return w, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	empty := b.storeDir(dir, 0)
	if err := os.RemoveAll(empty); err != nil {
		return nil, err
	}
	p, err := harness.Start(b.bin, empty, nil)
	if err != nil {
		return nil, err
	}
	defer p.Kill()
	b.progress("registering %d people", 1+tens+hundreds)
	if err := w.register(p.Addr); err != nil {
		return nil, err
	}
	b.progress("creating %d groups", w.Chats)
	if err := w.createGroups(p.Addr); err != nil {
		return nil, err
	}
	if err := p.Stop(); err != nil {
		return nil, fmt.Errorf("stopping the server: %w\n%s", err, p.Log())
	}
	if err := checkpoint(empty); err != nil {
		return nil, err
	}
	if raw, err = json.Marshal(w); err != nil {
		return nil, err
	}
	return w, os.WriteFile(file, raw, 0o600)
}

func (b *bench) storeDir(dir string, size int) string {
	return filepath.Join(dir, fmt.Sprintf("store-%d-%d", b.Chats, size))
}

func (w *world) register(addr string) error {
	n := 1 + tens + hundreds
	w.Tokens, w.Users = make([]string, n), make([]string, n)
	return inParallel(4, n, func(i int) (err error) {
		w.Tokens[i], w.Users[i], err = harness.Register(addr, fmt.Sprintf("person%d", i))
		return err
	})
}

// createGroups lets solo create every group, in a few connections so that the
// commits are shared.
func (w *world) createGroups(addr string) error {
	const lanes = 16
	conns := make([]*harness.Conn, lanes)
	for i := range conns {
		c, err := harness.Login(addr, w.Tokens[0], false, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		conns[i] = c
	}
	w.ChatID = make([]string, w.Chats)
	return inParallel(lanes, w.Chats, func(g int) error {
		params := protocol.ChatsCreateParams{Kind: "group", Title: fmt.Sprintf("group %d", g)}
		members := membersOf(g)
		for _, m := range members[1:] {
			params.UserIDs = append(params.UserIDs, w.Users[m])
		}
		var res protocol.ChatsCreateResult
		if err := conns[g%lanes].Data(protocol.OpChatsCreate, params, &res); err != nil {
			return fmt.Errorf("creating group %d: %w", g, err)
		}
		if res.Chat.LastSeq != founders {
			return fmt.Errorf("group %d begins at %d, and has %d founders", g, res.Chat.LastSeq, founders)
		}
		w.ChatID[g] = res.Chat.ChatID
		return nil
	})
}

// inParallel calls do(0..n-1) from a few goroutines and returns the first
// error. Goroutine k takes every i with i%goroutines == k, in order.
func inParallel(goroutines, n int, do func(i int) error) error {
	errs := make([]error, goroutines)
	var wg sync.WaitGroup
	for k := range goroutines {
		wg.Go(func() {
			for i := k; i < n && errs[k] == nil; i += goroutines {
				errs[k] = do(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// fillStores makes the stores of b.Sizes in dir, each from the one before.
func (b *bench) fillStores(w *world, dir string) error {
	before := b.storeDir(dir, 0)
	have := 0
	for _, size := range b.Sizes {
		to := b.storeDir(dir, size)
		if _, err := os.Stat(to); err != nil {
			partial := to + ".partial"
			if err := copyStore(partial, before); err != nil {
				return err
			}
			if err := b.fill(w, partial, have, size); err != nil {
				return fmt.Errorf("filling %s: %w", partial, err)
			}
			if err := os.Rename(partial, to); err != nil {
				return err
			}
		} else {
			b.progress("found the store with %s messages of an earlier run", count(size))
		}
		before, have = to, size
	}
	return nil
}

// copyStore copies a data directory that no server holds, and syncs the copy so
// that writing it back does not fall into what is measured.
func copyStore(to, from string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if err := copyFile(filepath.Join(to, e.Name()), filepath.Join(from, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Sync()
}

// warmFile reads a store's files once, so that every case finds them in the
// page cache.
func warmFile(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// databaseIn is the one database file of a data directory.
func databaseIn(dir string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "*.db"))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%s holds %d databases (%s), want one", dir, len(found), strings.Join(found, ", "))
	}
	return found[0], nil
}

// zipf gives each chat its share of a store's messages: the r-th has 1/r of the
// first's, in an order that has nothing to do with the keys.
type zipf struct {
	rng *rand.Rand
	sum []float64 // ascending
	at  []int
}

func newZipf(rng *rand.Rand, n int) *zipf {
	z := &zipf{rng: rng, sum: make([]float64, n), at: rng.Perm(n)}
	total := 0.0
	for r := range n {
		total += 1 / float64(r+1)
		z.sum[r] = total
	}
	return z
}

// next is the index of a chat.
func (z *zipf) next() int {
	x := z.rng.Float64() * z.sum[len(z.sum)-1]
	lo, hi := 0, len(z.sum)-1
	for lo < hi {
		if mid := (lo + hi) / 2; z.sum[mid] < x {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return z.at[lo]
}

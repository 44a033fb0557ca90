//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/internal/harness"
	"github.com/grima-chat/grima/protocol"
)

// page is a kind of request for history.
type page struct {
	name string
	rows int // each answer must have
	op   string
	make func(rng *rand.Rand, chat string, last int64) any
}

const pageRows = 50

var pages = []page{
	{"messages.list, newest 50", pageRows, protocol.OpMessagesList, func(_ *rand.Rand, chat string, _ int64) any {
		return protocol.MessagesListParams{ChatID: chat, Limit: pageRows}
	}},
	{"messages.list, 50 before a random message", pageRows, protocol.OpMessagesList, func(rng *rand.Rand, chat string, last int64) any {
		before := founders + pageRows + 1 + rng.Int64N(last-founders-pageRows)
		return protocol.MessagesListParams{ChatID: chat, Before: &before, Limit: pageRows}
	}},
	{"changes.list, 50 from a random place near the end", pageRows, protocol.OpChangesList, func(rng *rand.Rand, chat string, last int64) any {
		return protocol.ChangesListParams{ChatID: chat, After: last - pageRows - rng.Int64N(min(200, last-founders-pageRows)+1), Limit: pageRows}
	}},
	{"changes.list, the last 10", 10, protocol.OpChangesList, func(_ *rand.Rand, chat string, last int64) any {
		return protocol.ChangesListParams{ChatID: chat, After: last - 10, Limit: pageRows}
	}},
}

// reader is a client that does nothing but write a line and read one, so that
// what it measures is the server's.
type reader struct {
	conn  net.Conn
	r     *bufio.Reader
	chats []place // those with enough messages for a full page
}

type place struct {
	chat string
	last int64
}

// fullPages lists the chats of a store with at least two pages of messages.
func fullPages(w *world, dir string) (places []place, err error) {
	path, err := databaseIn(dir)
	if err != nil {
		return nil, err
	}
	db, err := sqlite3.OpenFlags("file:"+path, sqlite3.OPEN_READONLY|sqlite3.OPEN_URI)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	last := map[int64]int64{}
	if err := each(db, `SELECT chat_id, last_seq FROM chats`, func(s *sqlite3.Stmt) {
		last[s.ColumnInt64(0)] = s.ColumnInt64(1)
	}); err != nil {
		return nil, err
	}
	for i, key := range w.chatKeys() {
		if last[key] >= founders+2*pageRows {
			places = append(places, place{w.ChatID[i], last[key]})
		}
	}
	return places, nil
}

func dialReader(addr, token string, chats []place) (*reader, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	r := &reader{conn, bufio.NewReaderSize(conn, 1<<20), chats}
	no := false
	login, err := requestLine(protocol.TypeSessionRequest, protocol.OpSessionStart, protocol.SessionStartParams{
		Mechanism: protocol.MechanismToken, Token: token, Subscribe: &no,
	})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	// The first line is Hello.
	if _, err := r.ask(login); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	line, err := r.r.ReadSlice('\n')
	if err != nil || !bytes.Contains(line, []byte(`"result":`)) {
		return nil, errors.Join(fmt.Errorf("logging in: %w, %s", err, line), conn.Close())
	}
	return r, nil
}

func requestLine(t protocol.Type, op string, params any) ([]byte, error) {
	raw, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	return protocol.AppendFrame(nil, protocol.Request{Type: t, ID: protocol.ID("1"), Op: op, Params: raw})
}

// ask writes a line and returns the next one; it is valid until the next call.
func (r *reader) ask(line []byte) ([]byte, error) {
	if _, err := r.conn.Write(line); err != nil {
		return nil, err
	}
	return r.r.ReadSlice('\n')
}

// time makes one request and says how long its answer took.
func (r *reader) time(p page, rng *rand.Rand) (time.Duration, error) {
	at := r.chats[rng.IntN(len(r.chats))]
	line, err := requestLine(protocol.TypeDataRequest, p.op, p.make(rng, at.chat, at.last))
	if err != nil {
		return 0, err
	}
	began := time.Now()
	answer, err := r.ask(line)
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	if n := bytes.Count(answer, []byte(`"sender_id":`)); n != p.rows {
		return 0, fmt.Errorf("%s: %d rows instead of %d: %.200s", line, n, p.rows, answer)
	}
	return took, nil
}

// paging is what the rounds found, by page and store.
type paging struct{ p50, p99 [][]series }

// measurePages asks the servers of all filled stores in turn, one request each.
func (b *bench) measurePages(w *world, dir string, round int, found *paging) error {
	var readers []*reader
	var stores []int // which of b.Sizes
	for i, size := range b.Sizes {
		store := b.storeDir(dir, size)
		chats, err := fullPages(w, store)
		if err != nil {
			return err
		}
		if len(chats) == 0 {
			continue // too small to have a full page
		}
		p, err := harness.Start(b.bin, store, nil)
		if err != nil {
			return err
		}
		defer p.Kill()
		r, err := dialReader(p.Addr, w.Tokens[0], chats)
		if err != nil {
			return err
		}
		defer r.conn.Close()
		readers, stores = append(readers, r), append(stores, i)
	}
	b.progress("round %d: %d pages of each kind from each of %d stores", round+1, b.Pages, len(readers))
	rng := rand.New(rand.NewPCG(b.Seed, uint64(round)))
	settle()
	for k, p := range pages {
		took := make([][]time.Duration, len(readers))
		warm := b.Pages / 5
		for i := range warm + b.Pages {
			for j := range readers {
				j = (i + j) % len(readers) // nobody is always first
				d, err := readers[j].time(p, rng)
				if err != nil {
					return fmt.Errorf("the store with %s messages: %w", count(b.Sizes[stores[j]]), err)
				}
				if i >= warm {
					took[j] = append(took[j], d)
				}
			}
		}
		for j, at := range stores {
			slices.Sort(took[j])
			found.p50[k][at] = append(found.p50[k][at], percentile(took[j], 0.50).Seconds())
			found.p99[k][at] = append(found.p99[k][at], percentile(took[j], 0.99).Seconds())
		}
	}
	return nil
}

func newPaging(stores int) *paging {
	f := &paging{make([][]series, len(pages)), make([][]series, len(pages))}
	for k := range pages {
		f.p50[k], f.p99[k] = make([]series, stores), make([]series, stores)
	}
	return f
}

// pagesSection prints what measurePages found.
func (b *bench) pagesSection(found *paging) section {
	n := len(b.Sizes)
	s := section{
		title: "Pages of history",
		note: fmt.Sprintf("One client in a closed loop asks the servers of all stores in turn, through the socket, for pages of random groups that have at least %d messages; files in the page cache; p50 / p99 in microseconds. %d requests of each kind per store and round.",
			2*pageRows, b.Pages),
		head: []string{"request"},
	}
	for _, size := range b.Sizes {
		s.head = append(s.head, count(size))
	}
	if n > 1 {
		s.head = append(s.head, fmt.Sprintf("p99, %s / %s", count(b.Sizes[n-1]), count(b.Sizes[n-2])))
	}
	for k, p := range pages {
		cells := []string{p.name}
		for i := range b.Sizes {
			if len(found.p50[k][i]) == 0 {
				cells = append(cells, "-")
				continue
			}
			cells = append(cells, micros(found.p50[k][i].median())+" / "+found.p99[k][i].spread(micros))
		}
		if n > 1 {
			cells = append(cells, found.p99[k][n-1].over(found.p99[k][n-2]).spread(ratio))
		}
		s.row(cells...)
	}
	return s
}

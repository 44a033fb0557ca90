package transfer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Digest is what there is in a store: for each table and chat the number of rows,
// and a hash that does not depend on their order.
type Digest map[Part]Sum

// Part is a chat's part of a table; chat 0 is what belongs to none.
type Part struct {
	Table string
	Chat  int64
}

// Sum is the number of rows and the sum of their SHA-256, as four numbers.
type Sum struct {
	Rows int64
	Hash [4]uint64
}

func (s *Sum) add(hash [sha256.Size]byte) {
	s.Rows++
	for i := range s.Hash {
		s.Hash[i] += binary.BigEndian.Uint64(hash[8*i:])
	}
}

// String says all of a digest in some characters.
func (d Digest) String() string {
	h := sha256.New()
	for _, p := range d.parts() {
		s := d[p]
		fmt.Fprintln(h, p.Table, p.Chat, s.Rows, s.Hash)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// Rows is how many rows a table has.
func (d Digest) Rows(table string) (n int64) {
	for p, s := range d {
		if p.Table == table {
			n += s.Rows
		}
	}
	return n
}

func (d Digest) parts() []Part {
	return slices.SortedFunc(maps.Keys(d), func(a, b Part) int {
		return cmp.Or(cmp.Compare(a.Chat, b.Chat), cmp.Compare(a.Table, b.Table))
	})
}

// digest reads a store from beginning to end.
func digest(ctx context.Context, s Store, read func(t *Table, rows int)) (Digest, error) {
	d := Digest{}
	var line []byte
	for _, t := range Tables {
		c := &cursor{s: s, t: t}
		for {
			row, err := c.next(ctx)
			if err != nil {
				return nil, err
			}
			if row == nil {
				break
			}
			p := Part{Table: t.Name}
			if t.chat >= 0 {
				p.Chat = row[t.chat].Int
			}
			line = row.append(append(line[:0], t.Name...))
			sum := d[p]
			sum.add(sha256.Sum256(line))
			d[p] = sum
			if read != nil && c.at == len(c.rows) {
				read(t, len(c.rows))
			}
		}
	}
	return d, nil
}

// check reads both stores side by side, and says where they differ.
func check(ctx context.Context, from, to Store, read func(t *Table, rows int)) (Digest, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg      sync.WaitGroup
		there   Digest
		errFrom error
	)
	wg.Go(func() {
		if there, errFrom = digest(ctx, from, nil); errFrom != nil {
			cancel()
		}
	})
	here, errTo := digest(ctx, to, read)
	if errTo != nil {
		cancel()
	}
	wg.Wait()
	if err := errors.Join(errFrom, errTo); err != nil {
		return nil, err
	}
	return here, differences(there, here)
}

// differences is nil if both digests are the same.
func differences(there, here Digest) error {
	all := maps.Clone(there)
	maps.Copy(all, here)
	var list []string
	for _, p := range all.parts() {
		a, b := there[p], here[p]
		if a == b {
			continue
		}
		what := p.Table
		if p.Chat != 0 {
			what += fmt.Sprintf(" of c_%d", p.Chat)
		}
		if a.Rows != b.Rows {
			what += fmt.Sprintf(" (%d rows became %d)", a.Rows, b.Rows)
		} else {
			what += fmt.Sprintf(" (%d rows, with other contents)", a.Rows)
		}
		list = append(list, what)
	}
	if len(list) == 0 {
		return nil
	}
	n := len(list)
	if n > 10 {
		list = append(list[:10], fmt.Sprintf("and %d more", n-10))
	}
	return fmt.Errorf("the copy is not what was copied; these differ: %s", strings.Join(list, ", "))
}

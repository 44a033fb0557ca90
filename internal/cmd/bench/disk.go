//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/ncruces/go-sqlite3"
)

// usage is what a store takes on disk, by table or index. The driver comes
// without dbstat, so the pages of each B-tree are counted here.
type usage struct {
	file  int64 // bytes of the database, everything checkpointed
	bytes map[string]int64
}

// measureDisk reads the file of a store that no server holds.
func measureDisk(dir string) (u usage, err error) {
	if err := checkpoint(dir); err != nil {
		return u, err
	}
	path, err := databaseIn(dir)
	if err != nil {
		return u, err
	}
	roots := map[string]int64{"sqlite_schema": 1}
	db, err := sqlite3.OpenFlags("file:"+path, sqlite3.OPEN_READONLY|sqlite3.OPEN_URI)
	if err != nil {
		return u, err
	}
	err = each(db, `SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0`, func(s *sqlite3.Stmt) {
		roots[s.ColumnText(0)] = s.ColumnInt64(1)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return u, err
	}
	f, err := os.Open(path)
	if err != nil {
		return u, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return u, err
	}
	t := trees{f: f}
	if err := t.header(); err != nil {
		return u, err
	}
	u = usage{info.Size(), map[string]int64{}}
	for name, root := range roots {
		n, err := t.pages(root)
		if err != nil {
			return u, fmt.Errorf("counting the pages of %s: %w", name, err)
		}
		u.bytes[name] = n * t.size
	}
	return u, nil
}

// messagesIn counts the messages of a store that no server holds: every chat
// has its founders' numbers and then nothing but messages.
func messagesIn(dir string) (n int, err error) {
	path, err := databaseIn(dir)
	if err != nil {
		return 0, err
	}
	db, err := sqlite3.OpenFlags("file:"+path, sqlite3.OPEN_READONLY|sqlite3.OPEN_URI)
	if err != nil {
		return 0, err
	}
	err = each(db, fmt.Sprintf(`SELECT sum(last_seq - %d) FROM chats`, founders), func(s *sqlite3.Stmt) { n = s.ColumnInt(0) })
	return n, errors.Join(err, db.Close())
}

// trees counts the pages of B-trees in a database file
// (https://sqlite.org/fileformat2.html#b_tree_pages), without the overflow
// pages of rows that are longer than a page.
type trees struct {
	f    *os.File
	size int64
}

func (t *trees) header() error {
	var h [100]byte
	if _, err := t.f.ReadAt(h[:], 0); err != nil {
		return err
	}
	t.size = int64(binary.BigEndian.Uint16(h[16:]))
	if t.size == 1 {
		t.size = 65536
	}
	return nil
}

// children are the pages below page n; a leaf has none.
func (t *trees) children(n int64) ([]int64, error) {
	page := make([]byte, t.size)
	if _, err := t.f.ReadAt(page, (n-1)*t.size); err != nil {
		return nil, err
	}
	h := page
	if n == 1 {
		h = page[100:]
	}
	switch h[0] {
	case 10, 13:
		return nil, nil
	case 2, 5:
	default:
		return nil, fmt.Errorf("page %d is no page of a B-tree (%d)", n, h[0])
	}
	cells := int(binary.BigEndian.Uint16(h[3:]))
	below := make([]int64, 0, cells+1)
	for i := range cells {
		at := binary.BigEndian.Uint16(h[12+2*i:])
		below = append(below, int64(binary.BigEndian.Uint32(page[at:])))
	}
	return append(below, int64(binary.BigEndian.Uint32(h[8:]))), nil
}

func (t *trees) pages(root int64) (int64, error) {
	level := []int64{root}
	for total := int64(0); ; {
		total += int64(len(level))
		// All leaves are equally deep, so one page tells of its level.
		first, err := t.children(level[0])
		if err != nil || first == nil {
			return total, err
		}
		var next []int64
		for _, n := range level {
			below, err := t.children(n)
			if err != nil {
				return total, err
			}
			next = append(next, below...)
		}
		level = next
	}
}

// grown is one row of the table of bytes on disk: a store, and how much of what
// it takes came with its messages.
type grown struct {
	name     string
	messages int
	before   usage
	after    usage
}

// diskSection prints bytes per message, by table.
func diskSection(body int, stores []grown) section {
	s := section{
		title: "Bytes on disk per message",
		note: fmt.Sprintf("Contents of %d bytes, ids of 16; what the file grew by against the store without messages, after a checkpoint, divided by the messages. The WAL comes on top while a server runs.",
			body),
		head: []string{"store", "messages", "file, MB", "bytes per message", "messages", "sent", "everything else"},
	}
	for _, g := range stores {
		per := func(bytes int64) string { return fmt.Sprintf("%.0f", float64(bytes)/float64(g.messages)) }
		file := g.after.file - g.before.file
		messages := g.after.bytes["messages"] - g.before.bytes["messages"]
		sent := g.after.bytes["sent"] - g.before.bytes["sent"]
		s.row(g.name, fmt.Sprint(g.messages), fmt.Sprintf("%.1f", float64(g.after.file)/1e6), per(file), per(messages), per(sent), per(file-messages-sent))
	}
	return s
}

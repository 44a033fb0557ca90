package sqlite

import (
	"fmt"
	"math"
	"math/bits"
)

// What bringing the schema up to date takes beside what it leaves in the database:
// a piece of long contents, in its new place, and in the log, with the page that
// each was in.
const roomForPiece = 40 << 20

const (
	// What a content had in the page of its row, which is 1002 bytes at most, stays
	// empty there; the pages that it went on in are what others take.
	sizeOfMove = `SELECT ifnull(sum(min(octet_length(content), 1002)), 0) * 11 / 10 FROM messages WHERE octet_length(content) > ?`
	// The keys are written into the log in their new order, and then into the
	// database; measured, 80 bytes for one of 36, each time.
	sizeOfSent = `SELECT 2 * (ifnull(sum(octet_length(client_msg_id)), 0) + 50 * count(*)) FROM sent`
)

// sentByID is the step that orders the keys of sends anew.
const sentByID = 2

// roomToMigrate refuses to bring the schema up to date where the disk has too
// little room: there is no way back from half of it. moving is as for migrateFrom.
func (c *conn) roomToMigrate(cfg Config, version int64, moving string) error {
	free, err := cfg.free(cfg.Dir)
	if err != nil {
		return fmt.Errorf("find out how much room is on the disk: %w", err)
	}
	need, err := c.needToMigrate(version, moving)
	if err != nil {
		return fmt.Errorf("find out how much room bringing the schema up to date takes: %w", err)
	}
	if free >= need {
		return nil
	}
	back := "or go on with the grima from before; nothing was changed"
	if moving != "" {
		back = "and nothing is lost"
	}
	return fmt.Errorf("bringing the schema up to date takes up to %d MiB of the disk that %s is on, and %d MiB are free: make room and start again, %s",
		mib(need), cfg.Dir, free>>20, back)
}

// needToMigrate is how many bytes bringing the schema up to date takes at most.
func (c *conn) needToMigrate(version int64, moving string) (need int64, err error) {
	if version < sentByID {
		if need, err = c.int(sizeOfSent); err != nil {
			return 0, err
		}
	}
	if version < longContents || moving != "" {
		q := c.prep(sizeOfMove).int(inRow)
		if err := q.row(); err != nil {
			return 0, err
		}
		move := q.getInt()
		if q.reset(); q.err != nil {
			return 0, q.err
		}
		pages, err := c.int("PRAGMA freelist_count")
		if err != nil {
			return 0, err
		}
		if move > 0 {
			need += max(0, move-pages*pageSize) + roomForPiece
		}
	}
	return need, nil
}

// freeBytes is what blocks of that size are that may still be taken, of so many. Of
// a file system that has none it is not known, as some that are programs say.
func freeBytes(all, free, size uint64) int64 {
	over, n := bits.Mul64(free, size)
	if all == 0 || over > 0 {
		return math.MaxInt64
	}
	return int64(min(n, math.MaxInt64))
}

// mib is n bytes in MiB, rounded up.
func mib(n int64) int64 { return (n + 1<<20 - 1) >> 20 }

package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/internal/chat"
)

// script is a short life of a store: a chat of two, then messages, some of them
// pipelined, so small a log that it is checkpointed meanwhile, and an edit. It
// gives what was acked: numbers of messages, by the order they were sent in.
// The chat's id is 1. heard is told of every ack at once.
func script(dir string, d *disk, heard func(int)) (acks []int, results []error, err error) {
	s, err := tryOpen(dir, d.on, func(c *Config) { c.WALBound = 16 * pageSize })
	if err != nil {
		return nil, nil, err
	}
	var wg sync.WaitGroup
	do := func(n int, run func(chat.Tx) error) {
		wg.Add(1)
		s.Update(chat.Op{Run: run}, func(err error) {
			defer wg.Done()
			results = append(results, err)
			if err == nil && n > 0 {
				acks = append(acks, n)
				heard(n)
			}
		})
	}
	do(0, func(tx chat.Tx) error {
		_, err := newChat(tx, 1, 2)
		return err
	})
	wg.Wait()
	for n := 1; n <= 8; n++ {
		do(n, func(tx chat.Tx) error {
			if _, err := tx.Chat(1); errors.Is(err, chat.ErrNotFound) { // its creation met the fault
				if _, err := newChat(tx, 1, 2); err != nil {
					return err
				}
			}
			_, err := send(tx, 1, 1, fmt.Sprint("id", n), fmt.Sprint("text ", n))
			return err
		})
		if n != 3 && n != 6 { // these go together with the next
			wg.Wait()
		}
	}
	do(0, func(tx chat.Tx) error {
		m, err := tx.Message(1, 3)
		if err != nil {
			return err
		}
		c, err := tx.Chat(1)
		if err != nil {
			return err
		}
		c.LastSeq++
		m.UpdatedSeq, m.EditedAt = c.LastSeq, tx.Now()
		return errors.Join(tx.PutMessage(m), tx.PutChat(c))
	})
	wg.Wait()
	return acks, results, s.Close()
}

// holds opens what is left in dir and checks that everything acked is there,
// nothing is there by half, and no number is missing.
func holds(t *testing.T, dir string, acks []int, when string) {
	t.Helper()
	s, err := tryOpen(dir)
	if err != nil {
		t.Fatalf("%s: reopen: %v", when, err)
	}
	defer s.Close()
	if err := s.Check(t.Context()); err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	view(t, s, func(r chat.Reader) error {
		list, err := r.Messages(1, 0, 1<<60, 100, false)
		if err != nil {
			return err
		}
		there := map[string]bool{}
		for i, m := range list {
			there[m.Content] = true
			if m.Seq != int64(i)+3 {
				t.Fatalf("%s: message %d has seq %d", when, i, m.Seq)
			}
			var n int
			if _, err := fmt.Sscanf(m.Content, "text %d", &n); err != nil {
				t.Fatalf("%s: message %d is %q", when, i, m.Content)
			}
			if sent, err := r.Sent(1, fmt.Sprint("id", n)); err != nil || sent.Seq != m.Seq {
				t.Fatalf("%s: message %d: its client_msg_id gives %+v, %v", when, n, sent, err)
			}
		}
		for _, n := range acks {
			if !there[fmt.Sprint("text ", n)] {
				t.Fatalf("%s: message %d was acked and is lost; acked were %v, there are %d", when, n, acks, len(list))
			}
		}
		return nil
	})
	// And life goes on.
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := tx.NewUserID()
		return err
	})
}

// step is which of the points in time a test of all of them looks at: each, in
// a plain run; `make test` makes one besides the run with the race detector, in
// which the driver is ten times slower.
func step() int {
	if testing.Short() || raceDetector {
		return 7
	}
	return 1
}

func TestPowerCutAtEveryPoint(t *testing.T) {
	d := newDisk(t)
	d.record = true
	acks, results, err := script(t.TempDir(), d, d.ack)
	if err != nil || len(acks) != 8 {
		t.Fatalf("acked %v, heard %v, %v", acks, results, err)
	}
	t.Logf("%d points", len(d.log))
	for n := 0; n <= len(d.log); n += step() {
		for name, survives := range map[string]func() bool{"nothing": nothing, "some": some(uint64(n))} {
			files, acks := d.after(n, survives)
			dir := t.TempDir()
			files.put(t, dir)
			holds(t, dir, acks, fmt.Sprintf("power cut after action %d, %s unsynced survives", n, name))
		}
	}
}

func TestFaultAtEveryPoint(t *testing.T) {
	d := newDisk(t)
	if _, _, err := script(t.TempDir(), d, func(int) {}); err != nil {
		t.Fatal(err)
	}
	points := d.ops
	t.Logf("%d points", points)
	for n := 1; n <= points; n += step() {
		for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
			for _, lasting := range []bool{false, true} {
				when := fmt.Sprintf("%v at action %d, lasting: %v", errno, n, lasting)
				d := newDisk(t)
				var hit action
				d.fails(func(a action) error {
					// A full disk takes no writes, but syncs what it has.
					if a.n < n || a.n > n && (!lasting || errno == syscall.ENOSPC && a.kind != write) {
						return nil
					}
					if hit.n == 0 {
						hit = a
					}
					return errno
				})
				dir := t.TempDir()
				acks, results, err := script(dir, d, func(int) {})
				for _, err := range results {
					if err != nil && chat.CodeOf(err) != chat.CodeUnavailable && !errors.Is(err, chat.ErrNotFound) {
						t.Fatalf("%s: an update heard %v", when, err)
					}
				}
				if errno == syscall.ENOSPC && !lasting && hit.kind == write && len(results) > 0 {
					// Nothing but the batch in the middle of it was lost.
					if len(acks) < 6 || err != nil {
						t.Fatalf("%s (%s of %s): acked only %v, heard %v, %v", when, hit.kind, hit.file, acks, results, err)
					}
				}
				holds(t, dir, acks, when)
			}
		}
	}
}

func TestFailedSyncIsTheEndOfWriting(t *testing.T) {
	d := newDisk(t)
	s, err := tryOpen(t.TempDir(), d.on)
	if err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := newChat(tx, 1)
		return err
	})
	d.fails(func(a action) error {
		if a.kind == syncing {
			return syscall.EIO
		}
		return nil
	})
	write := func(tx chat.Tx) error {
		_, err := send(tx, 1, 1, "a", "hello")
		return err
	}
	if err := update(s, write); chat.CodeOf(err) != chat.CodeUnavailable {
		t.Errorf("the update whose fsync failed heard %v", err)
	}
	<-s.Failed()
	if !errors.Is(s.Err(), sqlite3.IOERR_FSYNC) {
		t.Errorf("Err is %v", s.Err())
	}
	d.fails(nil) // the disk says it is well again: nobody may believe it
	if err := update(s, write); chat.CodeOf(err) != chat.CodeUnavailable {
		t.Errorf("an update after the failed fsync heard %v", err)
	}
	view(t, s, func(r chat.Reader) error {
		if _, err := r.Message(1, 2); !errors.Is(err, chat.ErrNotFound) {
			t.Errorf("a view after the failed fsync saw the message: %v", err)
		}
		return nil
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A full disk is told of once, and not for each update that it refuses: the log may
// be on it, too. So is its end.
func TestFullDiskIsToldOnce(t *testing.T) {
	d, dir := newDisk(t), t.TempDir()
	var out bytes.Buffer // read when nothing is under way
	var now atomic.Int64
	now.Store(1e12)
	s := open(t, dir, d.on, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(&out, nil))
		c.Now = func() time.Time { return time.UnixMilli(now.Load()) }
	})
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := newChat(tx, 1)
		return err
	})
	sendText := func(n int) error {
		return update(s, func(tx chat.Tx) error {
			_, err := send(tx, 1, 1, fmt.Sprint("id", n), "hello")
			return err
		})
	}
	d.fails(noRoomFor(dbName + "-wal"))
	for n := range 50 {
		if n == 40 {
			now.Add(time.Minute.Milliseconds())
		}
		if err := sendText(n); chat.CodeOf(err) != chat.CodeUnavailable {
			t.Fatalf("an update heard %v", err)
		}
		mustUpdate(t, s, func(chat.Tx) error { return nil }) // what changes nothing says nothing of the disk
	}
	d.fails(nil)
	must(t, sendText(50), sendText(51), s.Close())
	for line, n := range map[string]int{
		"the disk is full: nothing is written until there is room": 2,
		"refused=1 ":               1,
		"refused=41 ":              1,
		"dir=" + dir + " refused=": 3,
		"there is room on the disk again, and writing goes on": 1,
		"refused=50\n": 1,
	} {
		if got := strings.Count(out.String(), line); got != n {
			t.Errorf("%q is in the log %d times, want %d:\n%s", line, got, n, out.String())
		}
	}
}

func TestFullDiskRecoversWhenThereIsSpace(t *testing.T) {
	d := newDisk(t)
	s := open(t, t.TempDir(), d.on)
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := newChat(tx, 1)
		return err
	})
	sendText := func(id string) error {
		return update(s, func(tx chat.Tx) error {
			_, err := send(tx, 1, 1, id, "hello")
			return err
		})
	}
	d.fails(func(a action) error {
		if a.kind == write {
			return syscall.ENOSPC
		}
		return nil
	})
	for range 3 {
		if err := sendText("a"); chat.CodeOf(err) != chat.CodeUnavailable {
			t.Fatalf("with a full disk an update heard %v", err)
		}
	}
	d.fails(nil)
	if err := sendText("b"); err != nil {
		t.Fatalf("with space again an update heard %v", err)
	}
	view(t, s, func(r chat.Reader) error {
		list, err := r.Messages(1, 0, 1<<60, 10, false)
		if len(list) != 1 || list[0].Seq != 2 {
			t.Errorf("the failed sends took numbers: %+v", list)
		}
		return err
	})
	if err := s.Err(); err != nil {
		t.Errorf("a full disk ended writing: %v", err)
	}
}

// A commit reaches the log as one write and one sync, however many pages and
// updates are in it (it used to be two writes per page).
func TestGroupCommitSharesWritesAndSyncs(t *testing.T) {
	d := newDisk(t)
	s := open(t, t.TempDir(), d.on)
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := newChat(tx, 1)
		return err
	})
	// Hold the writer until all are queued behind it.
	started, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	var order []int
	wg.Add(101)
	syncs, writes := 0, 0
	d.fails(func(a action) error {
		switch {
		case a.kind == syncing:
			syncs++
		case a.kind == write && a.file == dbName+"-wal":
			writes++
		}
		return nil
	})
	s.Update(chat.Op{Run: func(chat.Tx) error {
		close(started)
		<-release
		return nil
	}}, func(error) { wg.Done() })
	<-started
	for i := range 100 {
		s.Update(chat.Op{Run: func(tx chat.Tx) error {
			_, err := send(tx, 1, 1, fmt.Sprint(i), "hello")
			return err
		}}, func(err error) {
			if err != nil {
				t.Error(err)
			}
			order = append(order, i)
			wg.Done()
		})
	}
	close(release)
	wg.Wait()
	d.fails(nil)
	if syncs > 2 || writes > 4 {
		t.Errorf("100 pipelined updates took %d syncs and %d writes to the log", syncs, writes)
	}
	if !slices.IsSorted(order) || len(order) != 100 {
		t.Errorf("the dones came in the order %v", order)
	}
}

// logSize is the length of the write-ahead log.
func logSize(t *testing.T, dir string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, dbName+"-wal"))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// Each small commit made the log longer, and was synced by two writes.
func TestLogGrowsInSteps(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := newChat(tx, 1)
		return err
	})
	var sizes []int64
	for n := range 200 {
		mustUpdate(t, s, func(tx chat.Tx) error {
			_, err := send(tx, 1, 1, fmt.Sprint(n), body)
			return err
		})
		sizes = append(sizes, logSize(t, dir))
	}
	if last := slices.Compact(slices.Clone(sizes[100:])); len(last) > 25 {
		t.Errorf("in 100 commits the log had %d lengths: %v", len(last), last)
	}
	// Each page has 24 bytes in front of it there.
	if used := s.Stats().WALBytes; sizes[199] > used+used/100+walAhead {
		t.Errorf("the log has %d bytes, of which %v are used", sizes[199], used)
	}
}

func TestLogStaysBounded(t *testing.T) {
	const bound = 64 * pageSize
	dir := t.TempDir()
	s := open(t, dir, func(c *Config) { c.WALBound = bound })
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := newChat(tx, 1)
		return err
	})
	sent := 0
	write := func(n int) (largest int64) {
		for range n {
			sent++
			mustUpdate(t, s, func(tx chat.Tx) error {
				_, err := send(tx, 1, 1, fmt.Sprint(sent), body)
				return err
			})
			largest = max(largest, logSize(t, dir))
		}
		return largest
	}
	if largest := write(300); largest > 2*bound {
		t.Errorf("with nobody reading the log grew to %d bytes; its bound is %d", largest, bound)
	}

	// A view keeps its snapshot, and with it the log, only until it ends.
	view(t, s, func(r chat.Reader) error {
		before, err := r.LastStamp()
		if err != nil {
			return err
		}
		if largest := write(60); largest <= bound {
			t.Errorf("beside an old view the log has only %d bytes", largest)
		}
		if after, err := r.LastStamp(); err != nil || after != before {
			t.Errorf("the view went from %d to %d, %v", before, after, err)
		}
		return nil
	})
	write(60)
	if size := logSize(t, dir); size > 2*bound {
		t.Errorf("after the old view the log still has %d bytes; its bound is %d", size, bound)
	}

	// Readers that never stop looking, each time at a new snapshot.
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := s.View(context.Background(), func(r chat.Reader) error {
					_, err := r.Messages(1, 0, 1<<60, 20, true)
					return err
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	largest := write(500)
	close(stop)
	readers.Wait()
	if largest > 8*bound {
		t.Errorf("beside busy readers the log grew to %d bytes; its bound is %d", largest, bound)
	}
}

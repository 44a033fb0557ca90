package transfer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// memory is a Store in memory, which can be told to fail, or to keep something
// else than it was given.
type memory struct {
	facts Facts
	rows  map[string][]Row // sorted

	calls  int
	fail   func(call int, done bool) error // asked before and after each call that writes
	change func(t *Table, put []Row) []Row // nil: what is put is kept
}

func newMemory() *memory {
	return &memory{rows: map[string][]Row{}, facts: Facts{Empty: true, Alone: true, Counters: map[string]int64{}}}
}

func (m *memory) Facts(context.Context) (Facts, error) {
	f := m.facts
	f.Empty = len(m.rows["users"])+len(m.rows["chats"]) == 0
	f.Counters = maps.Clone(f.Counters)
	return f, nil
}

func (m *memory) find(t *Table, key Row) (int, bool) {
	return slices.BinarySearchFunc(m.rows[t.Name], key, func(a, b Row) int { return a.compare(b, t.Keys) })
}

func (m *memory) Rows(_ context.Context, t *Table, after Row, limit int) ([]Row, error) {
	list := m.rows[t.Name]
	if after != nil {
		i, found := m.find(t, after)
		if found {
			i++
		}
		list = list[i:]
	}
	return slices.Clone(list[:min(limit, len(list))]), nil
}

func (m *memory) doing(do func()) error {
	m.calls++
	if m.fail != nil {
		if err := m.fail(m.calls, false); err != nil {
			return err
		}
	}
	do()
	if m.fail != nil {
		return m.fail(m.calls, true)
	}
	return nil
}

func (m *memory) Write(_ context.Context, t *Table, drop, put []Row) (err error) {
	for _, row := range put {
		if _, found := m.find(t, row); found && !slices.ContainsFunc(drop, func(d Row) bool { return d.compare(row, t.Keys) == 0 }) {
			return fmt.Errorf("%v is there already", row)
		}
	}
	return m.doing(func() {
		for _, row := range drop {
			i, found := m.find(t, row)
			if !found {
				err = fmt.Errorf("%v is not there", row)
				return
			}
			m.rows[t.Name] = slices.Delete(m.rows[t.Name], i, i+1)
		}
		if m.change != nil {
			put = m.change(t, put)
		}
		for _, row := range put {
			i, _ := m.find(t, row)
			m.rows[t.Name] = slices.Insert(m.rows[t.Name], i, row)
		}
	})
}

func (m *memory) Begin(_ context.Context, in Incoming) error {
	return m.doing(func() { m.facts.Incoming = in })
}

func (m *memory) Leave(_ context.Context, out Moved) error {
	return m.doing(func() { m.facts.Moved = out })
}

func (m *memory) Finish(_ context.Context, f Facts) error {
	return m.doing(func() {
		m.facts = Facts{Epoch: f.Epoch, Stamp: f.Stamp, Counters: maps.Clone(f.Counters), Alone: true}
	})
}

// servable says whether a server would start on it.
func (m *memory) servable() bool {
	return m.facts.Epoch != "" && Servable(m.facts.Incoming.String(), m.facts.Moved.String()) == nil
}

// draw fills a store with random rows, of which few have the same key.
func (m *memory) draw(rt *rapid.T) {
	m.facts.Epoch, m.facts.Stamp = "7f3a", rapid.Int64Range(0, 100).Draw(rt, "stamp")
	m.facts.Counters = map[string]int64{"user": 9, "chat": 7, "invite": 0, "session": 1}
	for _, t := range Tables {
		m.rows[t.Name] = nil
		m.change = nil
		for range rapid.IntRange(0, 8).Draw(rt, t.Name) {
			row := make(Row, len(t.Columns))
			for i, c := range t.Columns {
				switch {
				case i >= t.Keys && rapid.IntRange(0, 3).Draw(rt, "null") == 0:
					row[i].Null = true
				case c.Kind == Int:
					row[i].Int = rapid.Int64Range(1, 4).Draw(rt, c.Name)
				case c.Kind == Bool:
					row[i].Int = rapid.Int64Range(0, 1).Draw(rt, c.Name)
				default:
					row[i].Bytes = append([]byte{}, rapid.SampledFrom([]string{"", "a", "\x00", "ab"}).Draw(rt, c.Name)...)
				}
			}
			if i, found := m.find(t, row); !found {
				m.rows[t.Name] = slices.Insert(m.rows[t.Name], i, row)
			}
		}
	}
}

func (m *memory) clone() *memory {
	c := &memory{facts: m.facts, rows: map[string][]Row{}}
	for name, rows := range m.rows {
		c.rows[name] = slices.Clone(rows)
	}
	return c
}

func small(t *testing.T) {
	for _, table := range Tables {
		chunk := table.chunk
		table.chunk = 3
		t.Cleanup(func() { table.chunk = chunk })
	}
}

func sameRows(t *rapid.T, from, to *memory) {
	t.Helper()
	for _, table := range Tables {
		if a, b := from.rows[table.Name], to.rows[table.Name]; !slices.EqualFunc(a, b, Row.same) {
			t.Fatalf("%s: %v became %v", table.Name, a, b)
		}
	}
}

// Whatever is there of the same history becomes what is there now, although the
// copy is ended at every call that writes, before or after it took effect; and
// at no moment can both be served.
func TestCopyIsEndedAnywhere(t *testing.T) {
	small(t)
	rapid.Check(t, func(rt *rapid.T) {
		from, to := newMemory(), newMemory()
		if rapid.Bool().Draw(rt, "back again") {
			to.draw(rt)
			to.facts.Moved = Moved{Copy: "1", To: "elsewhere"}
		}
		from.draw(rt)
		errKilled := errors.New("killed")
		for k := 1; ; k++ {
			for _, when := range []bool{false, true} {
				fail := func(call int, done bool) error {
					if call == k && done == when {
						return errKilled
					}
					return nil
				}
				from.calls, to.calls = 0, 0
				from.fail, to.fail = nil, fail
				if rapid.Bool().Draw(rt, "at the source") {
					from.fail, to.fail = func(_ int, done bool) error {
						if done == when {
							return errKilled
						}
						return nil
					}, nil
				}
				r, err := Copy(t.Context(), Config{From: from, To: to, ToName: "there"})
				if from.servable() && to.servable() {
					rt.Fatal("both can be served")
				}
				if err == nil {
					if !r.Finished || !to.servable() || from.servable() {
						rt.Fatalf("finished: %+v, %+v", r, to.facts)
					}
					sameRows(rt, from, to)
					return
				}
				if !errors.Is(err, errKilled) {
					if to.servable() && strings.Contains(err.Error(), "moved there already") {
						sameRows(rt, from, to) // it was killed behind its last step
						return
					}
					rt.Fatal(err)
				}
			}
		}
	})
}

// A store that keeps another row than it was given, or none, is found out,
// whichever table and column it is.
func TestCheckFindsEveryColumn(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		from := newMemory()
		from.draw(rt)
		for _, table := range Tables {
			for column := -1; column < len(table.Columns); column++ {
				if len(from.rows[table.Name]) == 0 {
					continue
				}
				source, to := from.clone(), newMemory()
				source.facts.Alone = true
				to.change = func(t *Table, put []Row) []Row {
					if t != table || len(put) == 0 {
						return put
					}
					if column < 0 {
						return put[1:]
					}
					row := slices.Clone(put[0])
					switch v := &row[column]; {
					case v.Null:
						v.Null = false
						v.Int = 0
					case t.Columns[column].Kind == Int || t.Columns[column].Kind == Bool:
						v.Int += 77
					default:
						v.Bytes = append(slices.Clone(v.Bytes), 'x')
					}
					return append([]Row{row}, put[1:]...)
				}
				_, err := Copy(t.Context(), Config{From: source, To: to})
				if err == nil || !strings.Contains(err.Error(), table.Name) {
					rt.Fatalf("column %d of %s was lost: %v", column, table.Name, err)
				}
				if to.servable() || !source.servable() {
					rt.Fatal("it can be served all the same")
				}
				// What is damaged is put right when it is tried again.
				to.change = nil
				if r, err := Copy(t.Context(), Config{From: source, To: to}); err != nil || !r.Finished {
					rt.Fatal(err)
				}
				sameRows(rt, source, to)
			}
		}
	})
}

// Who may be copied where.
func TestAdmission(t *testing.T) {
	one, two := Incoming{"k1", "e1"}, Incoming{"k2", "e2"}
	moved := Moved{Copy: "k1", To: "there"}
	served := Facts{Epoch: "e1", Alone: true}
	empty := Facts{Epoch: "e9", Empty: true, Alone: true}
	for _, c := range []struct {
		name     string
		fork     bool
		from, to Facts
		refused  string // empty: it may
	}{
		{"into nothing", false, served, empty, ""},
		{"from a server that runs", false, Facts{Epoch: "e1"}, empty, ""},
		{"into a server that runs", false, served, Facts{Epoch: "e9", Empty: true}, "stop it"},
		{"on", false, served, Facts{Epoch: "e9", Alone: true, Incoming: one}, ""},
		{"on, of something else", false, served, Facts{Epoch: "e9", Alone: true, Incoming: two}, "another history"},
		{"into something else", false, served, Facts{Epoch: "e2", Alone: true}, "something else in it"},
		{"into another moved store", false, served, Facts{Epoch: "e2", Alone: true, Moved: moved}, "something else in it"},
		{"into the same history", false, served, served, "the same history"},
		{"back", false, served, Facts{Epoch: "e1", Alone: true, Moved: moved}, ""},
		{"an unfinished copy", false, Facts{Epoch: "e1", Alone: true, Incoming: one}, empty, "unfinished copy"},
		{"nothing", false, Facts{Alone: true}, empty, "nothing was ever stored"},
		{"after a kill at the end", false, Facts{Epoch: "e1", Alone: true, Moved: moved}, Facts{Alone: true, Incoming: one}, ""},
		{"what was moved elsewhere, on", false, Facts{Epoch: "e1", Alone: true, Moved: Moved{Copy: "k3", To: "there"}}, Facts{Alone: true, Incoming: one}, "moved to there"},
		{"what was moved elsewhere", false, Facts{Epoch: "e1", Alone: true, Moved: moved}, empty, "moved to there"},
		{"what was moved, to what was moved on", false, Facts{Epoch: "e1", Alone: true, Moved: moved}, Facts{Epoch: "e1", Alone: true, Moved: moved}, "moved to there"},
		{"twice", false, Facts{Epoch: "e1", Alone: true, Moved: moved}, served, "moved there already"},
		{"a fork of what was moved", true, Facts{Epoch: "e1", Alone: true, Moved: moved}, empty, ""},
		{"a fork onto the same history", true, served, Facts{Epoch: "e1", Alone: true, Moved: moved}, "the same history"},
		{"a fork onto something else", true, served, Facts{Epoch: "e2", Alone: true}, "something else in it"},
	} {
		id, err := admit(c.fork, c.from, c.to)
		if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) || (err == nil) != (id != "") {
			t.Errorf("%s: %q, %v, want %q", c.name, id, err, c.refused)
		}
	}
}

// What a server that runs goes on to say comes along with the second run; a fork
// of it is done at once, with an epoch of its own.
func TestCopyOfAServerThatRuns(t *testing.T) {
	small(t)
	rapid.Check(t, func(rt *rapid.T) {
		from, to := newMemory(), newMemory()
		from.draw(rt)
		from.facts.Alone = false
		fork := newMemory()
		r, err := Copy(t.Context(), Config{From: from, To: fork, Fork: true})
		if err != nil || !r.Finished || !fork.servable() || !from.servable() || fork.facts.Epoch == from.facts.Epoch {
			rt.Fatalf("a fork: %+v, %v, %+v", r, err, fork.facts)
		}
		if r, err := Copy(t.Context(), Config{From: from, To: to}); err != nil || r.Finished || to.servable() || !from.servable() {
			rt.Fatalf("the first run: %+v, %v", r, err)
		}
		from.draw(rt)
		from.facts.Alone = true
		if r, err := Copy(t.Context(), Config{From: from, To: to}); err != nil || !r.Finished || !to.servable() || from.servable() {
			rt.Fatalf("the second run: %+v, %v", r, err)
		}
		sameRows(rt, from, to)
		if to.facts.Epoch != "7f3a" || to.facts.Stamp != from.facts.Stamp {
			rt.Errorf("it says of itself %+v", to.facts)
		}
	})
}

// watched is a Store that notes how much is dropped in one transaction.
type watched struct {
	*memory

	most int // bytes
}

func (w *watched) Write(ctx context.Context, t *Table, drop, put []Row) error {
	n := 0
	for _, row := range drop {
		n += row.size()
	}
	w.most = max(w.most, n)
	return w.memory.Write(ctx, t, drop, put)
}

// What goes is in memory until it is gone, as is what comes.
func TestWhatIsDroppedIsBoundedInBytes(t *testing.T) {
	from, to := newMemory(), &watched{memory: newMemory()}
	from.facts.Epoch, from.facts.Alone = "7f3a", true
	to.facts.Incoming = Incoming{Copy: "c", Epoch: "7f3a"}
	for i := range 200 {
		row := Row{{Int: int64(i + 1)}, {Bytes: []byte("hash")}, {Bytes: []byte("image/png")}, {Bytes: make([]byte, 64<<10)}}
		to.rows["avatars"] = append(to.rows["avatars"], row)
	}
	if _, err := Copy(t.Context(), Config{From: from, To: to}); err != nil {
		t.Fatal(err)
	}
	if n := len(to.rows["avatars"]); n != 0 || to.most > mostBytes+128<<10 {
		t.Errorf("%d rows are left; %d bytes at once", n, to.most)
	}
}

package modeltest

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/pgtest"
	"github.com/grima-chat/grima/internal/queue"
	"github.com/grima-chat/grima/protocol"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

var (
	seeds = flag.Int("model.seeds", 0, "how many scenarios TestModel plays (0: what a test run has time for)")
	seed  = flag.Uint64("model.seed", 0, "the one scenario to play (0: many)")
	first = flag.Uint64("model.first", 1, "the first of many")
	nodes = flag.Int("model.nodes", 1, "how many servers share the store")
)

// scenario is what TestModel plays. Under the race detector it is shorter, not
// another one.
func scenario(seed uint64) Options {
	o := Options{Seed: seed, Crashes: true, Hints: true, Comings: seed%4 == 0, Nodes: *nodes}
	o.Workers = []queue.Design{queue.Sharded, queue.Shared, queue.PerClient}[seed%3]
	if underRace {
		o.Rounds, o.Steps, o.Devices = 3, 10, 6
	}
	return o
}

// Random people on devices with bad connections, and a server that dies: see
// the package. To look for what is rare:
//
//	go test ./internal/modeltest -run 'TestModel$' -model.seeds=1000 -timeout 0 -v
func TestModel(t *testing.T) {
	list := []uint64{*seed}
	if *seed == 0 {
		n := *seeds
		switch {
		case n == 0 && underRace:
			n = 3 // one with each of the designs of workers
		case n == 0:
			n = 12
		}
		list = nil
		for i := range uint64(n) {
			list = append(list, *first+i)
		}
	}
	total, begun := map[string]int{}, time.Now()
	for i, s := range list {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			v, counts := Run(t, scenario(s))
			if v != nil {
				t.Fatal(v)
			}
			for what, n := range counts {
				total[what] += n
			}
		})
		if t.Failed() {
			break
		}
		if (i+1)%50 == 0 {
			t.Logf("%d of %d scenarios in %v: %s", i+1, len(list), time.Since(begun).Round(time.Second), tally(total))
		}
	}
	t.Log(tally(total))
}

// The same on three servers with one store. Devices are on another one each time
// that they come back; what a server hears of its own updates comes later than
// the others may read them; their bus loses, doubles and holds back what it is
// given, and is cut; and servers come and go.
func TestModelOfNodes(t *testing.T) { together(t, false, 2, 6) }

// The same with a PostgreSQL between them: each server writes by itself, chats
// are committed side by side, and each hears only of its own commits, when it
// has the time. Any of the servers may come and go.
func TestModelOnPostgres(t *testing.T) { together(t, true, 2, 2) }

// together plays so many scenarios with several servers.
func together(t *testing.T, onPostgres bool, race, slow int) {
	n := *seeds
	switch {
	case n == 0 && underRace:
		n = race
	case n == 0:
		n = slow
	}
	total := map[string]int{}
	for i := range uint64(n) {
		t.Run(fmt.Sprint(*first+i), func(t *testing.T) {
			o := scenario(*first + i)
			o.Nodes, o.Postgres = max(3, *nodes), onPostgres
			v, counts := Run(t, o)
			if v != nil {
				t.Fatalf("%v -model.nodes=%d", v, o.Nodes)
			}
			for what, n := range counts {
				total[what] += n
			}
		})
		if t.Failed() {
			break
		}
	}
	t.Log(tally(total))
}

// A reader who is more than 1,000 numbers behind is told a gap, reads what is
// behind it, and has everything like the others.
func TestLongBacklog(t *testing.T) {
	script := func(w *World) {
		reader, sender := w.devices[0], w.devices[1]
		p := protocol.ChatsCreateParams{Kind: "group", Title: "Port", UserIDs: []string{reader.person.id}}
		var made protocol.ChatsCreateResult
		if err := sender.call(protocol.OpChatsCreate, p, &made); err != nil {
			t.Fatal(err)
		}
		id := made.Chat.ChatID
		until(w, reader, id, 1)
		reader.stall()
		const many = 1500
		for range many {
			sender.send(protocol.MessageSendParams{ChatID: id}, 300)
		}
		until(w, sender, id, many)
	}
	v, counts := Run(t, Options{Seed: 1, People: 2, Devices: 2, Rounds: 1, Lines: []line{plain}, Script: script})
	if v != nil {
		t.Fatal(v)
	}
	if counts["gap"] == 0 {
		t.Error("nobody was told a gap")
	}
}

// until waits until a device has a chat up to seq.
func until(w *World, d *device, chat string, seq int64) {
	late := time.NewTimer(w.opts.Patience)
	defer late.Stop()
	w.await(d, func() string {
		if at := d.State().Chats[chat].LastSeq; at < seq {
			return fmt.Sprintf("it has chat %s up to %d of %d", chat, at, seq)
		}
		return ""
	}, late.C)
}

func tally(counts map[string]int) string {
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "%d %s, ", counts[what], what)
	}
	return strings.TrimSuffix(b.String(), ", ")
}

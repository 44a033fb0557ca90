package metrics

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/limits"
	"github.com/grima-chat/grima/internal/password"
	"github.com/grima-chat/grima/internal/queue"
	"github.com/grima-chat/grima/internal/server"
	"github.com/grima-chat/grima/protocol"
)

// everything is a registry in which each metric has a value.
func everything(t *testing.T) *prometheus.Registry {
	t.Helper()
	requests := NewRequests()
	requests.Request(protocol.OpMessageSend, "", 3*time.Millisecond)
	requests.Request(protocol.OpMessageSend, protocol.CodeRateLimited, time.Millisecond)
	requests.Request("no.such.op", protocol.CodeUnknownOp, time.Millisecond)
	requests.Login(protocol.MechanismToken, "")
	requests.HTTP("GET /v1/sync", 200, time.Millisecond)
	h := Histogram{Count: 3, Sum: 12, Buckets: []Bucket{{1, 1}, {4, 2}}}
	return NewRegistry(Config{
		Version: "v1.2.3", Commit: "c0ffee",
		Requests: requests,
		Limits:   limits.New(limits.Config{}).Stats,
		Server: func() server.Stats {
			return server.Stats{
				Connections: []server.Connections{{Kind: "lines", TLS: true, Known: true, Open: 7}, {Kind: "new", Open: 1}},
				Max:         900, Accepted: 100, Refused: map[string]uint64{"full": 1, "address": 2, "strangers": 3},
			}
		},
		Passwords: func() password.Stats { return password.Stats{Hashed: 5, Waited: 1500 * time.Millisecond} },
		Failure:   func() error { return errors.New("broken") },
		Store: func() Store {
			return Store{BatchUpdates: h, CommitSeconds: h, Checkpoints: h, Stalls: h}
		},
		Hub: func() hub.Stats { return hub.Stats{Runs: 3, Deliveries: 30, Dirty: 4} },
		Bus: func() Bus { return Bus{Connected: true, Reconnects: 2} },
		Stream: func() Stream {
			return Stream{FramesIn: 1, FramesOut: 2, Goodbyes: map[string]uint64{"slow_consumer": 9}}
		},
		Queue: func() queue.Stats {
			return queue.Stats{Depth: 3, Wait: queue.Histogram{Count: [24]uint64{0: 5, 2: 1, 23: 1}, Sum: time.Minute}}
		},
	})
}

const page = "../../docs/operations.md"

var row = regexp.MustCompile("(?m)^\\| `(grima_\\w+)` \\|.*\\|$")

// The page's table is what is exported: names, types, labels and help.
func TestPageListsTheMetrics(t *testing.T) {
	families, err := everything(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	var exported []string
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "grima_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		exported = append(exported, fmt.Sprintf("| `%s` | %s | %s | %s |",
			f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp()))
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	documented := row.FindAllString(string(b), -1)
	slices.Sort(exported)
	slices.Sort(documented)
	if d := cmp.Diff(exported, documented); d != "" {
		t.Errorf("the metrics (-code +page):\n%s", d)
	}
}

// What the page's rules and the dashboard look at is there.
func TestRulesNameMetricsThatThereAre(t *testing.T) {
	families, err := everything(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, f := range families {
		known[f.GetName()] = true
		if f.GetType() == dto.MetricType_HISTOGRAM {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				known[f.GetName()+part] = true
			}
		}
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	rules := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```").FindAllStringSubmatch(string(b), -1)
	named := 0
	for _, r := range rules {
		for _, name := range regexp.MustCompile(`\b(?:grima|go|process)_[a-z_]+`).FindAllString(r[1], -1) {
			named++
			if !known[name] {
				t.Errorf("%s is not a metric", name)
			}
		}
	}
	if named < 5 {
		t.Errorf("only %d metrics named in rules", named)
	}
	for _, name := range []string{"go_goroutines", "go_sync_mutex_wait_total_seconds_total", "process_resident_memory_bytes"} {
		if !known[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestNamesAndHelpAreAsPrometheusWantsThem(t *testing.T) {
	problems, err := testutil.GatherAndLint(everything(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "grima_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestValues(t *testing.T) {
	want := `
# HELP grima_connections Open connections, by what they speak, whether in TLS, and whether somebody is logged in.
# TYPE grima_connections gauge
grima_connections{kind="lines",state="known",tls="yes"} 7
grima_connections{kind="new",state="stranger",tls="no"} 1
# HELP grima_deliveries_total Runs of events taken by connections, each counted for each; over grima_event_runs_total it is the fan-out.
# TYPE grima_deliveries_total counter
grima_deliveries_total 30
# HELP grima_store_commit_updates Updates in each committed transaction.
# TYPE grima_store_commit_updates histogram
grima_store_commit_updates_bucket{le="1"} 1
grima_store_commit_updates_bucket{le="4"} 2
grima_store_commit_updates_bucket{le="+Inf"} 3
grima_store_commit_updates_sum 12
grima_store_commit_updates_count 3
# HELP grima_password_hash_wait_seconds_total Time that passwords waited for their turn.
# TYPE grima_password_hash_wait_seconds_total counter
grima_password_hash_wait_seconds_total 1.5
# HELP grima_store_failed 1 when the store cannot write any more, else 0.
# TYPE grima_store_failed gauge
grima_store_failed 1
# HELP grima_requests_total Requests carried out, through any door, by operation and by the code of their error (ok: none).
# TYPE grima_requests_total counter
grima_requests_total{code="ok",op="message.send"} 1
grima_requests_total{code="rate_limited",op="message.send"} 1
grima_requests_total{code="unknown_op",op="unknown"} 1
`
	var names []string
	for _, m := range regexp.MustCompile(`# TYPE (\S+)`).FindAllStringSubmatch(want, -1) {
		names = append(names, m[1])
	}
	if err := testutil.GatherAndCompare(everything(t), strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

func TestHistogramOfDoublings(t *testing.T) {
	h := durations(queue.Histogram{Count: [24]uint64{0: 5, 2: 1, 23: 1}, Sum: time.Minute})
	if h.Count != 7 || h.Sum != 60 || len(h.Buckets) != 23 {
		t.Fatalf("%+v", h)
	}
	for i, want := range []Bucket{{1e-6, 5}, {2e-6, 5}, {4e-6, 6}, {8e-6, 6}} {
		if h.Buckets[i] != want {
			t.Errorf("bucket %d: %+v, want %+v", i, h.Buckets[i], want)
		}
	}
}

// Clients choose what they call an operation, a mechanism and a path: they make
// no series of their own.
func TestClientsMakeNoLabels(t *testing.T) {
	r := NewRequests()
	before := series(t, r)
	for i := range 1000 {
		r.Request(fmt.Sprint("op.", i), protocol.CodeUnknownOp, time.Millisecond)
		r.Login(fmt.Sprint("MECHANISM-", i), protocol.CodeInvalidRequest)
		r.HTTP("", 404, time.Millisecond)
	}
	if n := series(t, r) - before; n != 3 {
		t.Errorf("%d series more", n)
	}
}

func series(t *testing.T, r *Requests) (n int) {
	t.Helper()
	families, err := NewRegistry(Config{Requests: r}).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "grima_") {
			n += len(f.GetMetric())
		}
	}
	return n
}

func BenchmarkRequest(b *testing.B) {
	r := NewRequests()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Request(protocol.OpMessageSend, "", time.Millisecond)
		}
	})
}

// Package metrics shows Prometheus what the rooms are doing
// (docs/operations.md#metrics). The rooms know nothing of it: most have a
// Stats() that is read when somebody asks, and what has to be measured as it
// happens is told to a Requests.
package metrics

import (
	"log/slog"
	"net/http"
	"regexp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/limits"
	"github.com/grima-chat/grima/internal/password"
	"github.com/grima-chat/grima/internal/queue"
	"github.com/grima-chat/grima/internal/server"
)

// Config says what there is to show. What is nil is not shown.
type Config struct {
	Version, Commit string

	Requests  *Requests
	Limits    func() limits.Stats
	Server    func() server.Stats
	Passwords func() password.Stats
	Failure   func() error // why the store cannot write any more; nil: it can
	Store     func() Store
	Hub       func() hub.Stats
	Bus       func() Bus
	Stream    func() Stream
	Queue     func() queue.Stats
}

// NewRegistry makes a registry of all there is to show, the Go runtime and the
// process included.
func NewRegistry(cfg Config) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		// How long goroutines waited for mutexes says how much they are in each
		// other's way. What a collection found alive is all of the heap that is
		// in use; those that were asked for are the server's tidying up.
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(
			collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^(/sync/mutex/wait/total:seconds|/gc/heap/live:bytes|/gc/cycles/forced:gc-cycles)$`)},
		)),
		buildInfo(cfg.Version, cfg.Commit),
	)
	if cfg.Requests != nil {
		r.MustRegister(cfg.Requests.all()...)
	}
	show(r, cfg.Limits, ofLimits)
	show(r, cfg.Server, ofServer)
	show(r, cfg.Passwords, ofPasswords)
	show(r, cfg.Failure, ofFailure)
	show(r, cfg.Store, ofStore)
	show(r, cfg.Hub, ofHub)
	show(r, cfg.Bus, ofBus)
	show(r, cfg.Stream, ofStream)
	show(r, cfg.Queue, ofQueue)
	return r
}

// show registers what stats tells, if there is something to tell.
func show[S any](r *prometheus.Registry, stats func() S, of func(func() S) source) {
	if stats != nil {
		r.MustRegister(of(stats))
	}
}

// Handler shows r to whoever asks; who may is for others to say. Two may ask
// at once.
func Handler(r *prometheus.Registry, log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelError),
		MaxRequestsInFlight: 2,
	})
}

// source is a prometheus.Collector of what is read when somebody asks.
type source struct {
	families []*family
	read     func(sink)
}

func (s source) Describe(out chan<- *prometheus.Desc) {
	for _, f := range s.families {
		out <- f.desc
	}
}

func (s source) Collect(out chan<- prometheus.Metric) { s.read(sink{out}) }

// family is a metric and its labels.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// Histogram is observations by size.
type Histogram struct {
	Count   uint64
	Sum     float64
	Buckets []Bucket // by ascending Most; what is above the last is in Count alone
}

// Bucket is how many observations were at most Most, those of the buckets
// before it included.
type Bucket struct {
	Most  float64
	Count uint64
}

func counter(name, help string, labels ...string) *family {
	return &family{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue}
}

func gauge(name, help string, labels ...string) *family {
	return &family{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue}
}

// histogram is a family whose values are Histograms.
func histogram(name, help string) *family {
	return &family{desc: prometheus.NewDesc(name, help, nil, nil)}
}

// sink gives a family's value to who asked.
type sink struct{ out chan<- prometheus.Metric }

func (s sink) value(f *family, v float64, labels ...string) {
	s.out <- prometheus.MustNewConstMetric(f.desc, f.kind, v, labels...)
}

func (s sink) histogram(f *family, h Histogram) {
	buckets := make(map[float64]uint64, len(h.Buckets))
	for _, b := range h.Buckets {
		buckets[b.Most] = b.Count
	}
	s.out <- prometheus.MustNewConstHistogram(f.desc, h.Count, h.Sum, buckets)
}

func buildInfo(version, commit string) prometheus.Collector {
	info := gauge("grima_build_info", "Which Grima this is; the value is 1.", "version", "commit")
	return source{[]*family{info}, func(s sink) { s.value(info, 1, version, commit) }}
}

// sorted are the keys of a map, so that what is shown has an order.
func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

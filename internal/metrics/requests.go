package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/protocol"
)

// Requests counts requests as they are answered. It implements api.Observer,
// and HTTP is what httpapi observes with.
type Requests struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	byOp     map[string]prometheus.Observer
	logins   *prometheus.CounterVec
	http     *prometheus.CounterVec
	httpTime prometheus.Histogram
	reports  prometheus.Counter
}

// unknownOp stands for whatever is no operation, so that clients cannot make up
// labels.
const unknownOp = "unknown"

// times are the bounds of the histograms of requests, in seconds: from what
// needs no store to what times out.
var times = []float64{0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10}

// NewRequests makes a Requests.
func NewRequests() *Requests {
	r := &Requests{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "grima_requests_total",
			Help: "Requests carried out, through any door, by operation and by the code of their error (ok: none).",
		}, []string{"op", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "grima_request_seconds",
			Help:    "Time from a request's turn to its answer; that of sends includes the commit.",
			Buckets: times,
		}, []string{"op"}),
		byOp: make(map[string]prometheus.Observer),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "grima_logins_total",
			Help: "Tries to log in with session.start, by mechanism and by the code of their error (ok: none).",
		}, []string{"mechanism", "code"}),
		http: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "grima_http_requests_total",
			Help: "HTTP requests, by route (none: nothing there) and status; 101 is a connection taken over, as by a WebSocket.",
		}, []string{"route", "status"}),
		httpTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "grima_http_request_seconds",
			Help:    "Time from an HTTP request's headers to its answer, waiting by the limits on rates included.",
			Buckets: times,
		}),
		reports: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "grima_csp_reports_total",
			Help: "Reports of browsers that the content security policy kept the web client from something; there should be none.",
		}),
	}
	for _, op := range api.Operations() {
		r.byOp[op.Name] = r.seconds.WithLabelValues(op.Name)
	}
	return r
}

func (r *Requests) all() []prometheus.Collector {
	return []prometheus.Collector{r.requests, r.seconds, r.logins, r.http, r.httpTime, r.reports}
}

// Request implements api.Observer.
func (r *Requests) Request(op string, code protocol.Code, took time.Duration) {
	if seconds, known := r.byOp[op]; known {
		seconds.Observe(took.Seconds())
	} else {
		op = unknownOp
	}
	r.requests.WithLabelValues(op, ok(code)).Inc()
}

// Login implements api.Observer.
func (r *Requests) Login(mechanism string, code protocol.Code) {
	switch mechanism {
	case protocol.MechanismPlain, protocol.MechanismToken, protocol.MechanismCookie:
	default:
		mechanism = unknownOp
	}
	r.logins.WithLabelValues(mechanism, ok(code)).Inc()
}

// HTTP counts a request to one of the server's routes; empty: to none of them.
func (r *Requests) HTTP(route string, status int, took time.Duration) {
	if route == "" {
		route = "none"
	}
	r.http.WithLabelValues(route, strconv.Itoa(status)).Inc()
	r.httpTime.Observe(took.Seconds())
}

// Report counts a browser's report of what the web client was kept from.
func (r *Requests) Report() { r.reports.Inc() }

func ok(code protocol.Code) string {
	if code == "" {
		return "ok"
	}
	return string(code)
}

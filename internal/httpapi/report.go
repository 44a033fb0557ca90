package httpapi

import (
	"cmp"
	"io"
	"mime"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/protocol"
)

// reportPath is where browsers tell what the web client's policy kept it from.
// It does nothing that the policy forbids, so each report is of a fault of ours,
// of something that a browser's extension did, or of an attack.
const reportPath = "/v1/csp-report"

const (
	maxReport  = 16 << 10 // bytes
	reportsLog = 10       // of a kind that are logged in a minute
)

// reports are how many of what strangers bring about were logged lately.
type reports struct {
	mu     sync.Mutex
	minute time.Time
	logged int
}

// mayLog reports whether one more may be logged.
func (r *reports) mayLog(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.minute) >= time.Minute {
		r.minute, r.logged = now, 0
	}
	r.logged++
	return r.logged <= reportsLog
}

// cspReport takes a report, counts it, and logs what is worth knowing of it: not
// the sample of what was stopped, which may be what somebody wrote.
func (h *handler) cspReport(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code protocol.Code, message string) {
		writeProblem(w, status, protocol.NewError(code, message))
	}
	switch media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); {
	case err == nil && (media == "application/csp-report" || media == "application/json"):
	default:
		refuse(http.StatusUnsupportedMediaType, protocol.CodeInvalidRequest, "the Content-Type must be application/csp-report")
		return
	}
	if h.Reported != nil {
		h.Reported() // whatever else it is: something was kept from something
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReport))
	if err != nil {
		w.Header().Set("Connection", "close")
		refuse(http.StatusRequestEntityTooLarge, protocol.CodeFrameTooLarge, "the report is too large, or did not arrive whole")
		return
	}
	var report struct {
		CSP struct {
			Document  string         `json:"document-uri"`
			Directive string         `json:"effective-directive"`
			Violated  string         `json:"violated-directive"`
			Blocked   string         `json:"blocked-uri"`
			Source    string         `json:"source-file"`
			Line      jsontext.Value `json:"line-number"`
		} `json:"csp-report"`
	}
	if err := json.Unmarshal(body, &report); err != nil {
		refuse(http.StatusBadRequest, protocol.CodeInvalidRequest, "this is no report of a content security policy")
		return
	}
	if c := report.CSP; h.reports.mayLog(time.Now()) {
		h.Log.Warn("a browser reports that the content security policy kept the web client from something",
			"directive", short(cmp.Or(c.Directive, c.Violated)), "blocked", short(c.Blocked),
			"page", short(c.Document), "source", short(c.Source), "line", short(string(c.Line)))
	}
	w.WriteHeader(http.StatusNoContent)
}

// short is the beginning of what a stranger wrote into the log.
func short(s string) string {
	const most = 120
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

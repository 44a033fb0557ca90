package api

import "time"

// timeLayout is how times stand on the wire: RFC 3339, UTC, milliseconds
// (docs/protocol.md#times). They are for display, never for order.
const timeLayout = "2006-01-02T15:04:05.000Z"

func appendTime(dst []byte, t time.Time) []byte { return t.UTC().AppendFormat(dst, timeLayout) }

// formatTime gives the empty string for the zero time.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeLayout)
}

// milliseconds makes a duration of a wire's integer without overflowing: what
// is too long to be a Duration is the longest, and for the rules to refuse.
func milliseconds(ms int64) time.Duration {
	const most = int64(1<<63-1) / int64(time.Millisecond)
	return time.Duration(min(max(ms, -most), most)) * time.Millisecond
}

//go:build linux

package main

import (
	"fmt"
	"slices"
	"time"
)

// series is one figure over the rounds.
type series []float64

func (s series) sorted() series {
	t := slices.Clone(s)
	slices.Sort(t)
	return t
}

func (s series) median() float64 {
	if len(s) == 0 {
		return 0
	}
	t := s.sorted()
	if n := len(t); n%2 == 0 {
		return (t[n/2-1] + t[n/2]) / 2
	}
	return t[len(t)/2]
}

func (s series) least() float64 {
	if len(s) == 0 {
		return 0
	}
	return slices.Min(s)
}

func (s series) greatest() float64 {
	if len(s) == 0 {
		return 0
	}
	return slices.Max(s)
}

// over divides round by round.
func (s series) over(t series) series {
	var r series
	for i := range min(len(s), len(t)) {
		if t[i] > 0 {
			r = append(r, s[i]/t[i])
		}
	}
	return r
}

// less subtracts round by round.
func (s series) less(t series) series {
	var r series
	for i := range min(len(s), len(t)) {
		r = append(r, s[i]-t[i])
	}
	return r
}

// spread prints median, least and greatest, with format for each.
func (s series) spread(format func(float64) string) string {
	if len(s) == 0 {
		return "-"
	}
	if len(s) == 1 {
		return format(s[0])
	}
	return fmt.Sprintf("%s (%s..%s)", format(s.median()), format(s.least()), format(s.greatest()))
}

// percentile is the smallest duration that p of them do not exceed; d is sorted.
func percentile(d []time.Duration, p float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	i := int(p*float64(len(d))+0.999999) - 1
	return d[min(max(i, 0), len(d)-1)]
}

// rate prints a number per second.
func rate(v float64) string {
	switch {
	case v >= 999_500:
		return fmt.Sprintf("%.1f M", v/1e6)
	case v >= 99_500:
		return fmt.Sprintf("%.0f k", v/1000)
	case v >= 1000:
		return fmt.Sprintf("%.1f k", v/1000)
	}
	return fmt.Sprintf("%.0f", v)
}

func ratio(v float64) string { return fmt.Sprintf("%.2f", v) }

// millis and micros print a number of seconds.
func millis(v float64) string { return fmt.Sprintf("%.2f", v*1e3) }
func micros(v float64) string { return fmt.Sprintf("%.0f", v*1e6) }

// signedMicros prints a difference of seconds.
func signedMicros(v float64) string { return fmt.Sprintf("%+.2f", v*1e6) }

func count(n int) string {
	switch {
	case n == 0:
		return "0"
	case n%1_000_000 == 0:
		return fmt.Sprintf("%d M", n/1_000_000)
	case n%1000 == 0:
		return fmt.Sprintf("%d k", n/1000)
	}
	return fmt.Sprint(n)
}

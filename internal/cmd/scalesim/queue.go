package main

import (
	"container/heap"
	"math"
	"slices"
)

// clock runs what is to happen in the order of its time; what is at one moment,
// in the order in which it was asked for.
type clock struct {
	now    float64 // seconds
	events events
	asked  int
}

type event struct {
	at  float64
	nth int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].nth < e[j].nth
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	old[len(old)-1].do = nil
	*e = old[:len(old)-1]
	return last
}

// at has do happen at a time that is not before now.
func (c *clock) at(t float64, do func()) {
	c.asked++
	heap.Push(&c.events, event{max(t, c.now), c.asked, do})
}

// run goes on until a time, or until nothing happens any more.
func (c *clock) run(until float64) {
	for len(c.events) > 0 && c.events[0].at <= until {
		e := heap.Pop(&c.events).(event)
		c.now = e.at
		e.do()
	}
}

// station is a queue before processors, first come, first served.
type station struct {
	free  []float64 // when each processor has done what it was given
	speed float64   // of one of them: 0.25 is a quarter of a processor
	busy  float64   // processor seconds given out
}

func newStation(processors int, speed float64) *station {
	return &station{free: make([]float64, processors), speed: speed}
}

// serve gives the station work that comes at now, which must not be before the
// one given last, and says when it is begun and done.
func (s *station) serve(now, work float64) (begun, done float64) {
	first := 0
	for i, t := range s.free {
		if t < s.free[first] {
			first = i
		}
	}
	took := work / s.speed
	begun = max(now, s.free[first])
	done = begun + took
	s.free[first] = done
	s.busy += took
	return begun, done
}

// disk is where a database's log is flushed: one flush at a time, which is for
// all who waited when it began.
type disk struct {
	c       *clock
	flush   float64
	busy    bool
	waiting []func()
	flushes int
}

func (d *disk) sync(then func()) {
	d.waiting = append(d.waiting, then)
	if !d.busy {
		d.next()
	}
}

func (d *disk) next() {
	all := d.waiting
	d.waiting = nil
	d.busy = len(all) > 0
	if !d.busy {
		return
	}
	d.flushes++
	d.c.at(d.c.now+d.flush, func() {
		for _, then := range all {
			then()
		}
		d.next()
	})
}

// histogram keeps times of weighted things, to a hundredth of each.
type histogram struct {
	counts map[int]float64
	total  float64
}

const (
	finest = 1e-6 // seconds
	grow   = 1.01
)

func (h *histogram) add(t, weight float64) {
	if h.counts == nil {
		h.counts = map[int]float64{}
	}
	h.counts[int(math.Log(max(t, finest)/finest)/math.Log(grow))] += weight
	h.total += weight
}

// quantile is a time that p of all are not above; 0 of none.
func (h *histogram) quantile(p float64) float64 {
	var places []int
	for i := range h.counts {
		places = append(places, i)
	}
	slices.Sort(places)
	sum := 0.0
	for _, i := range places {
		if sum += h.counts[i]; sum >= p*h.total {
			return finest * math.Pow(grow, float64(i)+0.5)
		}
	}
	return 0
}

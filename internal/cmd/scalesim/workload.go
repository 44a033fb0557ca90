package main

import (
	"math"
	"math/rand/v2"
)

// workload is what people do. All of it is assumed: other people are other
// figures, and the command has a flag for the most telling ones.
type workload struct {
	users      float64
	connected  float64 // connections per user at the busiest hour
	perDay     float64 // messages that a user sends in a day
	peak       float64 // the busiest hour's rate over the day's
	logins     float64 // per user and day
	requests   float64 // pages and looks at chats, per user and day
	chats      float64 // that a user is in
	private    float64 // share of messages in chats of two
	listening  float64 // connections per member of a chat in which somebody speaks
	smallest   float64 // a group's least size
	alpha      float64 // of the Pareto distribution of the size of the group of a message
	largest    float64 // and where it is cut off
	hot        int     // chats of very many
	hotReaders float64 // connected, of each
	hotRate    float64 // messages per second in each
}

// people is what so many do.
func people(users float64) workload {
	return workload{
		users: users, connected: 0.3, perDay: 40, peak: 3, logins: 10, requests: 60, chats: 30,
		private: 0.5, listening: 0.5, smallest: 4, alpha: 1.1, largest: min(10_000, users/10),
		hot: 10, hotReaders: min(users/100, 1e6), hotRate: 0.5,
	}
}

const day = 86400

// rate is messages per second at the busiest hour, without the hot chats.
func (w workload) rate() float64 { return w.users * w.perDay / day * w.peak }

func (w workload) connections() float64 { return w.users * w.connected }

// size is a group's, of which a share q of the messages are in smaller ones.
func (w workload) size(q float64) float64 {
	l, h := math.Pow(w.smallest, w.alpha), math.Pow(w.largest, w.alpha)
	return math.Pow(-(q*h-q*l-h)/(h*l), -1/w.alpha)
}

// listeners draws how many connections hear a message.
func (w workload) listeners(rng *rand.Rand) int {
	others := 1.0
	if rng.Float64() >= w.private {
		others = w.size(rng.Float64()) - 1
	}
	// The sender hears it too.
	return 1 + round(rng, others*w.listening)
}

// round rounds up or down such that the mean stays.
func round(rng *rand.Rand, v float64) int {
	n := math.Floor(v)
	if rng.Float64() < v-n {
		n++
	}
	return int(n)
}

// mean is the mean of f over the listeners of a message, by quantiles: many of
// them among the few large groups, where most of the listeners are.
func (w workload) mean(f func(listeners float64) float64) float64 {
	const parts = 500
	sum := w.private * f(1+w.listening)
	for i := range parts {
		u := (float64(i) + 0.5) / parts
		weight, q := 4*u*u*u/parts, 1-u*u*u*u
		sum += (1 - w.private) * weight * f(1+(w.size(q)-1)*w.listening)
	}
	return sum
}

// elsewhere is on how many of n nodes a message has listeners, besides the
// sender's.
func elsewhere(listeners float64, n int) float64 {
	if n == 1 {
		return 0
	}
	return float64(n-1) * (1 - math.Pow(1-1/float64(n), listeners-1))
}

// spread is what a message meets in the mean.
type spread struct {
	listeners float64
	others    float64 // nodes besides the sender's that read it
	relayed   float64 // and that have it over a tree
}

// spread is over so many nodes; a message to more than relays of them goes over
// a tree, if relays is not 0.
func (w workload) spread(nodes, relays int) spread {
	s := spread{listeners: w.mean(func(x float64) float64 { return x })}
	all := w.mean(func(x float64) float64 { return elsewhere(x, nodes) })
	s.others = all
	if relays > 0 {
		s.others = w.mean(func(x float64) float64 {
			if k := elsewhere(x, nodes); k <= float64(relays) {
				return k
			}
			return 0
		})
	}
	s.relayed = all - s.others
	return s
}

package main

// What bench-cluster and the others do: clients that go on when they have their answer.

// closedCase is a case of bench-cluster by its names there, or like one of its.
type closedCase struct {
	work, arrangement string
	sqlite            bool
	nodes             int
	share             float64 // 1: all of the machine
	senders           int     // 0: as many as there
	rooms, people     int     // of work that is not bench-cluster's
}

// outcome is what it gave, in the run and in the simulation.
type outcome struct {
	rate        float64 // sends or deliveries per second
	same, other float64 // seconds at the median to a listener at the sender's node, and elsewhere
}

// closed runs a case for so many seconds.
func closed(p params, k closedCase, seed uint64, seconds float64) *cluster {
	d := design{params: p, sqlite: k.sqlite, nodes: k.nodes, cores: 1, speed: k.share, databases: 1, coresDB: 2, machine: 2}
	c := newCluster(d, seed)
	c.from = seconds / 4
	measured := func() bool { return c.now >= c.from }
	switch k.work {
	case "sends to many chats", "sends to one chat":
		senders := 256
		if k.senders > 0 {
			senders = k.senders
		}
		for i := range senders {
			var say func()
			say = func() {
				chat, home := i%128, i%128%k.nodes
				if k.work == "sends to one chat" {
					chat, home = 0, i%k.nodes
				}
				c.send(&message{chat: chat, home: home, measured: measured(), acked: func() {
					if measured() {
						c.delivered++ // here: of answers
					}
					say()
				}})
			}
			say()
		}
	default:
		rooms, people := map[string]int{"teams": 128, "halls": 16, "quiet": 1}[k.work], map[string]int{"teams": 30, "halls": 300, "quiet": 3}[k.work]
		if rooms == 0 {
			rooms, people = k.rooms, k.people
		}
		for i := range rooms {
			at, readers := make([]int, k.nodes), make([]int, k.nodes)
			for n := range k.nodes {
				at[n] = n
			}
			for j := range people {
				readers[(i+j)%k.nodes]++
			}
			var say func()
			say = func() {
				c.send(&message{chat: -1, home: i % k.nodes, at: at, readers: readers, measured: measured(), complete: say})
			}
			say()
		}
	}
	c.run(seconds)
	return c
}

// outcomeOf is what a run found.
func outcomeOf(c *cluster, seconds float64) outcome {
	return outcome{rate: float64(c.delivered) / (seconds - c.from), same: c.same.quantile(0.5), other: c.other.quantile(0.5)}
}

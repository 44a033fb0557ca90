package main

import "fmt"

// params are what things cost: processor seconds, seconds and bytes. calibrate
// takes them from what was measured, or they are assumed, and then said to be.
type params struct {
	// Of a node, by the store.
	sendSQLite, commitSQLite float64
	scanSQLite               float64
	sendNode, commitNode     float64 // on PostgreSQL: per send, and per commit whatever is in it
	tell                     float64 // a message to whoever listens here, without the deliveries
	delivery                 float64
	hint                     float64 // heard, of a chat that nobody here is in
	read                     float64 // what another node committed
	login, request           float64 // with sync; a page or a look at a chat
	idle                     float64 // per connection and second

	sendDB, commitDB float64 // of PostgreSQL: per send, and per commit
	readDB           float64 // one message for one node
	scanDB, scanNode float64 // one chat's position, for one node, every scanEvery: of PostgreSQL, and of the node

	copyNATS float64 // of NATS: one hint to one node

	flush float64 // of a log, seconds
	trip  float64 // between processes, there and back
	relay float64 // one message to one child in a tree of relays

	connBytes, routeBytes, placeBytes float64 // of a node: a connection, a chat of its, somebody connected elsewhere
	wireBytes                         float64
	rowBytes, logBytes                float64 // of PostgreSQL, per message
	client                            float64 // of whoever measures, per delivery: validation alone
	clientSend                        float64
}

const scanEvery = 5 // seconds; internal/hub

// calibrate takes what it can from the measurements of docs/bench-cluster.md.
//
// A send costs a + b/n where n of them share a commit; a lone message and a full
// load give two equations for the two. What a lone message wakes up is in b.
func calibrate(m measured) (p params, err error) {
	p = params{
		// docs/bench-live.md: reconnect storm, reads of 5,000 clients, memory of
		// idle clients in TLS; docs/notes.md: 64 bytes per route, 3 us for a
		// position that is scanned.
		login: 180e-6, request: 50e-6, connBytes: 9.3 * 1024, routeBytes: 64, scanSQLite: 3e-6,
		// What PostgreSQL's process ran for BenchmarkLastSeqs of
		// internal/store/postgres, on a busy machine.
		scanDB: 3.1e-6,
		// Assumed. A place in a map of who is connected elsewhere, a node's part in
		// comparing a position, and an event's bytes.
		placeBytes: 64, scanNode: 1e-6, wireBytes: 256,
	}
	us := func(table, work, arrangement, column string) float64 {
		v, e := m.number(table, work, arrangement, column)
		if e != nil && err == nil {
			err = e
		}
		return v * 1e-6
	}
	plain := func(table, work, arrangement, column string) float64 {
		return us(table, work, arrangement, column) * 1e6
	}

	// Deliveries, from where there are most of them per message.
	perMessage := us("Deliveries", "halls", "PostgreSQL, one node with the share of three", "node CPU, us per delivery")
	batch := plain("Durable sends", "sends to many chats", "PostgreSQL, one node", "sends per commit")
	full := us("Durable sends", "sends to many chats", "PostgreSQL, one node", "node CPU, us per send")
	p.delivery = perMessage - full/300
	p.tell = 3 * p.delivery // a goroutine begun, and a message encoded
	lone := us("A lone", "", "PostgreSQL, one node", "node CPU, us per message") - p.tell - 3*p.delivery
	p.commitNode = (lone - full) / (1 - 1/batch)
	p.sendNode = full - p.commitNode/batch
	fullDB := us("Durable sends", "sends to many chats", "PostgreSQL, one node", "PostgreSQL's")
	loneDB := us("A lone", "", "PostgreSQL, one node", "PostgreSQL's")
	p.commitDB = (loneDB - fullDB) / (1 - 1/batch)
	p.sendDB = fullDB - p.commitDB/batch

	fullLite := us("Durable sends", "sends to many chats", "SQLite, one node", "node CPU, us per send")
	loneLite := us("A lone", "", "SQLite, one node", "node CPU, us per message") - p.tell - 3*p.delivery
	p.sendSQLite, p.commitSQLite = fullLite, loneLite-fullLite

	p.hint = us("What else", "", "CPU of the node that hears hints alone, us per send", "found")
	listener := us("What else", "", "CPU of the node with a listener in every room, us per send", "found")
	// What is read together is told together, so that most of the telling is in
	// there: the sums that add tell to it are on the safe side.
	p.read = listener - p.hint - p.delivery
	ack := us("What else", "", "CPU of PostgreSQL, us per send", "found")
	// What of that is the sends': as those of one node, which all of them are at.
	p.readDB = ack - us("Durable sends", "sends to many chats", "PostgreSQL, one node", "PostgreSQL's")
	p.copyNATS = us("What else", "", "CPU of NATS, us per send", "found") / 2
	p.idle = us("What else", "", "CPU of the nodes per idle connection, us per second, PostgreSQL + NATS, three nodes", "found")
	p.logBytes = plain("Durable sends", "sends to many chats", "PostgreSQL + NATS, three nodes", "log, bytes per send")
	p.rowBytes = plain("What else", "", "bytes of a message in PostgreSQL's files: messages", "found") +
		plain("What else", "", "bytes of a message in PostgreSQL's files: sent", "found")
	p.relay = p.delivery

	p.clientSend = us("Durable sends", "sends to many chats", "PostgreSQL, one node", "the clients'")
	rate := plain("Deliveries", "halls", "PostgreSQL, one node with the share of three", "deliveries/s")
	machine := plain("Deliveries", "halls", "PostgreSQL, one node with the share of three", "machine")
	p.client = machine/rate - perMessage - us("Deliveries", "halls", "PostgreSQL, one node with the share of three", "PostgreSQL's")

	// What is left of a lone message's way after the work is waiting: for the
	// log's disk, and for what goes between processes, some six times there and
	// back on PostgreSQL.
	way := 1e3 * us("A lone", "", "PostgreSQL, one node", "to the sender's node p50 / p99, ms")
	work := lone + p.tell + 3*p.delivery + loneDB
	p.flush = 1e3 * us("A lone", "", "SQLite, one node", "to the sender's node p50 / p99, ms") / 3
	p.trip = max((way-work-p.flush)/6, 10e-6)
	if err != nil {
		return p, err
	}
	for name, v := range map[string]float64{
		"sendNode": p.sendNode, "commitNode": p.commitNode, "sendDB": p.sendDB, "commitDB": p.commitDB, "delivery": p.delivery,
		"hint": p.hint, "read": p.read, "readDB": p.readDB, "copyNATS": p.copyNATS, "client": p.client, "commitSQLite": p.commitSQLite, "flush": p.flush,
	} {
		if !(v > 0) {
			return p, fmt.Errorf("%s comes out as %g s: the measurements do not fit together", name, v)
		}
	}
	return p, nil
}

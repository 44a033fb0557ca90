package metrics

import (
	"time"

	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/limits"
	"github.com/grima-chat/grima/internal/password"
	"github.com/grima-chat/grima/internal/queue"
	"github.com/grima-chat/grima/internal/server"
)

func ofLimits(stats func() limits.Stats) source {
	var (
		limited   = counter("grima_rate_limited_requests_total", "Requests above a rate, by what became of them (delayed, refused), what they cost, and by what was counted.", "action", "cost", "key")
		buckets   = gauge("grima_rate_limit_buckets", "Users and addresses whose requests are being counted.")
		forgotten = counter("grima_rate_limit_buckets_forgotten_total", "Users and addresses that had to be forgotten while they still counted for something: there were too many.")
		users     = gauge("grima_users_connected", "Users with live connections.")
		tooMany   = counter("grima_logins_refused_total", "Logins refused because the account had enough live connections.")
	)
	return source{[]*family{limited, buckets, forgotten, users, tooMany}, func(s sink) {
		now := stats()
		for _, r := range now.Rates {
			s.value(limited, float64(r.Delayed), "delayed", r.Cost.String(), r.Key.String())
			s.value(limited, float64(r.Refused), "refused", r.Cost.String(), r.Key.String())
		}
		s.value(buckets, float64(now.Buckets))
		s.value(forgotten, float64(now.Forgotten))
		s.value(users, float64(now.Users))
		s.value(tooMany, float64(now.TooMany))
	}}
}

func ofServer(stats func() server.Stats) source {
	var (
		open     = gauge("grima_connections", "Open connections, by what they speak, whether in TLS, and whether somebody is logged in.", "kind", "tls", "state")
		most     = gauge("grima_connections_max", "Connections that there can be.")
		accepted = counter("grima_connections_accepted_total", "Connections that were let in.")
		refused  = counter("grima_connections_refused_total", "Connections that were turned away, by why: the server is full, the address has enough, or enough that are not logged in.", "reason")
	)
	return source{[]*family{open, most, accepted, refused}, func(s sink) {
		now := stats()
		for _, c := range now.Connections {
			state, secure := "stranger", "no"
			if c.Known {
				state = "known"
			}
			if c.TLS {
				secure = "yes"
			}
			s.value(open, float64(c.Open), c.Kind, secure, state)
		}
		s.value(most, float64(now.Max))
		s.value(accepted, float64(now.Accepted))
		for _, reason := range sorted(now.Refused) {
			s.value(refused, float64(now.Refused[reason]), reason)
		}
	}}
}

func ofPasswords(stats func() password.Stats) source {
	var (
		hashed  = counter("grima_password_hashes_total", "Passwords hashed, to store or to check them.")
		refused = counter("grima_password_hashes_refused_total", "Passwords not hashed because too many others were waiting.")
		waiting = gauge("grima_password_hashes_waiting", "Passwords that wait for their turn to be hashed.")
		waited  = counter("grima_password_hash_wait_seconds_total", "Time that passwords waited for their turn.")
		took    = counter("grima_password_hash_seconds_total", "Time that hashing took.")
	)
	return source{[]*family{hashed, refused, waiting, waited, took}, func(s sink) {
		now := stats()
		s.value(hashed, float64(now.Hashed))
		s.value(refused, float64(now.Refused))
		s.value(waiting, float64(now.Waiting))
		s.value(waited, now.Waited.Seconds())
		s.value(took, now.Took.Seconds())
	}}
}

// Store is what the store did since its start, and how it stands.
type Store struct {
	BatchUpdates  Histogram // updates in each committed transaction
	CommitSeconds Histogram // from its begin to the end of its fsync
	FailedBatches uint64    // transactions of which nothing was stored
	Queued        int       // updates that are not committed or refused yet
	WALBytes      int64     // length of the write-ahead log

	// Checkpoints beside the writer, and those that held it up, in seconds.
	Checkpoints, Stalls Histogram
}

func ofStore(stats func() Store) source {
	var (
		batch         = histogram("grima_store_commit_updates", "Updates in each committed transaction.")
		commit        = histogram("grima_store_commit_seconds", "Time of each commit, from its begin to the end of its fsync.")
		failedBatches = counter("grima_store_commit_failures_total", "Transactions of which nothing was stored.")
		queued        = gauge("grima_store_updates_waiting", "Updates that are not committed or refused yet.")
		wal           = gauge("grima_store_wal_bytes", "Length of the write-ahead log.")
		checkpoint    = histogram("grima_store_checkpoint_seconds", "Time of each checkpoint beside the writer.")
		stall         = histogram("grima_store_checkpoint_stall_seconds", "Time of each checkpoint that held up all writes, as the write-ahead log had reached its bound.")
	)
	return source{[]*family{batch, commit, failedBatches, queued, wal, checkpoint, stall}, func(s sink) {
		now := stats()
		s.histogram(batch, now.BatchUpdates)
		s.histogram(commit, now.CommitSeconds)
		s.value(failedBatches, float64(now.FailedBatches))
		s.value(queued, float64(now.Queued))
		s.value(wal, float64(now.WALBytes))
		s.histogram(checkpoint, now.Checkpoints)
		s.histogram(stall, now.Stalls)
	}}
}

func ofFailure(why func() error) source {
	failed := gauge("grima_store_failed", "1 when the store cannot write any more, else 0.")
	return source{[]*family{failed}, func(s sink) {
		value := 0.0
		if why() != nil {
			value = 1
		}
		s.value(failed, value)
	}}
}

func ofHub(stats func() hub.Stats) source {
	var (
		subscribers = gauge("grima_subscribers", "Connections that hear events.")
		rooms       = gauge("grima_rooms", "Chats that somebody connected is in.")
		members     = gauge("grima_room_members", "Connections in each of these chats, summed.")
		dirty       = gauge("grima_dirty_chats", "Chats in which a connection lags and has to catch up from the store, summed over connections.")
		published   = counter("grima_events_published_total", "Committed events that the hub was told.")
		filled      = counter("grima_events_filled_total", "Events that the hub read from the store because nobody had told it in time.")
		events      = counter("grima_events_total", "Events that were handed out, joined or not.")
		runs        = counter("grima_event_runs_total", "Runs of events that were handed out; several events of a chat share one when there is much to tell.")
		deliveries  = counter("grima_deliveries_total", "Runs of events taken by connections, each counted for each; over grima_event_runs_total it is the fan-out.")
		refused     = counter("grima_deliveries_refused_total", "Runs of events not taken by connections that had no room for them, and lag from then on.")
		notices     = counter("grima_notices_total", "Ephemeral lines handed to connections: typing, read marks, people whose rows changed.")
		catchUps    = counter("grima_catch_ups_total", "Times that the rows a connection lagged behind were read from the store.")
		caughtUp    = counter("grima_caught_up_total", "Chats in which a connection stopped lagging.")
		gaps        = counter("grima_gaps_total", "Backlogs that were too long and told as a gap.")
		scans       = counter("grima_scans_total", "Times that the hub asked the store where its chats stand.")
		behind      = counter("grima_scans_found_behind_total", "Chats that such a scan found ahead of what the hub had told.")
		missing     = counter("grima_scans_found_missing_total", "Memberships that such a scan found and the hub had not known.")
		ended       = counter("grima_sessions_found_ended_total", "Sessions of connections that another server ended, as the store said.")
		nodes       = gauge("grima_nodes", "Servers of this store that are heard over the bus, this one included.")
		busPayloads = counter("grima_bus_payloads_total", "Payloads given to the bus (out), not taken by it (failed), brought by it (in), and of those the ones that no server says (garbage).", "result")
		busMissed   = counter("grima_bus_missed_total", "Times that the bus may have lost something, and the store was looked through for it.")
		busHints    = counter("grima_bus_hints_total", "Chats of which another server said how far they have got: news to a room here (news), or nothing new or nobody's concern here (else).", "result")
		busLooks    = counter("grima_bus_looks_total", "Memberships and read marks that were looked up because another server named them.")
	)
	all := []*family{
		subscribers, rooms, members, dirty, published, filled, events, runs, deliveries, refused,
		notices, catchUps, caughtUp, gaps, scans, behind, missing,
		ended, nodes, busPayloads, busMissed, busHints, busLooks,
	}
	return source{all, func(s sink) {
		now := stats()
		s.value(subscribers, float64(now.Subscribed))
		s.value(rooms, float64(now.Rooms))
		s.value(members, float64(now.Members))
		s.value(dirty, float64(now.Dirty))
		s.value(published, float64(now.Published))
		s.value(filled, float64(now.Filled))
		s.value(events, float64(now.Events))
		s.value(runs, float64(now.Runs))
		s.value(deliveries, float64(now.Deliveries))
		s.value(refused, float64(now.Refused))
		s.value(notices, float64(now.Notices))
		s.value(catchUps, float64(now.CatchUps))
		s.value(caughtUp, float64(now.CaughtUp))
		s.value(gaps, float64(now.Gaps))
		s.value(scans, float64(now.Scans))
		s.value(behind, float64(now.FoundBehind))
		s.value(missing, float64(now.FoundMissing))
		s.value(ended, float64(now.FoundEnded))
		s.value(nodes, float64(now.Bus.Nodes))
		s.value(busPayloads, float64(now.Bus.Sent), "out")
		s.value(busPayloads, float64(now.Bus.Failed), "failed")
		s.value(busPayloads, float64(now.Bus.Received), "in")
		s.value(busPayloads, float64(now.Bus.Garbage), "garbage")
		s.value(busMissed, float64(now.Bus.Missed))
		s.value(busHints, float64(now.Bus.Useful), "news")
		s.value(busHints, float64(now.Bus.Hints-now.Bus.Useful), "else")
		s.value(busLooks, float64(now.Bus.Looks))
	}}
}

// Bus is the connection to the other servers.
type Bus struct {
	Connected         bool
	Reconnects        int64 // times that it was lost and is back
	Dropped           int64 // times that payloads were dropped because the hub was too slow
	BytesIn, BytesOut uint64
}

func ofBus(stats func() Bus) source {
	var (
		connected  = gauge("grima_bus_connected", "1 while there is a connection to the bus, else 0; 0 without a bus.")
		reconnects = counter("grima_bus_reconnects_total", "Times that the connection to the bus was lost and is back.")
		dropped    = counter("grima_bus_dropped_total", "Times that payloads were dropped because they came faster than they were taken.")
		bytes      = counter("grima_bus_bytes_total", "Bytes of payloads from the bus (in) and to it (out).", "direction")
	)
	return source{[]*family{connected, reconnects, dropped, bytes}, func(s sink) {
		now := stats()
		value := 0.0
		if now.Connected {
			value = 1
		}
		s.value(connected, value)
		s.value(reconnects, float64(now.Reconnects))
		s.value(dropped, float64(now.Dropped))
		s.value(bytes, float64(now.BytesIn), "in")
		s.value(bytes, float64(now.BytesOut), "out")
	}}
}

// Stream is what connections did since the start, and how they stand.
type Stream struct {
	FramesIn, FramesOut uint64
	BytesIn, BytesOut   uint64
	Writes              uint64            // to sockets
	OutboxBytes         int64             // that wait to be written
	Goodbyes            map[string]uint64 // by code
}

func ofStream(stats func() Stream) source {
	var (
		frames   = counter("grima_frames_total", "Lines and messages read (in) and written (out).", "direction")
		bytes    = counter("grima_frame_bytes_total", "Bytes read (in) and written (out) on connections.", "direction")
		writes   = counter("grima_writes_total", "Writes to connections; frames that gathered share one.")
		outbox   = gauge("grima_outbox_bytes", "Bytes that wait to be written to connections.")
		goodbyes = counter("grima_goodbyes_total", "Connections that the server ended, by why; slow_consumer is who did not read.", "code")
	)
	return source{[]*family{frames, bytes, writes, outbox, goodbyes}, func(s sink) {
		now := stats()
		s.value(frames, float64(now.FramesIn), "in")
		s.value(frames, float64(now.FramesOut), "out")
		s.value(bytes, float64(now.BytesIn), "in")
		s.value(bytes, float64(now.BytesOut), "out")
		s.value(writes, float64(now.Writes))
		s.value(outbox, float64(now.OutboxBytes))
		for _, code := range sorted(now.Goodbyes) {
			s.value(goodbyes, float64(now.Goodbyes[code]), code)
		}
	}}
}

// durations makes a histogram of one whose buckets double.
func durations(d queue.Histogram) Histogram {
	h := Histogram{Sum: d.Sum.Seconds()}
	for i, n := range d.Count {
		h.Count += n
		if i < len(d.Count)-1 {
			h.Buckets = append(h.Buckets, Bucket{Most: (time.Microsecond << i).Seconds(), Count: h.Count})
		}
	}
	return h
}

func ofQueue(stats func() queue.Stats) source {
	var (
		clients = gauge("grima_queue_clients", "Clients that workers serve.")
		ready   = gauge("grima_queue_depth", "Clients that are ready and wait for a worker.")
		workers = gauge("grima_workers", "Workers that serve clients.")
		wait    = histogram("grima_queue_wait_seconds", "Time that each client waited for a worker.")
		turn    = histogram("grima_turn_seconds", "Time of each turn that a client was served.")
	)
	return source{[]*family{clients, ready, workers, wait, turn}, func(s sink) {
		now := stats()
		s.value(clients, float64(now.Clients))
		s.value(ready, float64(now.Depth))
		s.value(workers, float64(now.Workers))
		s.histogram(wait, durations(now.Wait))
		s.histogram(turn, durations(now.Turn))
	}}
}

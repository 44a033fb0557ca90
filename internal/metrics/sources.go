package metrics

import (
	"github.com/grima-chat/grima/internal/limits"
	"github.com/grima-chat/grima/internal/password"
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

// Hub is what live delivery did since its start, and how it stands.
type Hub struct {
	Subscribers int       // connections that hear events
	Rooms       int       // chats that somebody connected is in
	FanOut      Histogram // deliveries of each event
	DirtyChats  int       // chats of connections that have to catch up
	CatchUps    uint64    // pages that were read for who lagged
	Gaps        uint64    // backlogs that were left out
	Rescans     uint64    // chats of which the hub missed something itself
}

func ofHub(stats func() Hub) source {
	var (
		subscribers = gauge("grima_subscribers", "Connections that hear events.")
		rooms       = gauge("grima_rooms", "Chats that somebody connected is in.")
		fanOut      = histogram("grima_event_deliveries", "Connections that each event was delivered to.")
		dirty       = gauge("grima_dirty_chats", "Chats in which a connection lags and has to catch up from the store, summed over connections.")
		catchUps    = counter("grima_catch_ups_total", "Times that the rows a connection lagged behind were read from the store.")
		gaps        = counter("grima_gaps_total", "Backlogs that were too long and told as a gap.")
		rescans     = counter("grima_rescans_total", "Changes that the hub learned of from the store and not by their publication.")
	)
	return source{[]*family{subscribers, rooms, fanOut, dirty, catchUps, gaps, rescans}, func(s sink) {
		now := stats()
		s.value(subscribers, float64(now.Subscribers))
		s.value(rooms, float64(now.Rooms))
		s.histogram(fanOut, now.FanOut)
		s.value(dirty, float64(now.DirtyChats))
		s.value(catchUps, float64(now.CatchUps))
		s.value(gaps, float64(now.Gaps))
		s.value(rescans, float64(now.Rescans))
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

// Queue is how clients are given to workers.
type Queue struct {
	Ready   int       // clients that wait for a worker
	Workers int       // that there are
	Wait    Histogram // seconds from being ready to the beginning of the turn
	Turn    Histogram // seconds
}

func ofQueue(stats func() Queue) source {
	var (
		ready   = gauge("grima_queue_clients", "Clients that are ready and wait for a worker.")
		workers = gauge("grima_workers", "Workers that serve clients.")
		wait    = histogram("grima_queue_wait_seconds", "Time that each client waited for a worker.")
		turn    = histogram("grima_turn_seconds", "Time of each turn that a client was served.")
	)
	return source{[]*family{ready, workers, wait, turn}, func(s sink) {
		now := stats()
		s.value(ready, float64(now.Ready))
		s.value(workers, float64(now.Workers))
		s.histogram(wait, now.Wait)
		s.histogram(turn, now.Turn)
	}}
}

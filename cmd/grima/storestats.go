package main

import (
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/metrics"
	"github.com/grima-chat/grima/internal/store/batch"
	"github.com/grima-chat/grima/internal/store/sqlite"
	"github.com/grima-chat/grima/internal/stream"
)

// restOf is what gives back what a store keeps beside its rows; nil if it keeps
// nothing.
func restOf(store chat.Store) func() {
	if store, ok := store.(interface{ Rest() }); ok {
		return store.Rest
	}
	return nil
}

// reachOf says why a store that has not failed is out of reach; nil if it always
// is within.
func reachOf(store chat.Store) func() error {
	if store, ok := store.(interface{ Reach() error }); ok {
		return store.Reach
	}
	return nil
}

// failureOf says why a store cannot write any more.
func failureOf(store chat.Store) func() error {
	reach := reachOf(store)
	if reach == nil {
		return store.Err
	}
	return func() error {
		if err := store.Err(); err != nil {
			return err
		}
		return reach()
	}
}

// ofStore is what metrics are told of a store; nil if it keeps no count.
func ofStore(store chat.Store) func() metrics.Store {
	switch store := store.(type) {
	case interface{ Stats() sqlite.Stats }:
		return func() metrics.Store {
			s := store.Stats()
			of := ofWriter(s.Stats)
			of.WALBytes, of.Checkpoints, of.Stalls = s.WALBytes, histogram(s.Checkpoints), histogram(s.Stalls)
			return of
		}
	case interface{ Stats() batch.Stats }:
		return func() metrics.Store { return ofWriter(store.Stats()) }
	}
	return nil
}

func ofWriter(s batch.Stats) metrics.Store {
	return metrics.Store{
		BatchUpdates: histogram(s.BatchUpdates), CommitSeconds: histogram(s.CommitSeconds),
		FailedBatches: s.Failed, Queued: s.Queued,
	}
}

func histogram(h batch.Histogram) metrics.Histogram {
	out := metrics.Histogram{Count: h.Count, Sum: h.Sum}
	for _, b := range h.Buckets {
		out.Buckets = append(out.Buckets, metrics.Bucket(b))
	}
	return out
}

// ofStream is what metrics are told of the connections.
func ofStream(lines *stream.Server) func() metrics.Stream {
	return func() metrics.Stream {
		s := lines.Stats()
		goodbyes := make(map[string]uint64, len(s.Goodbyes))
		for code, n := range s.Goodbyes {
			goodbyes[string(code)] = n
		}
		return metrics.Stream{
			FramesIn: s.FramesIn, FramesOut: s.FramesOut, BytesIn: s.BytesIn, BytesOut: s.BytesOut,
			Writes: s.Writes, OutboxBytes: s.OutboxBytes, Goodbyes: goodbyes,
		}
	}
}

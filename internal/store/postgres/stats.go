package postgres

import "github.com/grima-chat/grima/internal/store/batch"

// Stats gives what the store did since Open; most transactions that failed were
// tried again. It is cheap enough to be asked once a second, and works after Close.
func (s *Store) Stats() batch.Stats { return s.writer.stats.Stats(s.writer.Queued()) }

package sqlite

import (
	"context"
	"log/slog"
	"sync"
)

var background = context.Background()

// failure remembers the first reason why the store can never write again.
type failure struct {
	log    *slog.Logger
	failed chan struct{} // closed when there is one
	mu     sync.Mutex
	err    error
}

func (f *failure) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return
	}
	f.err = err
	close(f.failed)
	f.log.Error("the store stops writing", "error", err)
}

func (f *failure) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

package batch

import (
	"log/slog"
	"sync"
)

// Failure remembers the first reason why a store can never write again.
type Failure struct {
	log    *slog.Logger
	failed chan struct{} // closed when there is one
	mu     sync.Mutex
	err    error
}

// NewFailure makes one without a reason.
func NewFailure(log *slog.Logger) *Failure {
	return &Failure{log: log, failed: make(chan struct{})}
}

// Set ends writing because of err, unless it has ended.
func (f *Failure) Set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return
	}
	f.err = err
	close(f.failed)
	f.log.Error("the store stops writing", "error", err)
}

// Err is the reason; nil: there is none yet.
func (f *Failure) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Failed is closed when there is a reason.
func (f *Failure) Failed() <-chan struct{} { return f.failed }

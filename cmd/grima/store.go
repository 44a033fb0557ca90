//go:build !grimabench

package main

import (
	"context"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/postgres"
	"github.com/grima-chat/grima/internal/store/sqlite"
)

// openStore opens the store that a server keeps everything in; cfg is for the
// one in its data directory.
func (f *dataFlags) openStore(ctx context.Context, cfg sqlite.Config) (chat.Store, error) {
	if f.shared() {
		return postgres.Open(ctx, postgres.Config{URL: f.Store, Log: cfg.Log})
	}
	return sqlite.Open(ctx, cfg)
}

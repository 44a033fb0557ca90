//go:build !grimabench

package main

import (
	"context"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/sqlite"
)

// openStore opens the store that a server keeps everything in.
func openStore(ctx context.Context, cfg sqlite.Config) (chat.Store, error) {
	return sqlite.Open(ctx, cfg)
}

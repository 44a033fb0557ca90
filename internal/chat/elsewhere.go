package chat

import "context"

// elsewhere is the key of who measures waits, in a context.
type elsewhere struct{}

// WithElsewhere makes a context whose views tell wait whenever they begin to wait
// for what another process does for them, as a database of its own does, and call
// back when its answer is there. Both come on the goroutine of the view. Waits for
// anything else, a connection or a turn, are not told.
func WithElsewhere(ctx context.Context, wait func() (back func())) context.Context {
	return context.WithValue(ctx, elsewhere{}, wait)
}

// Elsewhere is for a Store that waits as WithElsewhere says: it calls back when
// the answer is there.
func Elsewhere(ctx context.Context) (back func()) {
	if wait, ok := ctx.Value(elsewhere{}).(func() func()); ok {
		return wait()
	}
	return func() {}
}

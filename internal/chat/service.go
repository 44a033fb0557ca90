package chat

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Registration says who may make an account.
type Registration string

const (
	RegistrationInvite Registration = "invite" // whoever has an invite code
	RegistrationOpen   Registration = "open"   // anybody
	RegistrationClosed Registration = "closed" // nobody by themselves; admins add people, the operator also invites them
)

// Config is what a Service needs. Store, Publisher and Passwords are required.
type Config struct {
	Store        Store
	Publisher    Publisher
	Passwords    Passwords
	Registration Registration // empty: RegistrationInvite
	// NoLimits lifts the limits on rates (never those on sizes), for
	// `grima serve --dev`.
	NoLimits bool
	// Statuses says who is there, for those who may know. Nil: the operator does
	// not want anybody to know.
	Statuses func([]UserID) []Status
	// Underway is told of every update. It is needed where other processes write
	// to the same store (nil: nobody needs to know).
	Underway *Underway
	Log      *slog.Logger     // nil: slog.Default()
	Now      func() time.Time // nil: time.Now; only for what is outside transactions: expiry and rates
}

// Service is the rules. Its methods may be called from any goroutine. They
// return an *Error for everything a user can mend, and wrap everything else.
//
// Methods without a done wait for the commit; an expired ctx gives CodeTimeout,
// which for a write means "outcome unknown". Methods with a done return at once
// (see OnFull) and call it exactly once, from the store's done goroutine after
// the commit and before the event is published, or at once when nothing needs
// storing; done must not block.
type Service struct {
	cfg    Config
	rates  *throttle
	crowds crowds
}

// NewService makes a Service on cfg.
func NewService(cfg Config) *Service {
	if cfg.Registration == "" {
		cfg.Registration = RegistrationInvite
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Service{cfg: cfg}
	if !cfg.NoLimits {
		s.rates = newThrottle(maxBuckets)
	}
	return s
}

// Epoch is the store's.
func (s *Service) Epoch() string { return s.cfg.Store.Epoch() }

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }

// Actor is who asks. The zero Actor is somebody not logged in.
type Actor struct {
	User    UserID
	Session SessionID
	// Operator is whoever runs the server, on its own machine
	// (docs/operations.md#control-socket): they manage users and invites, and
	// have no chats of their own.
	Operator bool
}

var errNotLoggedIn = Errorf(CodeUnauthenticated, "log in first")

// person refuses whoever has no chats and sessions of their own.
func person(a Actor) error {
	switch {
	case a.User != 0:
		return nil
	case a.Operator:
		return Errorf(CodePermissionDenied, "the operator has no chats or sessions; log in as somebody")
	}
	return errNotLoggedIn
}

// anybody refuses only those who have not logged in.
func anybody(a Actor) error {
	if a.User == 0 && !a.Operator {
		return errNotLoggedIn
	}
	return nil
}

// view runs fn on a snapshot.
func (s *Service) view(ctx context.Context, doing string, fn func(Reader) error) error {
	return failed(doing, s.cfg.Store.View(ctx, fn))
}

// news is what there is to publish once a transaction is committed.
type news struct {
	events []Event
	ended  []SessionID
	place  *Participant // how somebody stands in a chat, which is their own affair
	read   bool         // place: they read on, which others may want to know
	seen   UserID       // who may look different now; 0: nobody
	row    UserID       // of whom what others see changed; 0: of nobody
	crowd  crowd        // who is in a chat was counted
}

func (n *news) event(e Event) {
	e.PrevSeq = e.Seq - 1
	n.events = append(n.events, e)
}

func (s *Service) publish(n news) {
	s.crowds.note(n.crowd)
	for _, e := range n.events {
		s.cfg.Publisher.Publish(e)
	}
	if n.place != nil {
		s.cfg.Publisher.PublishPlace(*n.place, n.read)
	}
	if n.seen != 0 {
		s.cfg.Publisher.PublishPresence(n.seen)
	}
	if n.row != 0 {
		s.cfg.Publisher.PublishUser(n.row)
	}
	if len(n.ended) > 0 {
		s.cfg.Publisher.EndSessions(n.ended)
	}
}

// enqueue runs run in a write transaction, with op's hints. When that has ended
// committed hears of it, from the store's done goroutine, and publishes the
// news.
func enqueue[T any](s *Service, doing string, op Op, run func(Tx, *news) (T, error), committed func(T, news, error)) {
	var (
		result T
		fresh  news
	)
	op.Run = func(tx Tx) error {
		// A store may run this again: everything is assigned anew.
		var n news
		r, err := run(tx, &n)
		result, fresh = r, n
		return err
	}
	end := func() {}
	if s.cfg.Underway != nil {
		end = s.cfg.Underway.begin(op.Chat)
	}
	s.cfg.Store.Update(op, func(err error) {
		defer end()
		if err != nil {
			var zero T
			committed(zero, news{}, failed(doing, err))
			return
		}
		committed(result, fresh, nil)
	})
}

// update is enqueue that waits. Its news is published before it returns.
func update[T any](ctx context.Context, s *Service, doing string, op Op, run func(Tx, *news) (T, error)) (T, error) {
	type outcome struct {
		result T
		err    error
	}
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, failed(doing, err)
	}
	answer := make(chan outcome, 1)
	enqueue(s, doing, op, run, func(result T, n news, err error) {
		s.publish(n)
		answer <- outcome{result, err}
	})
	select {
	case o := <-answer:
		return o.result, o.err
	case <-ctx.Done():
		return zero, failed(doing, ctx.Err())
	}
}

// Settle waits until all that was committed before is published.
func (s *Service) Settle(ctx context.Context) error {
	_, err := update(ctx, s, "waiting for what was committed", Op{}, func(Tx, *news) (none, error) { return none{}, nil })
	return err
}

// none is the result of an update that has none.
type none struct{}

// failed gives err, met while doing something, its code. The domain's own
// errors pass as they are; whatever else comes out of a store is the store's
// failure.
func failed(doing string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &Error{Code: CodeTimeout, Message: "it took too long; a write may or may not have happened", Cause: err}
	case errors.Is(err, ErrNotFound):
		// The rules ask for rows that must be there with missing: one is not.
		return Internal(doing+": the store misses a row", err)
	}
	return Unavailable("the server could not reach its store; try again", errors.Join(errors.New(doing), err))
}

// missing turns a Reader's ErrNotFound into then.
func missing(err, then error) error {
	if errors.Is(err, ErrNotFound) {
		return then
	}
	return err
}

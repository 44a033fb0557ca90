package faults

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Bounds of what is promised (docs/protocol.md#invariants, I16 among them).
const (
	// CompleteWithin is how long after a fault is healed everybody may wait for
	// what was said before.
	CompleteWithin = 5 * time.Second
	// RevokedWithin is how long a session may live on that another server ended.
	RevokedWithin = 5 * time.Second
)

// Talk says how much is said meanwhile.
type Talk struct {
	Chats int
	Rate  int           // messages per second and person
	Lead  time.Duration // of talk before the fault
	Late  time.Duration // when to give up waiting for what should come within the bounds
}

// Result is what came of a fault.
type Result struct {
	Name     string
	Lasted   time.Duration // from its beginning until it was healed
	Acked    int           // sends that were acknowledged
	Events   int           // messages that clients were told
	Complete time.Duration // until everything said before the healing was acknowledged, and told to everybody
	Silence  time.Duration // the longest that a client heard nothing, since its beginning
	// Revoked is how long sessions lived on that were ended in the middle of it,
	// at servers that can know; Later those at the others, since the healing. 0:
	// there were none.
	Revoked, Later time.Duration

	Wrong []string // promises that were broken
}

// Header is that of a table of results, in Markdown; Row is one in it.
const Header = "| fault | lasted | sends acknowledged | messages told | complete after | longest silence | sessions ended after | at servers cut off, after healing |\n|---|---|---|---|---|---|---|---|\n"

// Row is the result as a row of a table in Markdown.
func (r Result) Row() string {
	s := func(d time.Duration) string {
		switch {
		case d == 0:
			return ""
		case d < 10*time.Millisecond:
			return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
		case d < time.Second:
			return fmt.Sprintf("%d ms", d.Milliseconds())
		}
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("| %s | %s | %d | %d | %s | %s | %s | %s |\n", r.Name, s(r.Lasted), r.Acked, r.Events, s(r.Complete), s(r.Silence), s(r.Revoked), s(r.Later))
}

// Run lets a fault happen for a time, while people talk. The error says that
// it could not be carried out.
func (c *Cluster) Run(ctx context.Context, f Fault, lasts time.Duration, talk Talk) (r Result, err error) {
	r.Name = f.Name
	if f.cut == nil {
		f.cut = nobody
	}
	defer func() {
		if err != nil {
			for _, n := range c.nodes {
				err = errors.Join(err, fmt.Errorf("%s: %s", n.name, n.log()))
			}
		}
	}()
	l, err := c.talk(ctx, talk.Chats, talk.Rate)
	if err != nil {
		return r, err
	}
	defer l.stop()
	victims, err := c.victims()
	if err != nil {
		return r, err
	}
	defer func() {
		for _, v := range victims {
			v.conn.Close()
		}
	}()
	pause(ctx, talk.Lead)

	l.watching()
	began := time.Now()
	heal, err := f.do(ctx, c)
	if err != nil {
		return r, err
	}
	// Whose servers can know, and others can tell, hear of it meanwhile.
	var now, later []*victim
	for _, v := range victims {
		if f.cut(v.node) {
			later = append(later, v)
		} else {
			now = append(now, v)
		}
	}
	broken := func(err error) {
		if err != nil {
			l.fault("%v", err)
		}
	}
	if len(now) > 0 {
		pause(ctx, lasts/4)
		if err := c.revoke(ctx, victims, f.cut); err != nil {
			return r, errors.Join(err, heal())
		}
		r.Revoked, err = gone(now, time.Now(), talk.Late)
		broken(err)
	}
	pause(ctx, time.Until(began.Add(lasts)))
	if err := heal(); err != nil {
		return r, err
	}
	healed := time.Now()
	r.Lasted = healed.Sub(began)
	if len(now) == 0 {
		if err := c.retry(ctx, talk.Late, func() error { return c.revoke(ctx, victims, nobody) }); err != nil {
			return r, err
		}
	}
	r.Complete, err = l.complete(talk.Late)
	broken(err)
	r.Silence = l.silence()
	if len(later) > 0 {
		r.Later, err = gone(later, healed, talk.Late)
		broken(err)
	}
	// The end of the talk: everything that was begun is there, and with everybody.
	l.quiet()
	_, err = l.complete(talk.Late)
	broken(err)
	l.verify()
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Acked, r.Events = l.acked, l.events
	r.Wrong = append(r.Wrong, l.wrong...)
	if r.Acked == 0 {
		r.Wrong = append(r.Wrong, "nothing was said, so this proves nothing")
	}
	return r, nil
}

// Missed says which bounds a result is beyond.
func (r Result) Missed() (what []string) {
	if r.Complete > CompleteWithin {
		what = append(what, fmt.Sprintf("complete %v after healing, not %v", r.Complete, CompleteWithin))
	}
	if d := max(r.Revoked, r.Later); d > RevokedWithin {
		what = append(what, fmt.Sprintf("sessions ended after %v, not %v", d, RevokedWithin))
	}
	return what
}

// retry tries something until it works.
func (c *Cluster) retry(ctx context.Context, late time.Duration, try func() error) error {
	end := time.Now().Add(late)
	for {
		err := try()
		if err == nil || ctx.Err() != nil || time.Now().After(end) {
			return err
		}
		pause(ctx, 50*time.Millisecond)
	}
}

package modeltest

import (
	"math/rand/v2"
	"slices"
	"time"
)

// outage ends the server, in one way or another, and starts it again.
func (w *World) outage(rng *rand.Rand) {
	how := rng.IntN(4)
	clean := how == 0
	rewind := w.inProcess && how == 1 || w.opts.Without == Epoch || w.opts.Without == Durable
	if rewind {
		clean = false
	}
	w.setPlace()
	for _, d := range w.devices {
		if clean {
			d.calm()
		} else {
			d.outlet.drop(w)
		}
	}
	switch {
	case rewind:
		w.count("rewound")
		w.host.Crash(true)
		if w.opts.Without != Durable {
			w.said.rewind()
		}
	case clean:
		w.count("restarted")
		w.host.Restart()
	default:
		w.count("crashed")
		w.host.Crash(false)
	}
	w.setPlace(w.host.Addrs()...)
}

// loss ends one of several servers and starts it again. Who was connected to it
// goes to the others.
func (w *World) loss(rng *rand.Rand) {
	w.host.Lose(rng, func(addr string, clean bool) {
		others := slices.DeleteFunc(slices.Clone(w.host.Addrs()), func(a string) bool { return a == addr })
		w.setPlace() // nobody is on the way to it any more
		for _, d := range w.devices {
			switch {
			case d.outlet.where() != addr:
			case clean:
				d.calm()
			default:
				d.outlet.drop(w)
			}
		}
		w.setPlace(others...)
		w.count(map[bool]string{true: "a server stopped", false: "a server crashed"}[clean])
	})
	w.setPlace(w.host.Addrs()...)
}

// where is the address that the device's connection goes to.
func (o *outlet) where() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.wire == nil {
		return ""
	}
	return o.wire.RemoteAddr().String()
}

// connected is how many connections the device has had.
func (o *outlet) connected() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.conns
}

// drop cuts the device's connection and waits until the device knows. It gives
// how many connections the device has had so far.
func (o *outlet) drop(w *World) int {
	o.mu.Lock()
	wire, tap, conns := o.wire, o.tap, o.conns
	o.mu.Unlock()
	if wire == nil {
		return conns
	}
	wire.cut()
	late := time.NewTimer(w.opts.Patience)
	defer late.Stop()
	select {
	case <-tap.closed:
	case <-late.C:
		w.fail("the device", o.device+" does not close a connection that is gone", nil)
	}
	return conns
}

// stall makes the device stop reading, unless the server is to stop cleanly.
func (d *device) stall() {
	w := d.w
	d.outlet.mu.Lock()
	defer d.outlet.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.addrs) > 0 && (w.storm || w.opts.Script != nil) && d.outlet.wire != nil {
		d.outlet.wire.stall(true)
	}
}

// back ends what holds the device up.
func (d *device) back() {
	d.outlet.setAway(false)
	d.calm()
}

func (d *device) calm() {
	d.outlet.mu.Lock()
	wire := d.outlet.wire
	d.outlet.mu.Unlock()
	if wire != nil {
		wire.calm()
	}
}

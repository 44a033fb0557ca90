//go:build !linux

package aside

import "time"

const threadsHaveClocks = false

var start = time.Now()

// ran is the time on the clock.
func ran() usage { return usage{ran: time.Since(start)} }

// spent is nothing that anybody asks for here.
func spent() usage { return usage{} }

//go:build !linux

package aside

// lowerThread: threads have no priority of their own here.
func lowerThread() bool { return false }

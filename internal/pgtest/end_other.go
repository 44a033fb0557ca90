//go:build !linux

package pgtest

import "os/exec"

// endWithUs has the server stop when this process ends; not here.
func endWithUs(*exec.Cmd) {}

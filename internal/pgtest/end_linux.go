package pgtest

import (
	"os/exec"
	"syscall"
)

// endWithUs has the server stop when this process ends without having stopped it.
func endWithUs(cmd *exec.Cmd) { cmd.SysProcAttr.Pdeathsig = syscall.SIGINT }

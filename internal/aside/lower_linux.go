package aside

import "golang.org/x/sys/unix"

// nice is the priority of threads aside: a tenth of the weight of others where
// they want the same processor. Lower still, a thread that was taken from its
// processor while it holds a lock would have everybody wait for longer than what
// this saves them.
const nice = 10

// lowerThread lowers the priority of this thread, which is not to do anything
// else afterwards: raising it again needs a privilege.
func lowerThread() bool {
	return unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), nice) == nil
}

//go:build !unix

package stream

const canTry = false

func tryRead(uintptr, []byte) (int, error)  { return 0, errNotNow }
func tryWrite(uintptr, []byte) (int, error) { return 0, errNotNow }

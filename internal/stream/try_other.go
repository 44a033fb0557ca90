//go:build !unix

package stream

import "errors"

const canTry = false

func tryRead(uintptr, []byte) (int, error)  { return 0, errNotNow }
func tryWrite(uintptr, []byte) (int, error) { return 0, errNotNow }

func duplicate(uintptr) (int32, error) { return -1, errors.ErrUnsupported }
func closeFile(int) error              { return errors.ErrUnsupported }
func closeHalf(uintptr) error          { return errors.ErrUnsupported }
func closeBoth(uintptr)                {}

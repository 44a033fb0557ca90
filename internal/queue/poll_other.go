//go:build !linux

package queue

import "errors"

const polls = false

type poller struct{}

func newPoller(func([]*Handle)) (*poller, error) { return nil, errors.ErrUnsupported }

func (*poller) add(*Handle, Source) error { return errors.ErrUnsupported }
func (*poller) await(*Handle) error       { return errors.ErrUnsupported }
func (*poller) remove(*Handle)            {}
func (*poller) close()                    {}

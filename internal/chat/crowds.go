package chat

import "sync"

// crowds remembers how many were in chats when they were counted. To count twenty
// thousand takes milliseconds, for which everybody's writes wait, and whoever
// comes takes one of the chat's numbers: so there are at most as many more in as
// the chat has had changes since, whoever made them.
type crowds struct {
	mu  sync.Mutex
	was map[ChatID]crowd
}

// crowd is a count of who is in a chat, at its number seq. The zero crowd: nobody
// counted.
type crowd struct {
	chat  ChatID
	seq   int64
	count int
}

const (
	leastCrowd = 500   // what is counted as fast as it is remembered is not
	mostCrowds = 1_000 // chats, of some 60 bytes each
)

// most is a bound of how many are in; ok is false if it is not known.
func (c *crowds) most(chat Chat) (most int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was, ok := c.was[chat.ID]
	return int64(was.count) + chat.LastSeq - was.seq, ok && was.seq <= chat.LastSeq
}

// note remembers a count that was made in a transaction that is committed: of one
// that is not, the numbers are given out again, to changes that bring nobody.
func (c *crowds) note(one crowd) {
	if one.count < leastCrowd {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.was == nil {
		c.was = map[ChatID]crowd{}
	}
	if _, there := c.was[one.chat]; !there && len(c.was) >= mostCrowds {
		for any := range c.was {
			delete(c.was, any)
			break
		}
	}
	c.was[one.chat] = one
}

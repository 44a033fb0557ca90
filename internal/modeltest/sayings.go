package modeltest

import (
	"maps"
	"sync"

	"github.com/grima-chat/grima/protocol"
)

// sayings is what was said and what became of it.
type sayings struct {
	mu       sync.Mutex
	messages map[string]*saying // by client_msg_id
	kept     map[string]int64   // those that were answered when the store was kept, and their numbers
	marks    map[[2]string]int64
	keptMark map[[2]string]int64
}

type saying struct {
	user   string
	params protocol.MessageSendParams
	seq    int64 // 0: not answered, or refused
	void   bool  // answered, and undone by going back in time

	refused *protocol.Error
}

func (s *sayings) keep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept, s.keptMark = map[string]int64{}, maps.Clone(s.marks)
	for key, m := range s.messages {
		if m.seq > 0 && !m.void {
			s.kept[key] = m.seq
		}
	}
}

// rewind forgets what was answered since keep.
func (s *sayings) rewind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, m := range s.messages {
		if s.kept[key] == 0 && m.seq > 0 {
			m.void = true
		}
	}
	s.marks = maps.Clone(s.keptMark)
}

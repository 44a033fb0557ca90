package client

import "slices"

// queue is the events that the application has yet to take. What is bounded
// here is what nobody else bounds: of the connection there is one event at a
// time, and of the outbox the oldest go beyond a number.
type queue struct {
	events []Event
	head   int // events[head:] wait
	outbox int // events of the outbox among them
}

func (q *queue) len() int { return len(q.events) - q.head }

func (q *queue) put(ev Event) { q.events = append(q.events, ev) }

func (q *queue) take(n int) []Event {
	n = min(n, q.len())
	taken := slices.Clone(q.events[q.head : q.head+n])
	for i, ev := range taken {
		if ev.Kind == OutboxChanged {
			q.outbox--
		}
		q.events[q.head+i] = Event{}
	}
	q.head += n
	switch {
	case q.len() == 0:
		q.events, q.head = nil, 0
	case q.head > q.len():
		q.events, q.head = slices.Delete(q.events, 0, q.head), 0
	}
	return taken
}

// drop forgets the first event that waits and is such.
func (q *queue) drop(such func(Event) bool) bool {
	i := slices.IndexFunc(q.events[q.head:], such)
	if i >= 0 {
		q.events = slices.Delete(q.events, q.head+i, q.head+i+1)
	}
	return i >= 0
}

// only puts ev instead of what the queue has of its kind.
func (q *queue) only(ev Event) {
	q.drop(func(e Event) bool { return e.Kind == ev.Kind })
	q.put(ev)
}

// item tells of an item of the outbox; most of them may wait.
func (q *queue) item(it Item, most int) {
	q.put(Event{Kind: OutboxChanged, ChatID: it.ChatID, Outbox: &it})
	if q.outbox++; q.outbox > most && q.drop(func(e Event) bool { return e.Kind == OutboxChanged }) {
		q.outbox--
	}
}

// reset forgets what would be told of chats.
func (q *queue) reset() {
	q.events = slices.DeleteFunc(q.events[q.head:], func(e Event) bool {
		return e.Kind != OutboxChanged && e.Kind != ConnectionChanged
	})
	q.head = 0
}

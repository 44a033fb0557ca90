//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// soaking is a day of a server's life in minutes: people come, log in, ask what
// is new, hear a little, and go, in every way there is, while others talk.
type soaking struct {
	*bench
	t        *target
	w        *crowd
	l        *loop
	cycles   int // to come
	messages int // to store
	came     int
	gone     int
	late     int // that had to come once more, see tooLate
	sent     int
	stored   int
	staying  []*client
	speakers []*client
	began    time.Time
	told     time.Time
}

const (
	soakPeople   = 2000
	soakPerRoom  = 20
	soakWindow   = 64  // people on their way in at once
	soakStaying  = 500 // people who are in
	soakSpeakers = 32
	soakUnder    = 16 // sends that each speaker has under way
)

// held is what a server holds at a moment of rest.
type held struct {
	when       string
	files      int
	threads    float64
	goroutines float64
	rss        float64
}

func runSoak(b *bench) error {
	if err := b.prepareLive(); err != nil {
		return err
	}
	var rooms []roomOf
	for i := 0; i < soakPeople; i += soakPerRoom {
		rooms = append(rooms, roomOf{from: i, to: i + soakPerRoom})
	}
	w, err := b.makeCrowd(filepath.Join(b.tmp, "soak"), soakPeople, 0, rooms)
	if err != nil {
		return err
	}
	w.perRoom = soakPerRoom
	for _, k := range b.grimas() {
		b.progress("%s: %d people come and go, %d messages", k.name, b.Cycles, b.Messages)
		if err := b.beside(k, w, func(t *target) error {
			s := &soaking{bench: b, t: t, w: w}
			return s.day()
		}); err != nil {
			return err
		}
	}
	return nil
}

func (s *soaking) day() (err error) {
	if s.l, err = newLoop(s.ctx); err != nil {
		return err
	}
	defer s.l.close()
	s.l.onEnd = s.ended
	// Not counted: what the first of everything wakes up.
	warm := max(s.Cycles/20, 2*soakStaying)
	if err := s.live(min(warm, s.Cycles), s.Messages/20); err != nil {
		return err
	}
	before, err := s.rest("before")
	if err != nil {
		return err
	}
	all := []held{before}
	*s = soaking{bench: s.bench, t: s.t, w: s.w, l: s.l, began: time.Now(), told: time.Now()}
	const parts = 4
	for i := 1; i <= parts; i++ {
		if err := s.live(s.Cycles*i/parts, s.Messages*i/parts); err != nil {
			return err
		}
		h, err := s.rest(fmt.Sprintf("%d%%", 100*i/parts))
		if err != nil {
			return err
		}
		all = append(all, h)
	}
	s.report.section(s.section(all, time.Since(s.began)))
	return nil
}

// live goes on until so many people have come and gone, and so many messages are
// stored.
func (s *soaking) live(cycles, messages int) (err error) {
	s.cycles, s.messages = cycles, messages
	s.l.onEnd = nil // to be refused now is a fault
	if s.speakers, err = s.l.open(soakSpeakers, soakSpeakers, func(i int) (*client, error) {
		person := i * soakPerRoom
		return s.l.dial(s.t.addr, person, []step{{say: loginLine(s.w.token(person), false), hear: loggedIn}}, s.answered)
	}); err != nil {
		return fmt.Errorf("speakers: %w", err)
	}
	s.l.onEnd = s.ended
	for _, c := range s.speakers {
		s.say(c, soakUnder)
	}
	for s.gone < cycles || s.stored < messages {
		for s.l.scripts < soakWindow && s.came < cycles {
			if err := s.visit(s.came); err != nil {
				return err
			}
			s.came++
		}
		for len(s.staying) > soakStaying || s.came == cycles && s.l.scripts == 0 && len(s.staying) > 0 {
			s.leave(s.staying[0])
			s.staying = s.staying[1:]
		}
		if err := s.l.poll(100); err != nil {
			return err
		}
		if !s.began.IsZero() && time.Since(s.told) > 10*time.Second {
			s.told = time.Now()
			part := (float64(s.gone)/float64(s.Cycles) + float64(s.stored)/float64(s.Messages)) / 2
			left := time.Duration(float64(time.Since(s.began)) * (1 - part) / max(part, 0.001))
			s.progress("%s: %d of %d cycles, %d of %d messages (about %s left)", s.t.name, s.gone, s.Cycles, s.stored, s.Messages, left.Round(time.Second))
		}
	}
	return nil
}

// visit lets the n-th visitor come: one in five over a WebSocket.
func (s *soaking) visit(n int) error {
	person := n % soakPeople
	sync := dataLine("sync", `{"limit":20,"timeline_limit":1}`)
	const synced = `"op":"sync","result"`
	script := []step{{say: append(loginLine(s.w.token(person), true), sync...), hear: synced}}
	if n%5 == 0 {
		script = append(webSocketReceiver(s.w, person), step{say: maskedText(string(bytes.TrimSpace(padded(sync)))), hear: synced})
	}
	c, err := s.l.dial(s.t.addr, person, script, func(*client, []byte) {})
	if err != nil {
		return err
	}
	c.acc = n
	c.late = func(*client) {
		s.late++
		s.progress("once more: person %d was late with its first byte", person)
		if err := s.visit(n); err != nil {
			s.l.fail(err)
		}
	}
	c.ready = func(c *client) { s.staying = append(s.staying, c) }
	return nil
}

// padded makes a line long enough for maskedText, by an id.
func padded(line []byte) []byte {
	return bytes.Replace(line, []byte(`"id":1`), []byte(`"id":"`+filler(60)+`"`), 1)
}

// leave ends a visit: by closing, by breaking off, or by saying that there is
// nothing more to say and waiting for the server.
func (s *soaking) leave(c *client) {
	switch c.acc % 3 {
	case 0:
		c.leaving = true
		if err := unix.Shutdown(c.fd, unix.SHUT_WR); err != nil {
			s.l.fail(fmt.Errorf("leaving: %w", err))
		}
		return
	case 1:
		s.l.drop(c)
	default:
		s.l.forget(c)
	}
	s.gone++
}

func (s *soaking) ended(c *client) {
	if !c.leaving {
		s.l.fail(fmt.Errorf("person %d was sent away: %.300s", c.id, c.in))
	}
	s.gone++
}

// answered counts what is stored, and says as much again.
func (s *soaking) answered(c *client, data []byte) {
	if bytes.Contains(data, []byte(`"error":{`)) {
		s.l.fail(fmt.Errorf("person %d was refused: %.300s", c.id, data))
	}
	n := bytes.Count(data, []byte{'\n'})
	s.stored += n
	s.say(c, n)
}

func (s *soaking) say(c *client, n int) {
	for ; n > 0 && s.sent < s.messages; n-- {
		s.sent++
		s.l.send(c, fmt.Appendf(nil, `{"type":"BroadcastRequest","id":1,"op":"message.send","params":{"chat_id":"%s","content":"%s"}}`+"\n",
			s.w.roomWith(c.id), filler(80)))
	}
}

// rest lets everybody go and looks at the server when it has nothing to do.
func (s *soaking) rest(when string) (held, error) {
	for _, c := range s.speakers {
		s.l.forget(c)
	}
	if err := s.l.pollUntil(time.Now().Add(s.bench.live.size.settle)); err != nil {
		return held{}, err
	}
	h := held{when: when}
	var err error
	if h.files, err = openFilesOf(s.t.pid); err != nil {
		return h, err
	}
	if h.rss, err = residentMemory(s.t.pid); err != nil {
		return h, err
	}
	h.threads = statusOf(fmt.Sprintf("/proc/%d/status", s.t.pid))["Threads"]
	h.goroutines = metricsOf(s.t.addr)[goroutinesMetric]
	if h.files > 1000 {
		return h, errors.New("descriptors are left over")
	}
	return h, nil
}

func (s *soaking) section(all []held, took time.Duration) section {
	sec := section{
		title: "Soak, " + s.t.name,
		note: fmt.Sprintf("%d people come, log in by token, sync, stay while %d others come, and go, one in three each by closing, by breaking off and by half-closing, one in five over a WebSocket; meanwhile %d speakers store %d messages in their rooms; in %s. %d came more than 200 ms late with the first byte of HTTP, were told so, and came again. Each row is %s after everybody has gone. The first row comes after a twentieth of all that.",
			s.Cycles, soakStaying, soakSpeakers, s.Messages, took.Round(time.Second), s.late, s.bench.live.size.settle),
		head: []string{"when", "descriptors", "threads", "goroutines", "resident memory, MB"},
	}
	for _, h := range all {
		goroutines := "-"
		if h.goroutines > 0 {
			goroutines = fmt.Sprintf("%.0f", h.goroutines)
		}
		sec.row(h.when, fmt.Sprint(h.files), fmt.Sprint(h.threads), goroutines, fmt.Sprintf("%.1f", h.rss/1e6))
	}
	return sec
}

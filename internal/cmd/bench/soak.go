//go:build linux

package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// soaking is a day of a server's life in minutes: people come in every way there
// is, hear and say a little, and go in every way there is, while others talk.
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
	soakPerRoom  = 20
	soakWindow   = 64  // people on their way in at once
	soakStaying  = 500 // people who are in
	soakSpeakers = 32
	soakUnder    = 16 // sends that each speaker has under way
	// soakRegulars are who is in a room with a speaker: every fourth visitor is
	// one of them.
	soakRegulars = soakSpeakers * soakPerRoom
	// soakLaps is how often each of the others comes. Whoever comes in the last
	// half was there before; so what grows in it grows with the visits, and not
	// with the people.
	soakLaps = 3
)

// strangers is how many people there are beside the regulars.
func (s *soaking) strangers() int { return s.w.people - soakRegulars }

// visitor says who comes as the n-th, and how often they were there before.
func (s *soaking) visitor(n int) (person, before int) {
	if n%4 == 0 {
		return n / 4 % soakRegulars, n / 4 / soakRegulars
	}
	k := n - n/4 - 1
	return soakRegulars + k%s.strangers(), k / s.strangers()
}

func runSoak(b *bench) error {
	if err := b.prepareLive(); err != nil {
		return err
	}
	strangers := max(b.Cycles*3/4/soakLaps, 2000)
	people := (soakRegulars + strangers + soakPerRoom - 1) / soakPerRoom * soakPerRoom
	var rooms []roomOf
	for i := 0; i < people; i += soakPerRoom {
		rooms = append(rooms, roomOf{from: i, to: i + soakPerRoom})
	}
	b.progress("writing %d people and %d rooms", people, len(rooms))
	w, err := b.makeCrowd(filepath.Join(b.tmp, "soak"), people, 0, rooms)
	if err != nil {
		return err
	}
	w.perRoom = soakPerRoom
	var days []day
	// With limits, so that there is something to remember of people and
	// addresses, but wide ones.
	for _, k := range b.grimas("--dev=false", "--rate-factor", "1000") {
		if b.Case != nil && !b.Case.MatchString(k.name) {
			continue
		}
		b.progress("%s: %d people come and go, %d messages", k.name, b.Cycles, b.Messages)
		if err := b.beside(k, w, func(t *target) error {
			s := &soaking{bench: b, t: t, w: w}
			d, err := s.day()
			days = append(days, d)
			return err
		}); err != nil {
			return err
		}
	}
	b.tellSoak(w, days)
	return nil
}

func (s *soaking) day() (d day, err error) {
	d.name = s.t.name
	if s.l, err = newLoop(s.ctx); err != nil {
		return d, err
	}
	defer s.l.close()
	s.l.onEnd = s.ended
	// Not counted: what the first of everything wakes up.
	warm := max(s.Cycles/20, 2*soakStaying)
	if err := s.live(min(warm, s.Cycles), s.Messages/20); err != nil {
		return d, err
	}
	before, err := s.rest(min(warm, s.Cycles))
	if err != nil {
		return d, err
	}
	d.at = []held{before}
	*s = soaking{bench: s.bench, t: s.t, w: s.w, l: s.l, began: time.Now(), told: time.Now()}
	for i := 1; i <= soakParts; i++ {
		if err := s.live(s.Cycles*i/soakParts, s.Messages*i/soakParts); err != nil {
			return d, err
		}
		h, err := s.rest(s.Cycles / soakParts)
		if err != nil {
			return d, err
		}
		d.at = append(d.at, h)
		s.progress("%s: %d of %d parts: %v", s.t.name, i, soakParts, h)
	}
	d.took, d.late = time.Since(s.began), s.late
	return d, nil
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

// visit lets the n-th visitor come. How they do depends on who they are.
func (s *soaking) visit(n int) error {
	person, before := s.visitor(n)
	c, err := s.l.dial(s.t.addr, person, s.script(person, before), func(*client, []byte) {})
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

// script is what a visitor says: most in lines, two in ten over a WebSocket, one
// in ten each listens to server-sent events, and asks something over HTTP. Of
// the first two kinds one in seven talks.
func (s *soaking) script(person, before int) []step {
	sync := dataLine("sync", `{"limit":20,"timeline_limit":1}`)
	const synced = `"op":"sync","result"`
	const get = "GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nAccept: %s\r\n\r\n"
	talks := person%7 == 0
	switch person % 10 {
	case 0, 5:
		all := append(webSocketReceiver(s.w, person), step{say: maskedText(padded(sync)), hear: synced})
		if talks {
			var texts []byte
			for _, line := range s.talk(person, before) {
				texts = append(texts, maskedText(padded(line))...)
			}
			all = append(all, step{say: texts, hear: watching})
		}
		return all
	case 3:
		return []step{{say: fmt.Appendf(nil, get, "/v1/events", s.w.token(person), "text/event-stream"), hear: synced}}
	case 8:
		room := s.w.roomWith(person)
		return []step{{say: fmt.Appendf(nil, get, "/v1/chats/"+room, s.w.token(person), "application/json"), hear: `"chat_id":"` + room + `"`}}
	}
	all := []step{{say: append(loginLine(s.w.token(person), true), sync...), hear: synced}}
	if talks {
		all = append(all, step{say: bytes.Join(s.talk(person, before), nil), hear: watching})
	}
	return all
}

const watching = `"op":"presence.watch","result"`

// talk is what a visitor does in their room: they write, and say so before, read
// on, and look who is there.
func (s *soaking) talk(person, before int) [][]byte {
	room := s.w.roomWith(person)
	first := person / soakPerRoom * soakPerRoom
	return [][]byte{
		fmt.Appendf(nil, `{"type":"BroadcastRequest","id":1,"op":"typing","params":{"chat_id":"%s"}}`+"\n", room),
		fmt.Appendf(nil, `{"type":"BroadcastRequest","id":1,"op":"message.send","params":{"chat_id":"%s","content":"%s","client_msg_id":"v%d"}}`+"\n",
			room, filler(80), before),
		dataLine("read.set", fmt.Sprintf(`{"chat_id":"%s","seq":%d}`, room, soakPerRoom+before)),
		dataLine("presence.watch", fmt.Sprintf(`{"user_ids":["%s","%s"]}`, s.w.users[first], s.w.users[first+soakPerRoom-1])),
	}
}

// padded makes a line long enough for maskedText, by an id.
func padded(line []byte) string {
	return string(bytes.TrimSpace(bytes.Replace(line, []byte(`"id":1`), []byte(`"id":"`+filler(60)+`"`), 1)))
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

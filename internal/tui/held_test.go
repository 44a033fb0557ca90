package tui

import (
	"fmt"
	"testing"

	tea "charm.land/bubbletea/v2"

	"github.com/grima-chat/grima/client"
)

// However far one scrolls and whatever comes in meanwhile, what is held is
// bounded, and nothing is missing on the way.
func TestWhatIsHeldIsBounded(t *testing.T) {
	f := newFake()
	f.group("c_1", "long")
	for i := range 12_000 {
		f.say("c_1", "u_2", fmt.Sprintf("message %d", i+1))
	}
	f.state("c_1")
	d := play(t, f, 80, 24)
	c := d.m.open
	bounded := func() {
		t.Helper()
		if n := len(c.messages()) + len(c.tl.Messages(0)); n > 2*maxHeld+2*pageSize {
			t.Fatalf("%d messages are held", n)
		}
	}
	up := tea.MouseWheelMsg{X: 60, Y: 10, Button: tea.MouseWheelUp}
	for c.scroll.seq != 1 && !(c.scroll.seq > 0 && c.messages()[0].Seq == 1 && d.m.linkMap[0] <= 1) {
		d.send(up)
		bounded()
		for i := 1; i < len(d.m.linkMap); i++ {
			a, b := d.m.linkMap[i-1], d.m.linkMap[i]
			if a > 0 && b > 0 && b-a > 1 {
				t.Fatalf("after %d comes %d", a, b)
			}
		}
	}
	// A flood while the view is at the beginning.
	for range 2 * maxHeld / 100 {
		var news []client.Event
		for range 100 {
			news = append(news, f.say("c_1", "u_3", "news"))
		}
		d.events(news...)
	}
	bounded()
	d.want("message 1")
	down := tea.MouseWheelMsg{X: 60, Y: 10, Button: tea.MouseWheelDown}
	for range 50 {
		d.send(down)
	}
	d.want("message 150")
	d.keys("end")
	bounded()
	d.want("news")
	if !c.scroll.follows() || c.at != 0 {
		t.Errorf("the end is at %d, %+v", c.at, c.scroll)
	}
}

//go:build linux

package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/grima-chat/grima/internal/harness"
)

// TestMain also is the raw server of the tests, as main is of the benchmark.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childCommand {
		if err := asChild(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// However a server's bytes are cut up, every mark is found once.
func TestMarksAreFoundInAnyPieces(t *testing.T) {
	var stream []byte
	var want []int
	for i := range 40 {
		slot := i * 37 % 256
		want = append(want, slot)
		stream = append(stream, "MSG room 1 250\r\n"...)
		stream = appendMessage(stream, slot, payload)
	}
	for size := 1; size < 600; size += 7 {
		var c client
		var got []int
		for piece := range slices.Chunk(stream, size) {
			c.marks(piece, func(slot int) { got = append(got, slot) })
		}
		if !slices.Equal(got, want) {
			t.Fatalf("in pieces of %d: %v", size, got)
		}
	}
}

func TestCostsPerMessageAreCompared(t *testing.T) {
	for _, c := range []struct {
		got, want series
		begins    string
	}{
		{series{300, 310}, series{300}, "yes, 1.02"},
		{series{-900, 100, 900}, series{300}, "0.33 times, but"},
		{series{3000, 3300}, series{300}, "no, more: 10.50"},
		{series{-900, -100}, series{300}, "no, less: -1.67"},
	} {
		if got := compareCosts(c.got, c.want); !strings.HasPrefix(got, c.begins) {
			t.Errorf("%v beside %v: %q", c.got, c.want, got)
		}
	}
}

func TestEveryProtocolSendsMessagesOfOneLengthWithOneMark(t *testing.T) {
	w := &crowd{room: "c_1"}
	for name, s := range map[string]speak{
		"raw": speakRaw(), "grima": speakGrima(w), "nats": speakNATS(), "redis": speakRedis(), "mqtt": speakMQTT(),
	} {
		line := s.publish(nil, 0x2a, 7)
		var c client
		var got []int
		c.marks(line, func(slot int) { got = append(got, slot) })
		if !slices.Equal(got, []int{0x2a}) {
			t.Errorf("%s has the marks %v", name, got)
		}
		if name != "grima" && (len(line) < payload || len(line) > payload+40) {
			t.Errorf("a message of %s has %d bytes", name, len(line))
		}
		if bytes.Count(s.light("ping", 0), []byte{'~'}) != 0 {
			t.Errorf("a ping of %s has a mark", name)
		}
	}
	if got := len(appendMessage(nil, 1, payload)); got != payload {
		t.Errorf("a message has %d bytes", got)
	}
}

func TestPacketsOfMQTT(t *testing.T) {
	// MQTT 3.1.1, 2.2.3: 321 is 193, 2.
	if got := packet(0x30, make([]byte, 321))[:3]; !bytes.Equal(got, []byte{0x30, 193, 2}) {
		t.Errorf("%v", got)
	}
}

func TestRatiosLeaveOutRoundsThatFailed(t *testing.T) {
	f := findings{}
	f.add(0, "a", "cpu", 4)
	f.add(2, "a", "cpu", 9)
	for round, v := range []float64{2, 2, 3} {
		f.add(round, "b", "cpu", v)
	}
	if got := f.ratio("a", "b", "cpu"); !slices.Equal(got, series{2, 3}) {
		t.Errorf("ratios %v", got)
	}
	if got := f.get("a", "cpu"); !slices.Equal(got, series{4, 9}) {
		t.Errorf("figures %v", got)
	}
	if got := f.more("a", "b", "cpu"); !slices.Equal(got, series{2, 6}) {
		t.Errorf("differences %v", got)
	}
	if !math.IsNaN(f["a"]["cpu"][1]) {
		t.Error("the round that failed has a figure")
	}
}

func TestOwnUsageIsFound(t *testing.T) {
	before, err := processUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	after := before
	for end := time.Now().Add(patience); after.cpu == before.cpu && time.Now().Before(end); {
		if after, err = processUsage(os.Getpid()); err != nil { // which costs something, too
			t.Fatal(err)
		}
	}
	if used := after.cpu - before.cpu; used <= 0 {
		t.Errorf("used %v of the CPU", used)
	}
	if rss, err := residentMemory(os.Getpid()); err != nil || rss < 1<<20 {
		t.Errorf("%.0f bytes, %v", rss, err)
	}
	if _, err := processUsage(1 << 30); err == nil {
		t.Error("a process that is not there uses something")
	}
}

// A client that a server refuses, drops or leaves waiting is a failure, not a
// figure.
func TestTheLoopNoticesWhatGoesWrong(t *testing.T) {
	for name, say := range map[string]string{"refused": `{"error":{"code":"x"}}`, "ended": ""} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			done := make(chan struct{})
			go func() {
				defer close(done)
				if nc, err := ln.Accept(); err == nil {
					if say == "" {
						nc.Close()
						return
					}
					_, _ = nc.Write([]byte(say))
					defer nc.Close()
					_, _ = io.Copy(io.Discard, nc) // until the loop hangs up
				}
			}()
			l, err := newLoop(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_, err = l.open(1, 1, func(i int) (*client, error) {
				return l.dial(ln.Addr().String(), i, []step{{say: []byte("hello\n"), hear: "welcome"}}, nil)
			})
			l.close()
			<-done
			if err == nil {
				t.Error("nothing was noticed")
			}
		})
	}
}

// A client that cannot write all at once goes on when it can.
func TestTheLoopWritesAllOfALongRequest(t *testing.T) {
	b := testBench(t)
	k := rawKind(echoName, "each", false)
	target, err := k.start(t.Context(), site{})
	if err != nil {
		t.Fatal(err)
	}
	defer target.stop()
	l, err := newLoop(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	heard := 0
	clients, err := l.open(1, 1, func(i int) (*client, error) {
		return l.dial(target.addr, i, echo(i), func(_ *client, data []byte) { heard += len(data) })
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(clients[0].fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4096); err != nil {
		t.Fatal(err)
	}
	long := bytes.Repeat([]byte(pingLine), 200_000)
	l.send(clients[0], long)
	for limit := time.Now().Add(patience); heard < len(long); {
		if err := l.poll(100); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(limit) {
			t.Fatalf("%d of %d bytes came back", heard, len(long))
		}
	}
}

func testBench(t *testing.T) *bench {
	return &bench{ctx: t.Context(), tmp: t.TempDir(), began: time.Now(), options: options{Rounds: 1, Seconds: 0.05, Warmup: 0.02, Cycles: 300, Messages: 500, quick: true, noNATS: os.Getenv("GRIMA_BENCH_NATS") == ""}}
}

// Every scenario, tiny, against the real binary and whatever peers are here;
// nats-server, which has to be built first, with GRIMA_BENCH_NATS=1.
func TestEveryScenarioRuns(t *testing.T) {
	b := testBench(t)
	sizes := quickSizes
	t.Cleanup(func() { quickSizes = sizes })
	quickSizes = liveSizes{
		rooms: []int{10}, idle: 60, settle: 20 * time.Millisecond, active: []int{10}, storm: 50, storming: 50,
		pipelined: 500, deaf: 10, bystanders: 3, looks: 2, heavyChats: 20, heavyRows: 20,
	}
	out := t.TempDir()
	b.options.Out = out
	var err error
	if b.bin, err = harness.Build(b.tmp); err != nil {
		t.Fatal(err)
	}
	for _, s := range suites {
		if s.name == "store" || s.name == "cluster" {
			continue // they have their own tests
		}
		if err := b.suite(s, nil); err != nil {
			t.Fatal(err)
		}
		for _, step := range b.live.steps {
			for _, err := range step.failed {
				t.Errorf("%s: %v", step.name, err)
			}
		}
		for _, sec := range b.report.sections {
			for _, row := range sec.rows {
				if len(row) != len(sec.head) {
					t.Errorf("%s: a row of %d cells under %d", sec.title, len(row), len(sec.head))
				}
			}
		}
	}
	report, err := os.ReadFile(filepath.Join(out, "bench-live.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, title := range []string{"### Aims", "### What a durable", "### Fan-out", "### Memory", "### Light requests", "### Reconnect storm", "### Bystanders"} {
		if !strings.Contains(string(report), title) {
			t.Errorf("the report has no %q", title)
		}
	}
	soak, err := os.ReadFile(filepath.Join(out, "bench-soak.md"))
	if err != nil {
		t.Fatal(err)
	}
	images, err := filepath.Glob(filepath.Join(out, "*.svg"))
	if err != nil || len(images) == 0 {
		t.Fatalf("no plots: %v", err)
	}
	for _, file := range images {
		if !strings.Contains(string(report)+string(soak), filepath.Base(file)) {
			t.Errorf("%s is not in a report", file)
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte("NaN")) || bytes.Contains(raw, []byte("Inf")) {
			t.Errorf("%s has coordinates that are no numbers", file)
		}
		for d := xml.NewDecoder(bytes.NewReader(raw)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
	}
}

//go:build linux

package cache_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/client/cache"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

func TestMain(m *testing.M) {
	if os.Getenv("GRIMA_TEST_CHILD") != "" {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is a program with a cache, which its parent kills. For each line that it
// reads it queues a message of that content and says so; it also says when it is
// online, and of each message it is told. After the word "end" it ends once
// everything is sent.
func child() error {
	kept, err := cache.Open(os.Getenv("GRIMA_TEST_CHILD"))
	if err != nil {
		return err
	}
	c, err := client.Open(client.Config{
		Server: os.Getenv("GRIMA_TEST_SERVER"), Token: os.Getenv("GRIMA_TEST_TOKEN"), Store: kept,
		MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	ctx := context.Background()
	ending, end := context.WithCancel(ctx)
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			if in.Text() == "end" {
				end()
				return
			}
			chat, content, _ := strings.Cut(in.Text(), " ")
			if _, err := c.Queue(ctx, client.Draft{ChatID: chat, Content: content}); err != nil {
				fmt.Println("failed", err)
			} else {
				fmt.Println("queued", content)
			}
		}
	}()
	settled := func() bool {
		return len(c.Outbox()) == 0 && !slices.ContainsFunc(c.Chats(), func(chat client.Chat) bool { return chat.Pos < chat.LastSeq })
	}
	for wait := ending; ; {
		if ending.Err() != nil {
			if wait = ctx; settled() {
				fmt.Println("ended")
				return errors.Join(c.Close(), kept.Close())
			}
		}
		evs, err := c.Batch(wait)
		if err != nil && ending.Err() == nil {
			return err
		}
		for _, ev := range evs {
			switch ev.Kind {
			case client.Synced:
				fmt.Println("online")
			case client.MessageCreated:
				fmt.Println("told", ev.Message.Content)
			}
		}
	}
}

// A program with a cache is killed at any moment, again and again, while others
// write, edit and delete and it sends itself. In the end its file has what a full
// read gives, and everything that it queued is there once.
func TestKilledProgram(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	chats := []string{ana.Group("Port", bob), ana.Group("Pier", bob)}
	path := filepath.Join(t.TempDir(), "bob.db")
	queued := map[string]bool{}
	run := func(life func(said func() string, tell io.Writer)) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "GRIMA_TEST_CHILD="+path, "GRIMA_TEST_SERVER="+srv.Addr, "GRIMA_TEST_TOKEN="+bob.Token)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		must(t, err)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		life(func() string {
			if !lines.Scan() {
				t.Fatal("the program ended")
			}
			if content, ok := strings.CutPrefix(lines.Text(), "queued "); ok {
				queued[content] = true
			}
			return lines.Text()
		}, in)
		_ = cmd.Process.Kill() // it may have ended
		for lines.Scan() {
			if content, ok := strings.CutPrefix(lines.Text(), "queued "); ok {
				queued[content] = true
			}
		}
		_ = cmd.Wait() // it was killed
	}

	rounds := 15
	if testing.Short() {
		rounds = 4
	}
	for round := range rounds {
		run(func(said func() string, tell io.Writer) {
			if round%4 != 3 { // else it is killed while it starts
				for said() != "online" {
				}
			}
			for i := range 10 {
				fmt.Fprintf(tell, "%s bob %d %d\n", chats[i%2], round, i)
				r := ana.Send(chats[i%2], fmt.Sprintf("ana %d %d", round, i))
				switch i % 4 {
				case 1:
					ana.Do(protocol.OpMessageEdit, protocol.MessageEditParams{ChatID: chats[i%2], Seq: r.Seq, Content: "edited"}, nil)
				case 2:
					ana.Do(protocol.OpMessageDelete, protocol.MessageParams{ChatID: chats[i%2], Seq: r.Seq}, nil)
				}
			}
			// And after some more or less of what came of it.
			for range round * 2 {
				said()
			}
		})
	}
	run(func(said func() string, tell io.Writer) {
		for said() != "online" {
		}
		fmt.Fprintln(tell, "end")
		for said() != "ended" {
		}
	})
	// Reading what is kept ends before the program does, so ask once more.
	run(func(said func() string, tell io.Writer) {
		for said() != "online" {
		}
		ana.Send(chats[0], "last")
		ana.Send(chats[1], "very last")
		for last := 0; last < 2; {
			if strings.HasSuffix(said(), "last") {
				last++
			}
		}
	})

	kept := openCache(t, path)
	st, err := kept.Load(t.Context())
	must(t, err)
	if len(st.Outbox) > 0 {
		t.Errorf("still to send: %+v", st.Outbox)
	}
	there := map[string]int{}
	for _, id := range chats {
		var all protocol.MessagesListResult
		after := int64(0)
		var rows []protocol.Message
		for more := true; more; more = all.HasMoreAfter {
			ana.Do(protocol.OpMessagesList, protocol.MessagesListParams{ChatID: id, After: &after, Limit: 200}, &all)
			rows = append(rows, all.Messages...)
			after = rows[len(rows)-1].Seq
			all.Messages = nil
		}
		for _, m := range rows {
			if m.SenderID == bob.ID {
				there[m.Content]++
			}
		}
		// The program came to the chat before anything was said.
		from := int64(2)
		page, _, err := kept.Page(t.Context(), protocol.MessagesListParams{ChatID: id, After: &from, Limit: 10_000})
		must(t, err)
		if diff := cmp.Diff(rows, page.Messages, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-full read +kept):\n%s", id, diff)
		}
	}
	for content := range queued {
		if there[content] != 1 {
			t.Errorf("%q was queued, and is there %d times", content, there[content])
		}
	}
	for content, n := range there {
		if n != 1 {
			t.Errorf("%q is there %d times", content, n)
		}
	}
	if len(queued) < rounds {
		t.Errorf("only %d messages were queued, so this proves little", len(queued))
	}
	t.Logf("%d messages queued, %d there", len(queued), len(there))
}

// What it costs to keep an event by itself, as for Next.
func BenchmarkApply(b *testing.B) {
	c := openCache(b, filepath.Join(b.TempDir(), "c.db"))
	must(b, c.Apply(b.Context(), []client.Event{{Kind: client.ChatAdded, ChatID: "c_1", State: state(0, 0)}}))
	for seq := int64(1); b.Loop(); seq++ {
		must(b, c.Apply(b.Context(), []client.Event{told(client.MessageCreated, message(seq, "what somebody says in a chat on an ordinary day"))}))
	}
}

func BenchmarkSearch(b *testing.B) {
	c := openCache(b, filepath.Join(b.TempDir(), "c.db"))
	evs := []client.Event{{Kind: client.ChatAdded, ChatID: "c_1", State: state(0, 0)}}
	for i := range 100_000 {
		evs = append(evs, told(client.MessageCreated, message(int64(i+1), fmt.Sprintf("what somebody says in a chat on an ordinary day, number %d", i))))
	}
	must(b, c.Apply(b.Context(), evs))
	for b.Loop() {
		found, err := c.Search(b.Context(), cache.Query{Text: "number 77777"})
		if err != nil || len(found) != 1 {
			b.Fatal(len(found), err)
		}
	}
}

package password_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/password"
)

var (
	ctx                  = context.Background()
	cheap                = password.Params{Memory: 64, Time: 1}
	_     chat.Passwords = (*password.Hasher)(nil)
)

func verify(t *testing.T, h *password.Hasher, hash, pw string) (ok, weak bool) {
	t.Helper()
	ok, weak, err := h.Verify(ctx, hash, pw)
	if err != nil {
		t.Fatal(err)
	}
	return ok, weak
}

func TestHashAndVerify(t *testing.T) {
	h := password.New(cheap)
	seen := map[string]bool{}
	for _, pw := range []string{"correct horse", "", " ", "\x00\xff", "é", strings.Repeat("x", 1024)} {
		for range 2 { // a salt each
			hash, err := h.Hash(ctx, pw)
			if err != nil {
				t.Fatal(err)
			}
			if seen[hash] || !strings.HasPrefix(hash, "$argon2id$v=19$m=64,t=1,p=1$") {
				t.Errorf("hash %s", hash)
			}
			seen[hash] = true
			if ok, weak := verify(t, h, hash, pw); !ok || weak {
				t.Errorf("%q: ok %v, weak %v", pw, ok, weak)
			}
			if ok, weak := verify(t, h, hash, pw+"\x00"); ok || weak {
				t.Errorf("%q and more: ok %v, weak %v", pw, ok, weak)
			}
		}
	}
	if ok, weak := verify(t, h, "", ""); ok || weak {
		t.Error("no password is a password")
	}
}

// The defaults, and a hash that the algorithm's own package made.
func TestDefaults(t *testing.T) {
	h := password.New(password.Params{})
	hash, err := h.Hash(ctx, "correct horse")
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%s, %v", hash, err)
	}
	enc := base64.RawStdEncoding.EncodeToString
	salt := []byte("somesaltsomesalt")
	foreign := "$argon2id$v=19$m=256,t=3,p=2$" + enc(salt) + "$" + enc(argon2.IDKey([]byte("correct horse"), salt, 3, 256, 2, 24))
	if ok, weak := verify(t, h, foreign, "correct horse"); !ok || !weak {
		t.Errorf("foreign: ok %v, weak %v", ok, weak)
	}
	if ok, weak := verify(t, h, foreign, "wrong horse"); ok || weak {
		t.Errorf("foreign and wrong: ok %v, weak %v", ok, weak)
	}
	if ok, weak := verify(t, password.New(cheap), hash, "correct horse"); !ok || weak {
		t.Errorf("stronger than need be: ok %v, weak %v", ok, weak)
	}
}

func TestBadHashes(t *testing.T) {
	h := password.New(cheap)
	good, err := h.Hash(ctx, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	for _, edit := range [][2]string{
		{"$argon2id$", "$argon2i$"},
		{"$argon2id$", "argon2id$"},
		{"v=19", "v=16"},
		{"v=19", "v=019"},
		{"m=64", "m=0"},
		{"m=64", "m=1048577"},
		{"m=64", "m=99999999999"},
		{"m=64", "m=064"},
		{"m=64", "m=-1"},
		{"m=64", "x=64"},
		{"t=1", "t=0"},
		{"t=1", "t=65"},
		{"p=1", "p=0"},
		{"p=1", "p=17"},
		{"p=1", "p=1,q=1"},
		{",p=1", ""},
		{good[strings.LastIndex(good, "$"):], "$"},
		{good[strings.LastIndex(good, "$"):], "$AAAA"},
		{good[strings.LastIndex(good, "$"):], "$" + strings.Repeat("A", 200)},
		{good[strings.LastIndex(good, "$"):], ""},
	} {
		bad := strings.Replace(good, edit[0], edit[1], 1)
		if bad == good {
			t.Fatalf("%v changes nothing", edit)
		}
		ok, _, err := h.Verify(ctx, bad, "correct horse")
		if ok || chat.CodeOf(err) != chat.CodeInternal {
			t.Errorf("%s: %v, %v", bad, ok, err)
		}
	}
	for _, bad := range []string{"x", "$", "$$$$$", good + "$", good + "\n", good + "=", "plain:correct horse"} {
		if ok, _, err := h.Verify(ctx, bad, "correct horse"); ok || err == nil {
			t.Errorf("%q: %v, %v", bad, ok, err)
		}
	}
}

// One works, one waits, the third is told to come back; whoever stops waiting
// leaves their place to others.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := password.New(password.Params{Memory: 64, Time: 1, Workers: 1, Queue: 1})
		leave := h.Occupy(t)
		waiting, giveUp := context.WithCancel(ctx)
		waited := make(chan error)
		go func() {
			_, err := h.Hash(waiting, "correct horse")
			waited <- err
		}()
		synctest.Wait()
		_, err := h.Hash(ctx, "correct horse")
		if e, _ := errors.AsType[*chat.Error](err); e == nil || e.Code != chat.CodeRateLimited || e.RetryAfter != 2*time.Second {
			t.Errorf("the queue is full: %v", err)
		}
		giveUp()
		if err := <-waited; !errors.Is(err, context.Canceled) {
			t.Errorf("gave up: %v", err)
		}
		go func() {
			_, _, err := h.Verify(ctx, "", "correct horse")
			waited <- err
		}()
		synctest.Wait()
		leave()
		if err := <-waited; err != nil {
			t.Error(err)
		}
	})
}

// What a login costs, with a hash and without one: the two are to be read beside
// each other, nothing here compares them.
func BenchmarkVerify(b *testing.B) {
	h := password.New(password.Params{})
	hash, err := h.Hash(ctx, "correct horse")
	if err != nil {
		b.Fatal(err)
	}
	for name, hash := range map[string]string{"hash": hash, "none": ""} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := h.Verify(ctx, hash, "wrong horse"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What is read is spelled in one way only, and within bounds.
func FuzzParse(f *testing.F) {
	hash, err := password.New(cheap).Hash(ctx, "correct horse")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(hash)
	f.Add("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, hash string) {
		if again, err := password.Reprint(hash); err == nil && again != hash {
			t.Errorf("%q became %q", hash, again)
		}
	})
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := password.New(password.Params{Memory: 64, Time: 1, Workers: 1, Queue: 1})
		leave := h.Occupy(t)
		waiting := make(chan error)
		go func() {
			_, err := h.Hash(ctx, "correct horse")
			waiting <- err
		}()
		synctest.Wait()
		if _, err := h.Hash(ctx, "correct horse"); chat.CodeOf(err) != chat.CodeRateLimited {
			t.Errorf("a third: %v", err)
		}
		if s := h.Stats(); s != (password.Stats{Refused: 1, Waiting: 1}) {
			t.Errorf("while one waits: %+v", s)
		}
		time.Sleep(time.Second)
		leave()
		if err := <-waiting; err != nil {
			t.Error(err)
		}
		if s := h.Stats(); s != (password.Stats{Hashed: 2, Refused: 1, Waited: time.Second, Took: time.Second}) {
			t.Errorf("in the end: %+v", s)
		}
	})
}

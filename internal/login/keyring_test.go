package login

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zalando/go-keyring"
)

// keyringHere is a machine with a desktop, and a keyring that does this.
func keyringHere(t *testing.T, failure error) {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
	keyring.MockInit()
	if failure != nil {
		keyring.MockInitWithError(failure)
	}
}

// inFile is what the file has.
func inFile(t *testing.T) string {
	t.Helper()
	path, err := Path()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func keep(t *testing.T, l Login, where Keyring) *Login {
	t.Helper()
	before, err := Keep(l, where)
	if err != nil {
		t.Fatal(err)
	}
	return before
}

var atSea = Login{Server: "grimas://chat.example.com:7007", Token: "gt_secret", UserID: "u_1", Username: "ana"}

func TestTokenInKeyring(t *testing.T) {
	keyringHere(t, nil)
	keep(t, atSea, Auto)
	if strings.Contains(inFile(t), atSea.Token) {
		t.Errorf("the file has it, too: %s", inFile(t))
	}
	first, err := Find("", "")
	if err != nil || first.Token != atSea.Token || first.Keyring == "" || first.Username != "ana" {
		t.Fatalf("found %+v, %v", first, err)
	}
	again := atSea
	again.Token = "gt_other"
	if before := keep(t, again, Auto); before == nil || before.Token != atSea.Token {
		t.Errorf("kept over %+v", before)
	}
	if _, err := keyring.Get(service, first.Keyring); !errors.Is(err, keyring.ErrNotFound) {
		t.Errorf("what was replaced is still there: %v", err)
	}
	if err := Forget(first); err != nil {
		t.Fatal(err)
	}
	second, err := Find("", "")
	if err != nil || second.Token != again.Token {
		t.Fatalf("after another was forgotten: %+v, %v", second, err)
	}
	if err := Forget(second); err != nil {
		t.Fatal(err)
	}
	if _, err := Find("", ""); !errors.Is(err, ErrNone) {
		t.Errorf("in the end: %v", err)
	}
	if _, err := keyring.Get(service, second.Keyring); !errors.Is(err, keyring.ErrNotFound) {
		t.Errorf("in the end the keyring: %v", err)
	}
	// From the keyring to the file.
	keep(t, atSea, Auto)
	if before := keep(t, again, Off); before == nil || before.Token != atSea.Token || !strings.Contains(inFile(t), again.Token) {
		t.Errorf("kept over %+v: %s", before, inFile(t))
	}
}

// A keyring that does not take a token is as good as none.
func TestNoKeyring(t *testing.T) {
	for name, set := range map[string]func(){
		"locked":     func() { keyringHere(t, errors.New("locked")) },
		"not asked":  func() { keyringHere(t, nil) },
		"no desktop": func() { keyringHere(t, nil); t.Setenv("DBUS_SESSION_BUS_ADDRESS", ""); t.Setenv("XDG_RUNTIME_DIR", "") },
		"no bus there": func() {
			keyringHere(t, nil)
			t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
			t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
		},
	} {
		set()
		where := Auto
		if name == "not asked" {
			where = Off
		}
		keep(t, atSea, where)
		if l, err := Find("", ""); err != nil || l != atSea || !strings.Contains(inFile(t), atSea.Token) {
			t.Errorf("%s: found %+v, %v", name, l, err)
		}
		if err := Forget(atSea); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A token that is in a keyring out of reach is told of, and can be replaced.
func TestKeyringOutOfReach(t *testing.T) {
	keyringHere(t, nil)
	keep(t, atSea, Auto)
	keyring.MockInitWithError(errors.New("locked"))
	l, err := Find("", "")
	if !errors.Is(err, ErrKeyring) || !strings.Contains(err.Error(), "locked") || l.Keyring == "" || l.Token != "" {
		t.Errorf("found %+v, %v", l, err)
	}
	again := atSea
	again.Token = "gt_other"
	before, err := Keep(again, Auto)
	if before == nil || before.Token != "" || err == nil {
		t.Errorf("kept over %+v, %v", before, err)
	}
	if l, err := Find("", ""); err != nil || l.Token != again.Token {
		t.Errorf("then found %+v, %v", l, err)
	}
	// Somebody cleared it out.
	keep(t, atSea, Off)
	keyring.MockInit()
	keep(t, again, Auto)
	keyring.MockInit()
	if _, err := Find("", ""); !errors.Is(err, ErrNone) {
		t.Errorf("of a keyring that was emptied: %v", err)
	}
}

// One that waits for somebody to unlock it is waited for, and not for ever.
func TestKeyringThatHangs(t *testing.T) {
	keyringHere(t, nil)
	synctest.Test(t, func(t *testing.T) {
		unlocked := make(chan struct{})
		began := time.Now()
		_, err := ask(func() (string, error) { <-unlocked; return "gt_late", nil })
		if took := time.Since(began); err == nil || took != keyringTime {
			t.Errorf("after %v: %v", took, err)
		}
		close(unlocked)
	})
}

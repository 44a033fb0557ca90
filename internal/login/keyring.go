package login

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/zalando/go-keyring"
)

// Keyring says where Keep puts a token.
type Keyring string

const (
	// Auto is in the system's keyring (the Secret Service, macOS's Keychain,
	// Windows' Credential Manager) where one takes it, else in the file.
	Auto Keyring = "auto"
	// Off is in the file.
	Off Keyring = "off"
)

// ErrKeyring says that a token is in the keyring, which does not give it: it is
// locked, or not there, as in a job of cron's.
var ErrKeyring = errors.New("the system's keyring does not give the token (grima login --keyring off keeps one in a file, GRIMA_TOKEN stands in for it)")

const (
	service = "grima" // what our entries are filed under
	// keyringTime is how long a keyring is waited for: one that wants to be
	// unlocked asks on a screen that may be elsewhere.
	keyringTime = 10 * time.Second
)

// present reports whether it makes sense to ask for a keyring. Without a session
// bus the library would try to start one.
func present() bool {
	switch runtime.GOOS {
	case "darwin", "windows":
		return true
	}
	if os.Getenv("DBUS_SESSION_BUS_ADDRESS") != "" {
		return true
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		return false
	}
	info, err := os.Stat(filepath.Join(dir, "bus"))
	return err == nil && info.Mode().Type() == os.ModeSocket
}

// ask asks the keyring. The library's calls cannot be ended: one that hangs ends
// with the program.
func ask[T any](do func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answered := make(chan answer, 1)
	var none T
	if !present() {
		return none, errors.New("there is none here")
	}
	go func() {
		value, err := do()
		answered <- answer{value, err}
	}()
	timer := time.NewTimer(keyringTime)
	defer timer.Stop()
	select {
	case a := <-answered:
		return a.value, a.err
	case <-timer.C:
		return none, fmt.Errorf("it did not answer within %v", keyringTime)
	}
}

// toKeyring puts l's token into the keyring and returns the name of its entry
// there: no two logins share one, also of two people with one keyring.
func toKeyring(l Login) (entry string, err error) {
	var unique [4]byte
	_, _ = rand.Read(unique[:]) // never fails
	entry = fmt.Sprintf("%s@%s %s", l.Username, l.Server, hex.EncodeToString(unique[:]))
	_, err = ask(func() (struct{}, error) { return struct{}{}, keyring.Set(service, entry, l.Token) })
	return entry, err
}

// fromKeyring is the token of an entry. ErrNone: it is not there any more.
func fromKeyring(entry string) (string, error) {
	token, err := ask(func() (string, error) { return keyring.Get(service, entry) })
	switch {
	case errors.Is(err, keyring.ErrNotFound):
		return "", fmt.Errorf("%w (the token is not in the keyring any more)", ErrNone)
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrKeyring, err)
	}
	return token, nil
}

// outOfKeyring takes an entry out, if it is there.
func outOfKeyring(entry string) error {
	_, err := ask(func() (struct{}, error) { return struct{}{}, keyring.Delete(service, entry) })
	if err != nil && !errors.Is(err, keyring.ErrNotFound) {
		return fmt.Errorf("taking the token out of the keyring: %w", err)
	}
	return nil
}

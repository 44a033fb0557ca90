// Package login keeps what a person's programs log in with: a file in their
// configuration directory, for them alone, with a login for each server. Its
// token is in the system's keyring where there is one, else in the file. The
// environment can stand in for both.
package login

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/grima-chat/grima/client"
)

// Login is what to connect to a server with.
type Login struct {
	Server    string `json:"server"` // as client.Address has it
	Token     string `json:"token,omitempty"`
	Keyring   string `json:"keyring,omitempty"` // the keyring's entry that has the token; empty: the file has it
	UserID    string `json:"user_id,omitempty"`
	Username  string `json:"username,omitempty"`
	ExpiresAt string `json:"expires_at,omitempty"`
	Insecure  bool   `json:"insecure,omitempty"` // see client.Config
}

// file is what stands in the file: the login used last comes first.
type file struct {
	Logins []Login `json:"logins"`
}

// ErrNone says that nobody is logged in.
var ErrNone = errors.New("nobody is logged in: grima login SERVER does that, and GRIMA_SERVER with GRIMA_TOKEN stand in for it")

// Path is where the file is: logins.json in the directory grima of the user's
// configuration directory.
func Path() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("finding the configuration directory: %w", err)
	}
	return filepath.Join(dir, "grima", "logins.json"), nil
}

// Find is the login to use: what server and token say (GRIMA_SERVER and
// GRIMA_TOKEN; either may be empty), else the one that is kept for the server,
// or the one used last. ErrNone: there is none. ErrKeyring: there is one, which
// is returned without its token.
func Find(server, token string) (Login, error) {
	if server != "" {
		var err error
		if server, err = client.Address(server); err != nil {
			return Login{}, err
		}
	}
	if server != "" && token != "" {
		return Login{Server: server, Token: token}, nil
	}
	f, err := load()
	if err != nil {
		return Login{}, err
	}
	i := 0
	if server != "" {
		i = slices.IndexFunc(f.Logins, func(l Login) bool { return l.Server == server })
	}
	switch {
	case token != "" && len(f.Logins) > 0:
		return Login{Server: f.Logins[0].Server, Token: token, Insecure: f.Logins[0].Insecure}, nil
	case token != "":
		return Login{}, errors.New("there is a token and no server: GRIMA_SERVER says which")
	case len(f.Logins) == 0:
		return Login{}, ErrNone
	case i < 0:
		return Login{}, fmt.Errorf("%w (not on %s)", ErrNone, server)
	}
	l := f.Logins[i]
	if l.Keyring != "" {
		l.Token, err = fromKeyring(l.Keyring)
	}
	return l, err
}

// Keep keeps a login, in the place of one on the same server, as the one used
// last. It returns the one it took the place of, if any; without its token if
// the keyring did not give that.
func Keep(l Login, where Keyring) (before *Login, err error) {
	l.Keyring = ""
	if where != Off {
		// Where it cannot be there it is in the file, as on a machine without one.
		if entry, err := toKeyring(l); err == nil {
			l.Token, l.Keyring = "", entry
		}
	}
	err = change(func(f *file) {
		if i := slices.IndexFunc(f.Logins, func(o Login) bool { return o.Server == l.Server }); i >= 0 {
			o := f.Logins[i]
			before = &o
			f.Logins = slices.Delete(f.Logins, i, i+1)
		}
		f.Logins = slices.Insert(f.Logins, 0, l)
	})
	over := "" // the entry in the keyring that is of no use any more
	if before != nil && before.Keyring != "" {
		over = before.Keyring
		before.Token, _ = fromKeyring(over) // as is said
	}
	if err != nil {
		over = l.Keyring
	}
	if over != "" {
		err = errors.Join(err, outOfKeyring(over))
	}
	return before, err
}

// Forget drops the login on a server, if it is still this one.
func Forget(l Login) error {
	was := false
	err := change(func(f *file) {
		n := len(f.Logins)
		f.Logins = slices.DeleteFunc(f.Logins, func(o Login) bool {
			return o.Server == l.Server && o.Keyring == l.Keyring && (o.Keyring != "" || o.Token == l.Token)
		})
		was = len(f.Logins) < n
	})
	if err == nil && l.Keyring != "" && was {
		err = outOfKeyring(l.Keyring)
	}
	return err
}

// change reads the file, has do change what is in it, and writes it, while no
// other command does: of two logins at once one was lost, and nobody could end it
// any more. The keyring, which may take its time, is to be asked before or after.
func change(do func(*file)) error {
	path, err := Path()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keeping the login: %w", err)
	}
	lock, err := lockedfile.OpenFile(filepath.Join(filepath.Dir(path), "logins.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("locking who is logged in: %w", err)
	}
	f, err := load()
	if err == nil {
		do(&f)
		err = save(f, path)
	}
	return errors.Join(err, lock.Close())
}

func load() (f file, err error) {
	path, err := Path()
	if err != nil {
		return f, err
	}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, nil
	case err != nil:
		return f, fmt.Errorf("reading who is logged in: %w", err)
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return f, fmt.Errorf("reading who is logged in from %s: %w", path, err)
	}
	return f, nil
}

// save writes the file anew, so that it is never there half.
func save(f file, path string) error {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "logins-*") // with mode 0600
	if err != nil {
		return fmt.Errorf("keeping the login: %w", err)
	}
	_, err = tmp.Write(append(text, '\n'))
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keeping the login: %w", err), os.Remove(tmp.Name()))
	}
	return nil
}

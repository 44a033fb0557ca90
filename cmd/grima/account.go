package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// account is somebody's login on a server, as it is kept on this machine.
type account struct {
	Server    string `json:"server"` // as client.Address says it
	UserID    string `json:"user_id"`
	Username  string `json:"username"`
	Token     string `json:"token"`
	ExpiresAt string `json:"expires_at,omitzero"`
}

// accountsFile is where accounts are kept, the one used last first. It is
// readable for its owner alone.
func accountsFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("finding the place for logins: %w", err)
	}
	return filepath.Join(dir, "grima", "accounts.json"), nil
}

// loadAccounts gives what is kept; none is no error.
func loadAccounts() ([]account, error) {
	file, err := accountsFile()
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []account
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the logins in %s: %w", file, err)
	}
	return all, nil
}

// findAccount is the login on server, or the one used last if that is empty.
func findAccount(server string) (account, bool, error) {
	all, err := loadAccounts()
	if err != nil {
		return account{}, false, err
	}
	for _, a := range all {
		if server == "" || a.Server == server {
			return a, true, nil
		}
	}
	return account{}, false, nil
}

// saveAccount keeps a as the login on its server.
func saveAccount(a account) error {
	return changeAccounts(func(all []account) []account { return append([]account{a}, without(all, a.Server)...) })
}

// dropAccount forgets the login on server.
func dropAccount(server string) error {
	return changeAccounts(func(all []account) []account { return without(all, server) })
}

func without(all []account, server string) []account {
	var rest []account
	for _, a := range all {
		if a.Server != server {
			rest = append(rest, a)
		}
	}
	return rest
}

// changeAccounts replaces the file whole.
func changeAccounts(change func([]account) []account) error {
	file, err := accountsFile()
	if err != nil {
		return err
	}
	all, err := loadAccounts()
	if err != nil {
		return err
	}
	raw, err := json.MarshalIndent(change(all), "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the logins: %w", err)
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keeping the login: %w", err)
	}
	tmp, err := os.CreateTemp(dir, ".accounts-*") // mode 0600
	if err != nil {
		return fmt.Errorf("keeping the login: %w", err)
	}
	_, err = tmp.Write(append(raw, '\n'))
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("keeping the login: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}

// stateDir is where what belongs to a login is kept (its cache, its outbox, its
// drafts). It is made if need be.
func (a account) stateDir() (string, error) {
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding the place for the cache: %w", err)
		}
		base = filepath.Join(home, ".local", "state")
	}
	who := a.UserID
	if who == "" { // a token of the environment: nobody knows yet whose
		sum := sha256.Sum256([]byte(a.Token))
		who = "token-" + hex.EncodeToString(sum[:6])
	}
	host := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, a.Server)
	dir := filepath.Join(base, "grima", host+"_"+who)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the place for the cache: %w", err)
	}
	return dir, nil
}

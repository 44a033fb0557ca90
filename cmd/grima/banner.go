package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// ownerLinkFile is the name of the file, in the data directory, that holds the
// owner's link while there is no owner (docs/operations.md#owner-link).
const ownerLinkFile = "owner-link"

// urlFile is the name of the file, in the data directory, that says where
// people reach the server, for the links of grima invite. It stays after a
// stop: invites can be made then too.
const urlFile = "url"

// writeOwn writes a line to a file in the data directory that only we can read.
func writeOwn(path, line string) error {
	// Not in place: a file of that name with another mode would keep it.
	if err := os.WriteFile(path+".new", []byte(line+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// ownerLink makes the link with which the first account is made, and writes it
// to a file that only we can read. It is empty, and the file gone, once there
// are users.
func ownerLink(ctx context.Context, svc *chat.Service, data, url string) (string, error) {
	path := filepath.Join(data, ownerLinkFile)
	code, ok, err := svc.OwnerInvite(ctx)
	if err != nil {
		return "", fmt.Errorf("making the owner's link: %w", err)
	}
	if !ok {
		return "", removeOwnerLink(data)
	}
	link := joinLink(url, code)
	if err := writeOwn(path, link); err != nil {
		return "", fmt.Errorf("writing the owner's link: %w", err)
	}
	return link, nil
}

// lookForUsers bounds what a stop waits for a store that may be away.
const lookForUsers = 3 * time.Second

// dropOwnerLink removes the owner's link if there is one and somebody has used
// it.
func dropOwnerLink(ctx context.Context, svc *chat.Service, data string) error {
	if _, err := os.Stat(filepath.Join(data, ownerLinkFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookForUsers)
	defer cancel()
	users, _, err := svc.Users(ctx, chat.Actor{Operator: true}, nil, "", 0, 1)
	if err != nil {
		return fmt.Errorf("looking whether the owner's link is of use still: %w", err)
	}
	if len(users) == 0 {
		return nil
	}
	return removeOwnerLink(data)
}

func removeOwnerLink(data string) error {
	if err := os.Remove(filepath.Join(data, ownerLinkFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the owner's link, which is of no use any more: %w", err)
	}
	return nil
}

// banner tells whoever started the server what it is and what to do now. It is
// the one place that shows the owner's link; the log never does.
func banner(w io.Writer, f *serveFlags, at net.Addr, link string) {
	url := f.publicURL(at)
	host, port := fromHere(at)
	b := build()
	keeps := "SQLite " + b.SQLite + " · data in " + f.Data
	if f.shared() {
		keeps = "data in " + storeWithoutPassword(f.Store) + " · control socket in " + f.Data
	}
	fmt.Fprintf(w, "grima %s · %s\n", b.Version, keeps)
	switch {
	case f.Dev:
		fmt.Fprintln(w, "DEV: anybody on this machine may register, and nothing limits rates. Not for anything you care about.")
	case f.registration() == chat.RegistrationInvite:
		fmt.Fprintln(w, "registration by invite: grima invite makes one")
	default:
		fmt.Fprintf(w, "registration %s\n", f.registration())
	}
	if f.Insecure && f.TLSCert == "" {
		fmt.Fprintln(w, "INSECURE: no TLS, as you said. Passwords cross the net in the clear.")
	}
	fmt.Fprintf(w, "\n  nc %s %s\n  curl -s %s/v1/openapi.json\n", host, port, url)
	if link != "" {
		fmt.Fprintf(w, "  %s\n    the owner's link: makes the first account, once; also in %s\n", link, filepath.Join(f.Data, ownerLinkFile))
	}
	fmt.Fprintf(w, "\ngrima: listening on %s\n", at)
}

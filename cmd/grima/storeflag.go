package main

import (
	"net/url"
	"strings"
)

// sqliteStore is --store for a database in the data directory.
const sqliteStore = "sqlite:"

// shared reports whether other servers may use the same store.
func (f *dataFlags) shared() bool { return f.Store != sqliteStore && f.Store != "" }

// checkStore sees that --store names a kind of store that there is.
func (f *dataFlags) checkStore() error {
	if !f.shared() {
		return nil
	}
	scheme, _, ok := strings.Cut(f.Store, "://")
	if !ok || scheme != "postgres" && scheme != "postgresql" {
		return usagef("--store is sqlite:, the database in the data directory, or begins with postgres://; this one does not")
	}
	if _, err := url.Parse(f.Store); err != nil { // whose text is not for the screen
		return usagef("--store is not a URL; one looks like postgres://grima@db.example.org/grima")
	}
	return nil
}

// storeWithoutPassword is what may be shown of --store.
func storeWithoutPassword(store string) string {
	if store == "" || store == sqliteStore {
		return store
	}
	u, err := url.Parse(store)
	if err != nil || u.Scheme == "" {
		return "..."
	}
	if _, ok := u.User.Password(); ok {
		u.User = url.User(u.User.Username())
	}
	if q := u.Query(); q.Has("password") || q.Has("sslpassword") {
		q.Del("password")
		q.Del("sslpassword")
		u.RawQuery = q.Encode()
	}
	return u.String()
}

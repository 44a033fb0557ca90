package main

// shared reports whether other servers may use the same store.
func (f *dataFlags) shared() bool { return false } // it is SQLite

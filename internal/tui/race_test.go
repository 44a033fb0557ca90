//go:build race

package tui

func init() { underRace = true }

//go:build race

package modeltest

// underRace says that everything takes ten times as long.
const underRace = true

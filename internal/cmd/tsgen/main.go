// Command tsgen writes the protocol's types for TypeScript, from package
// protocol and the table of operations:
//
//	go run ./internal/cmd/tsgen
//
// Run it at the root of the repository after a change of either. A test of this
// package compares what is there with what it would write.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	from := flag.String("protocol", "protocol", "the directory of package protocol")
	to := flag.String("o", "sdk/ts/src/protocol.gen.ts", "the file to write")
	flag.Parse()
	text, err := generate(*from)
	if err == nil {
		err = os.WriteFile(*to, text, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tsgen:", err)
		os.Exit(1)
	}
}

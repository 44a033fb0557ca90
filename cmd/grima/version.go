package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/go-json-experiment/json"
	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/protocol"
)

type versionCmd struct {
	JSON bool `name:"json" help:"Print as JSON."`
}

func (*versionCmd) Help() string {
	return `
    grima version
    grima version --json | jq -r .sqlite`
}

// buildInfo is what grima version tells.
type buildInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitzero"`
	Protocol int    `json:"protocol"`
	SQLite   string `json:"sqlite"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// build describes this binary. `go install` and `go build` leave the commit in
// the build information where the Makefile's linker flags do not.
func build() buildInfo {
	b := buildInfo{version, commit, protocol.Version, sqliteVersion(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if b.Version == "dev" && info.Main.Version != "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && b.Commit == "" {
			b.Commit = s.Value
		}
	}
	return b
}

// sqliteVersion asks the SQLite that is built in.
func sqliteVersion() string {
	db, err := sqlite3.Open(":memory:")
	if err != nil {
		return err.Error()
	}
	defer db.Close()
	s, _, err := db.Prepare("SELECT sqlite_version()")
	if err != nil {
		return err.Error()
	}
	defer s.Close()
	if !s.Step() {
		return fmt.Sprint(s.Err())
	}
	return s.ColumnText(0)
}

// Run prints the version.
func (c *versionCmd) Run(std stdio) error {
	b := build()
	raw, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return printResult(std.out, c.JSON, raw, func() string {
		text := fmt.Sprintf("grima %s\nprotocol %d\nSQLite %s\n%s %s\n", b.Version, b.Protocol, b.SQLite, b.Go, b.Platform)
		if b.Commit != "" {
			text += "commit " + b.Commit + "\n"
		}
		return text
	})
}

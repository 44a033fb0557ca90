// Package web holds the web client as it was built: what `make build` has put
// into dist, or nothing.
package web

import (
	"embed"
	"io/fs"
)

// The one file of dist that is always there begins with a dot; all: takes such
// too, so that there is something to embed before there is a page.
//
//go:embed all:dist
var dist embed.FS

// Files are the files of the page, index.html and what it loads. Without a build
// there is no index.html.
func Files() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the name is a good one
	}
	return files
}

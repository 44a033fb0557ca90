//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// report is what a suite has to say.
type report struct {
	name, about      string // the suite's
	machine, command string
	took             time.Duration
	plot             plot // above everything; may be empty
	sections         []section
	broken           error // a rule that the suite has, and that what it found breaks; nil: none
}

// section is a table with a sentence or two on how to read it.
type section struct {
	title, note string
	head        []string
	rows        [][]string
	plot        plot   // may be empty
	image       string // what its file's name ends in, when there is one
}

func (r *report) section(s section) { r.sections = append(r.sections, s) }

func (s *section) row(cells ...string) { s.rows = append(s.rows, cells) }

// images are the plots of the report by the names of their files; base is the
// report's own, without its end.
func (r *report) images(base string) map[string]plot {
	images := map[string]plot{}
	if len(r.plot.panels) > 0 {
		images[base+".svg"] = r.plot
	}
	for _, s := range r.sections {
		if len(s.plot.panels) > 0 {
			images[base+"-"+s.image+".svg"] = s.plot
		}
	}
	return images
}

// markdown prints the report; base, when not empty, is its file's name without
// its end, and the plots are there.
func (r *report) markdown(base string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Measured\n\n%s\n\n", r.machine)
	fmt.Fprintf(&b, "`%s`, in %s. Medians over the rounds, with (least..greatest); ratios are taken round by round. Client and server share the machine.\n", strings.TrimSpace(r.command), r.took.Round(time.Second))
	if base != "" && len(r.plot.panels) > 0 {
		fmt.Fprintf(&b, "\n![Rates](%s.svg)\n", base)
	}
	fmt.Fprintf(&b, "\n## %s: %s\n", r.name, r.about)
	for _, s := range r.sections {
		fmt.Fprintf(&b, "\n### %s\n\n", s.title)
		if s.note != "" {
			fmt.Fprintf(&b, "%s\n\n", s.note)
		}
		if base != "" && len(s.plot.panels) > 0 {
			fmt.Fprintf(&b, "![%s](%s-%s.svg)\n\n", s.title, base, s.image)
		}
		if len(s.rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(s.head, " | "), strings.Repeat("---|", len(s.head)))
		for _, row := range s.rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		}
	}
	return b.String()
}

// write puts the report and its plots into a directory.
func (r *report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	base := "bench"
	if r.name != "store" {
		base += "-" + r.name
	}
	for name, p := range r.images(base) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(p.svg()), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, base+".md"), []byte(r.markdown(base)), 0o644)
}

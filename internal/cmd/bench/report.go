package main

import (
	"fmt"
	"strings"
	"time"
)

// report is what a run has to say.
type report struct {
	machine, command string
	took             time.Duration
	chapters         []*chapter
	plot             plot
}

type chapter struct {
	name, about string
	sections    []section
}

// section is a table with a sentence or two on how to read it.
type section struct {
	title, note string
	head        []string
	rows        [][]string
}

func (r *report) chapter(name, about string) {
	r.chapters = append(r.chapters, &chapter{name: name, about: about})
}

func (r *report) section(s section) {
	c := r.chapters[len(r.chapters)-1]
	c.sections = append(c.sections, s)
}

func (s *section) row(cells ...string) { s.rows = append(s.rows, cells) }

// markdown prints the report; image, when not empty, is the plot's file.
func (r *report) markdown(image string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Measured\n\n%s\n\n", r.machine)
	fmt.Fprintf(&b, "`%s`, in %s. Medians over the rounds, with (least..greatest); ratios are taken round by round. Client and server share the machine.\n", strings.TrimSpace(r.command), r.took.Round(time.Second))
	if image != "" {
		fmt.Fprintf(&b, "\n![Rates](%s)\n", image)
	}
	for _, c := range r.chapters {
		fmt.Fprintf(&b, "\n## %s: %s\n", c.name, c.about)
		for _, s := range c.sections {
			fmt.Fprintf(&b, "\n### %s\n\n", s.title)
			if s.note != "" {
				fmt.Fprintf(&b, "%s\n\n", s.note)
			}
			fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(s.head, " | "), strings.Repeat("---|", len(s.head)))
			for _, row := range s.rows {
				fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
			}
		}
	}
	return b.String()
}

// Package docstest keeps the pages under docs/ true: links lead somewhere, the
// tables are those of the code, and the examples are what the codec takes.
package docstest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

var (
	explicitAnchor = regexp.MustCompile(`<a id="([^"]+)"></a>`)
	heading        = regexp.MustCompile(`(?m)^#{1,6} +(.+)$`)
	fence          = regexp.MustCompile("(?ms)^```.*?^```")
	code           = regexp.MustCompile("`[^`\n]*`")
	markdownLink   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	pageInComment  = regexp.MustCompile(`\bdocs/([a-z-]+\.md)(?:#([A-Za-z0-9._-]*[A-Za-z0-9_-]))?`)
	notInSlug      = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchorsOf lists what a link into a page may name: the explicit anchors, and
// what the headings become.
func anchorsOf(page string) map[string]bool {
	anchors := map[string]bool{}
	for _, m := range explicitAnchor.FindAllStringSubmatch(page, -1) {
		anchors[m[1]] = true
	}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		slug := notInSlug.ReplaceAllString(strings.ToLower(m[1]), "")
		anchors[strings.ReplaceAll(strings.TrimSpace(slug), " ", "-")] = true
	}
	return anchors
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// pages lists the Markdown pages that people read, by path below the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "protocol/testdata/vectors/*.md"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			name, err := filepath.Rel(root, p)
			if err != nil {
				t.Fatal(err)
			}
			found[filepath.ToSlash(name)] = read(t, p)
		}
	}
	return found
}

func TestLinksOfPagesLeadSomewhere(t *testing.T) {
	all := pages(t)
	for name, page := range all {
		text := code.ReplaceAllString(fence.ReplaceAllString(page, ""), "")
		for _, m := range markdownLink.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if target == "" {
				target = name
			} else {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(name), target))
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: %s: no such file", name, m[1])
				continue
			}
			if page, ok := all[target]; ok && anchor != "" && !anchorsOf(page)[anchor] {
				t.Errorf("%s: %s: no such anchor", name, m[1])
			}
		}
	}
}

func TestAnchorsStandOnce(t *testing.T) {
	for name, page := range pages(t) {
		seen := map[string]bool{}
		for _, m := range explicitAnchor.FindAllStringSubmatch(page, -1) {
			if seen[m[1]] {
				t.Errorf("%s: %s stands twice", name, m[1])
			}
			seen[m[1]] = true
		}
	}
}

func TestPagesNamedInTheCodeExist(t *testing.T) {
	all := pages(t)
	n := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root && d.Name() != ".." {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		for _, m := range pageInComment.FindAllStringSubmatch(read(t, path), -1) {
			n++
			page, ok := all["docs/"+m[1]]
			switch {
			case !ok:
				t.Errorf("%s: %s: no such page", path, m[0])
			case m[2] != "" && !anchorsOf(page)[m[2]]:
				t.Errorf("%s: %s: no such anchor", path, m[0])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 20 {
		t.Errorf("only %d found: are they still written like this?", n)
	}
}

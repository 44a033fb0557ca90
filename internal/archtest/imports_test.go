// Package archtest watches what docs/architecture.md promises of the packages.
package archtest

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/grima-chat/grima/"

// may says which of our packages each room may import. A room that is not here
// is a place where implementations are chosen (cmd, tests, tools) and is
// imported by nobody in the table.
var may = map[string][]string{
	"protocol":                {},
	"client":                  {"protocol"},
	"client/cache":            {"client", "protocol"},
	"internal/chat":           {},
	"internal/password":       {"internal/chat"},
	"internal/words":          {},
	"internal/store/batch":    {"internal/chat", "internal/words"},
	"internal/store/transfer": {},
	"internal/store/sqlite":   {"internal/chat", "internal/store/batch", "internal/store/transfer"},
	"internal/store/postgres": {"internal/chat", "internal/store/batch", "internal/store/transfer"},
	"internal/hub":            {"internal/chat"},
	"internal/hub/natsbus":    {"internal/hub"},
	"internal/websocket":      {},
	"internal/picture":        {},
	"web":                     {},
	"internal/aside":          {},
	"internal/api":            {"internal/chat", "internal/aside", "protocol"},
	"internal/limits":         {"internal/chat", "internal/api"},
	"internal/queue":          {},
	"internal/stream":         {"internal/chat", "internal/api", "internal/hub", "internal/limits", "internal/queue", "internal/websocket", "protocol"},
	"internal/httpapi":        {"internal/chat", "internal/api", "internal/limits", "internal/picture", "internal/websocket", "protocol"},
	"internal/metrics":        {"internal/hub", "internal/queue", "internal/limits", "internal/password", "internal/server", "internal/api", "protocol"},
	"internal/tui":            {"client", "protocol"},
	"internal/login":          {"client"},
	"internal/server":         {"internal/stream", "internal/httpapi", "protocol"},
}

// outside says what of other people's the rooms may import whose importers ask:
// the domain, and what is public. The others have their own say.
var outside = map[string][]string{
	"internal/chat":      {},
	"internal/websocket": {},
	"internal/picture":   {},
	"web":                {},
	"protocol":           {"github.com/go-json-experiment/json"},
	"client":             {"github.com/go-json-experiment/json", "github.com/coder/websocket"},
}

func TestImportsPointDown(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	rooms := 0
	for line := range strings.Lines(string(out)) {
		path, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		room := strings.TrimPrefix(path, module)
		allowed, watched := may[room]
		if !watched {
			continue
		}
		rooms++
		for _, ours := range allowed {
			if !slices.Contains(strings.Fields(imports), module+ours) {
				t.Errorf("%s does not import %s: it need not be allowed to", room, ours)
			}
		}
		for _, imported := range strings.Fields(imports) {
			ours, is := strings.CutPrefix(imported, module)
			switch {
			case is && !slices.Contains(allowed, ours):
				t.Errorf("%s imports %s: docs/architecture.md says it may import only %v", room, ours, allowed)
			case is || !strings.Contains(strings.Split(imported, "/")[0], "."):
			default:
				modules, asked := outside[room]
				if asked && !slices.ContainsFunc(modules, func(m string) bool { return imported == m || strings.HasPrefix(imported, m+"/") }) {
					t.Errorf("%s imports %s: besides the standard library it should need only %v", room, imported, modules)
				}
			}
		}
	}
	if rooms != len(may) {
		t.Errorf("there are %d of the %d rooms that are watched", rooms, len(may))
	}
}

// row is a row of the table of rooms in docs/architecture.md: whose it is, and
// what they import of ours.
var row = regexp.MustCompile("(?m)^\\| (`[^|]*`) \\|[^|]*\\| ([^|]*) \\|$")

// tableOfRooms is what the table says of each room's imports.
func tableOfRooms(t *testing.T) map[string]string {
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		for name := range strings.SplitSeq(m[1], ", ") {
			said[strings.Trim(name, "`")] = m[2]
		}
	}
	return said
}

func TestTheTableOfRoomsSaysSo(t *testing.T) {
	said := tableOfRooms(t)
	for room, allowed := range may {
		names := make([]string, len(allowed))
		for i, name := range allowed {
			names[i] = strings.TrimPrefix(name, "internal/")
		}
		slices.Sort(names)
		list, alone := strings.CutSuffix(said[room], ", and the standard library only")
		got := strings.Split(list, ", ")
		if list == "none" {
			got = []string{}
		}
		slices.Sort(got)
		if !slices.Equal(got, names) {
			t.Errorf("docs/architecture.md says of %s that it imports %q, and it is %q", room, said[room], names)
		}
		if modules, asked := outside[room]; alone && (!asked || len(modules) > 0) {
			t.Errorf("docs/architecture.md says of %s that it needs the standard library only, which nobody watches", room)
		}
	}
}

// What is there for tests is in no program and in no SDK.
func TestRoomsForTestsAreNotShipped(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", module+"cmd/grima", module+"client/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	shipped := strings.Fields(string(out))
	rooms := 0
	for room, said := range tableOfRooms(t) {
		if !strings.HasPrefix(said, "tests ") {
			continue
		}
		rooms++
		if slices.Contains(shipped, module+room) {
			t.Errorf("%s is in what is shipped: docs/architecture.md says it is for %s", room, said)
		}
	}
	if rooms < 5 {
		t.Errorf("only %d rooms are for tests", rooms)
	}
}

package docstest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/protocol"
)

const specification = root + "/docs/protocol.md"

// constants lists the values of package protocol's string constants whose name
// begins with prefix and goes on with a capital.
func constants(t *testing.T, prefix string) []string {
	t.Helper()
	named := regexp.MustCompile("^" + prefix + "[A-Z]")
	var values []string
	for _, file := range []string{"ops.go", "errors.go", "frames.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), root+"/protocol/"+file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || !named.MatchString(spec.Names[0].Name) {
				return true
			}
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				v, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, v)
			}
			return true
		})
	}
	if len(values) == 0 {
		t.Fatalf("no constants named %s...", prefix)
	}
	return values
}

// rows lists the cells of the table that follows an anchor, without its head.
func rows(t *testing.T, anchor string) [][]string {
	t.Helper()
	_, after, ok := strings.Cut(read(t, specification), `<a id="`+anchor+`"></a>`)
	if !ok {
		t.Fatalf("no anchor %s", anchor)
	}
	var found [][]string
	for line := range strings.Lines(after) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			if len(found) > 0 {
				break
			}
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		found = append(found, cells)
	}
	if len(found) < 3 {
		t.Fatalf("no table after %s", anchor)
	}
	return found[2:]
}

var quoted = regexp.MustCompile("`([^`]+)`")

func inCode(cell string) []string {
	var names []string
	for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
		names = append(names, m[1])
	}
	return names
}

func TestErrorCodesAreTheTable(t *testing.T) {
	var want, got []string
	for _, c := range protocol.Codes() {
		retryable := "no"
		if c.Retryable {
			retryable = "yes"
		}
		want = append(want, fmt.Sprintf("%s %d %s", c.Code, c.Status, retryable))
	}
	for _, r := range rows(t, "errors") {
		got = append(got, fmt.Sprintf("%s %s %s", strings.Trim(r[0], "`"), r[1], r[2]))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("errors (-code +page):\n%s", d)
	}
	if codes := constants(t, "Code"); len(codes) != len(want) {
		t.Errorf("%d codes, and %d rows in protocol.Codes", len(codes), len(want))
	}
}

func TestGoodbyeCodesAreTheTable(t *testing.T) {
	var want, got []string
	for _, c := range constants(t, "Goodbye") {
		reconnect := "no"
		if protocol.GoodbyeCode(c).Reconnect() {
			reconnect = "yes"
		}
		want = append(want, fmt.Sprint(c, " ", reconnect, " ", protocol.GoodbyeCode(c).CloseCode()))
	}
	for _, r := range rows(t, "goodbye") {
		got = append(got, strings.Trim(r[0], "`")+" "+r[1]+" "+r[2])
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("goodbyes (-code +page):\n%s", d)
	}
}

func TestEventsAndTypesAreInThePage(t *testing.T) {
	page := read(t, specification)
	for _, name := range slices.Concat(constants(t, "Event"), constants(t, "Type"), constants(t, "Mechanism")) {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("%s is not in the page", name)
		}
	}
}

// members lists a struct's members as the page writes them.
func members(s reflect.Type) []string {
	var names []string
	for i := range s.NumField() {
		name, options, _ := strings.Cut(s.Field(i).Tag.Get("json"), ",")
		if options == "omitzero" {
			name += "?"
		}
		names = append(names, name)
	}
	return names
}

func TestOperationsAreTheTable(t *testing.T) {
	page := read(t, specification)
	anchors := anchorsOf(page)
	table := rows(t, "operations")
	ops := constants(t, "Op")
	if len(table) != len(ops) {
		t.Errorf("%d rows for %d operations", len(table), len(ops))
	}
	var order []string
	for _, r := range table {
		name := inCode(r[0])[0]
		order = append(order, name)
		op, ok := api.Lookup(name)
		if !ok || !slices.Contains(ops, name) {
			t.Errorf("%s: no such operation", name)
			continue
		}
		if !anchors[name] {
			t.Errorf("%s has no anchor", name)
		}
		if d := cmp.Diff(members(op.Params), inCode(r[1])); d != "" {
			t.Errorf("%s: params (-code +page):\n%s", name, d)
		}
		if d := cmp.Diff(members(op.Result), inCode(r[2])); d != "" {
			t.Errorf("%s: result (-code +page):\n%s", name, d)
		}
		for _, c := range inCode(r[4]) {
			if protocol.Code(c).Info().Code != protocol.Code(c) || !slices.Contains(constants(t, "Code"), c) {
				t.Errorf("%s: %s is no error code", name, c)
			}
		}
	}
	var want []string
	for _, op := range api.Operations() {
		want = append(want, op.Name)
	}
	if d := cmp.Diff(want, order); d != "" {
		t.Errorf("order (-code +page):\n%s", d)
	}
}

// What may be asked again is a promise of the page, and each SDK goes by it.
func TestWhatMayBeAskedAgainIsTheTable(t *testing.T) {
	for _, r := range rows(t, "operations") {
		name, said := inCode(r[0])[0], r[5]
		key, ok := protocol.Repeats(name)
		want := "no"
		switch {
		case key != "":
			want = "with `" + key + "`"
			said, _, _ = strings.Cut(said, ",") // or private
		case ok:
			want = "yes"
		}
		if said != want {
			t.Errorf("%s may be asked again: %s, and the page says %s", name, want, r[5])
		}
		op, known := api.Lookup(name)
		if !known || key == "" {
			continue
		}
		if !slices.Contains(members(op.Params), key+"?") {
			t.Errorf("%s has no %s", name, key)
		}
	}
}

func TestRoutesAreTheTable(t *testing.T) {
	var want, got []string
	for _, op := range api.Operations() {
		for _, route := range op.Routes {
			want = append(want, route+" "+op.Name)
		}
	}
	for _, r := range rows(t, "http") {
		ops := inCode(r[1])
		if len(ops) != 1 {
			continue // not an operation's
		}
		for _, route := range inCode(r[0]) {
			got = append(got, route+" "+ops[0])
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("routes (-code +page):\n%s", d)
	}
}

var jsonBlock = regexp.MustCompile("(?ms)^```json\n(.*?)^```")

// Examples are lines of the protocol: requests that the server takes, and frames
// that it could have sent, byte by byte.
func TestExamplesAreWhatTheCodecTakes(t *testing.T) {
	n := 0
	for _, block := range jsonBlock.FindAllStringSubmatch(read(t, specification), -1) {
		for line := range strings.Lines(block[1]) {
			line = strings.TrimSpace(line)
			n++
			if strings.Contains(line, `Request"`) {
				checkRequest(t, line)
			} else {
				checkFrame(t, line)
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d examples found", n)
	}
}

func checkRequest(t *testing.T, line string) {
	t.Helper()
	req, bad := protocol.DecodeRequest([]byte(line))
	if bad != nil {
		t.Errorf("%s: %v", line, bad)
		return
	}
	op, ok := api.Lookup(req.Op)
	if !ok || op.Frame != req.Type {
		t.Errorf("%s: %s does not go in a %s", line, req.Op, req.Type)
		return
	}
	ignored, bad := protocol.DecodeParams(req.Params, reflect.New(op.Params).Interface())
	// One example shows what becomes of a misspelt member.
	if bad != nil || len(ignored) > 0 && ignored[0] != "chatid" {
		t.Errorf("%s: ignored %q, %v", line, ignored, bad)
	}
}

func checkFrame(t *testing.T, line string) {
	t.Helper()
	frame, bad := protocol.DecodeFrame([]byte(line))
	if bad != nil {
		t.Errorf("%s: %v", line, bad)
		return
	}
	if _, ok := frame.(*protocol.Unknown); ok {
		t.Errorf("%s: no frame has this type", line)
	}
	again, err := protocol.AppendFrame(nil, frame)
	if err != nil || string(again) != line+"\n" {
		t.Errorf("the example\n%s\nis written\n%s (%v)", line, again, err)
	}
	answer, ok := frame.(*protocol.Response)
	if !ok || answer.Type == protocol.TypePong || answer.Error != nil {
		return
	}
	op, ok := api.Lookup(answer.Op)
	if !ok || op.Frame.Response() != answer.Type {
		t.Errorf("%s: %s is not answered by a %s", line, answer.Op, answer.Type)
		return
	}
	result := reflect.New(op.Result).Interface()
	if err := json.Unmarshal(answer.Result, result, json.RejectUnknownMembers(true)); err != nil {
		t.Errorf("%s: %v", line, err)
		return
	}
	b, err := json.Marshal(result)
	if d := cmp.Diff(string(answer.Result), string(b)); err != nil || d != "" {
		t.Errorf("the result of %s (-example +written): %s (%v)", answer.Op, d, err)
	}
}

// The pages said 256, and the server took 512.
func TestPagesSayHowMuchIsUnderWay(t *testing.T) {
	bound := strconv.Itoa(protocol.MaxInFlight)
	for page, sentence := range map[string]string{
		specification:                  "At most " + bound + " of them are under way for one connection",
		root + "/docs/architecture.md": "stops reading at " + bound + " under way",
		root + "/docs/operations.md":   "| sends of one connection under way | " + bound + ",",
	} {
		if !strings.Contains(read(t, page), sentence) {
			t.Errorf("%s does not say: %s", page, sentence)
		}
	}
}

package httpapi

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/protocol"
)

// input is where a route's params come from: some from the path, the others
// from the query (GET, HEAD, DELETE) or from the body, a JSON object.
type input struct {
	path  []string
	kinds map[string]kind
	body  bool
	self  bool // the path says that it is about oneself, so that no user_id may
}

// kind is how a member stands in a path or a query, which have only strings.
type kind int

const (
	kindString kind = iota
	kindBare        // an integer or a boolean
	kindList        // of strings, between commas
	kindOpt         // a string; empty stands for null
)

var wildcards = regexp.MustCompile(`\{([a-z_]+)\}`)

func inputOf(op *api.Operation, route string) input {
	in := input{kinds: map[string]kind{}}
	method, path, _ := strings.Cut(route, " ")
	in.body = method != http.MethodGet && method != http.MethodDelete
	for _, m := range wildcards.FindAllStringSubmatch(path, -1) {
		in.path = append(in.path, m[1])
	}
	for _, m := range membersOf(op.Params) {
		in.kinds[m.name] = kindOf(m.typ)
		if m.name == "user_id" && strings.HasSuffix(path, "/me") {
			in.self = true
		}
	}
	return in
}

func kindOf(t reflect.Type) kind {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Int64, reflect.Bool:
		return kindBare
	case reflect.Slice:
		return kindList
	case reflect.Struct:
		return kindOpt
	}
	return kindString
}

// params puts the params together as a JSON object, for the codec to judge. An
// error comes with its status.
func (in input) params(w http.ResponseWriter, r *http.Request) (params []byte, status int, err *protocol.Error) {
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err.Code.Info().Status, err
	}
	body, status, err := readBody(w, r, in.body)
	if err != nil {
		return nil, status, err
	}
	if len(body) > 0 {
		// Judged alone first, so that what is wrong with it is told as it is
		// in the body, and so that more members can be put before its end.
		if _, err := protocol.DecodeParams(body, &protocol.Empty{}); err != nil {
			return nil, err.Code.Info().Status, err
		}
		var members map[string]jsontext.Value
		if failure := json.Unmarshal(body, &members); failure != nil {
			return nil, http.StatusInternalServerError, protocol.NewError(protocol.CodeInternal, "the body could not be taken apart")
		}
		for name := range members {
			if err := in.inPath(name); err != nil {
				return nil, err.Code.Info().Status, err
			}
		}
		params = bytes.TrimRight(body[:len(body)-1], " \t\r\n") // of {\n} the brace alone
	} else {
		params = []byte{'{'}
	}
	add := func(name, value string, k kind) {
		if err != nil {
			return
		}
		if last := params[len(params)-1]; last != '{' {
			params = append(params, ',')
		}
		params, err = appendMember(params, name, value, k)
	}
	for _, name := range in.path {
		add(name, r.PathValue(name), in.kinds[name])
	}
	for _, q := range query {
		if in.body {
			err = protocol.NewError(protocol.CodeInvalidRequest, "this route takes its members in the body, not in the query")
		} else if twice := in.inPath(q.name); twice != nil {
			err = twice
		}
		add(q.name, q.value, in.kinds[q.name])
	}
	if err != nil {
		return nil, err.Code.Info().Status, err
	}
	return append(params, '}'), 0, nil
}

// inPath refuses a member that the path says already.
func (in input) inPath(name string) *protocol.Error {
	switch {
	case in.self && name == "user_id":
		return protocol.NewError(protocol.CodeInvalidRequest, "this route is about oneself, without a user_id")
	case slices.Contains(in.path, name):
		return protocol.NewError(protocol.CodeInvalidRequest, name+" stands in the path, and nowhere else")
	}
	return nil
}

var bare = regexp.MustCompile(`^(?:-?(?:0|[1-9][0-9]*)|true|false)$`)

// appendMember appends "name":value. What should be an integer or a boolean and
// is not goes on as a string, so that the codec refuses it in its own words.
func appendMember(dst []byte, name, value string, k kind) ([]byte, *protocol.Error) {
	dst, err := jsontext.AppendQuote(dst, name)
	dst = append(dst, ':')
	switch {
	case err != nil:
	case k == kindOpt && value == "":
		dst = append(dst, "null"...)
	case k == kindBare && bare.MatchString(value):
		dst = append(dst, value...)
	case k == kindList:
		dst = append(dst, '[')
		if value != "" {
			for i, v := range strings.Split(value, ",") {
				if i > 0 {
					dst = append(dst, ',')
				}
				if dst, err = jsontext.AppendQuote(dst, v); err != nil {
					break
				}
			}
		}
		dst = append(dst, ']')
	default:
		dst, err = jsontext.AppendQuote(dst, value)
	}
	if err != nil {
		return dst, protocol.NewError(protocol.CodeInvalidUTF8, "the path or the query is not UTF-8")
	}
	return dst, nil
}

type pair struct{ name, value string }

// parseQuery keeps the order of a query and refuses what one should not have:
// the same name twice, and tokens, which end up in logs and histories.
func parseQuery(raw string) ([]pair, *protocol.Error) {
	var out []pair
	seen := map[string]bool{}
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(name)
		if err == nil {
			value, err = url.QueryUnescape(value)
		}
		switch {
		case err != nil:
			return nil, protocol.NewError(protocol.CodeInvalidRequest, "the query is not well formed")
		case name == "token" || name == "access_token":
			return nil, protocol.NewError(protocol.CodeInvalidRequest, "a token does not go in an address: send it as Authorization: Bearer <token>")
		case seen[name]:
			return nil, protocol.NewError(protocol.CodeInvalidRequest, "the query has one name twice; lists go between commas")
		}
		seen[name] = true
		out = append(out, pair{name, value})
	}
	return out, nil
}

// readBody reads a body that must be JSON, without the blanks behind it; those
// before it stay, since what is wrong is told by its byte. An empty one needs no
// Content-Type.
func readBody(w http.ResponseWriter, r *http.Request, allowed bool) (body []byte, status int, err *protocol.Error) {
	if r.ContentLength == 0 {
		return nil, 0, nil
	}
	refuse := func(status int, code protocol.Code, message string) ([]byte, int, *protocol.Error) {
		return nil, status, protocol.NewError(code, message)
	}
	if !allowed {
		return refuse(http.StatusBadRequest, protocol.CodeInvalidRequest, r.Method+" takes no body here; members go in the query")
	}
	if media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" ||
		params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8") {
		return refuse(http.StatusUnsupportedMediaType, protocol.CodeInvalidRequest, "the Content-Type must be application/json")
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return refuse(http.StatusUnsupportedMediaType, protocol.CodeInvalidRequest, "a body is taken as it is, without Content-Encoding")
	}
	most := int64(protocol.MaxFrame)
	if len(r.Header.Values("Authorization")) == 0 && !byCookie(r) {
		most = protocol.MaxFrameLogin
	}
	body, failure := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if _, large := errors.AsType[*http.MaxBytesError](failure); large {
		w.Header().Set("Connection", "close") // rather than read the rest of it
		return refuse(http.StatusRequestEntityTooLarge, protocol.CodeFrameTooLarge, "the body is too large")
	}
	if failure != nil {
		return refuse(http.StatusBadRequest, protocol.CodeInvalidRequest, "the body did not arrive whole")
	}
	return bytes.TrimRight(body, " \t\r\n"), 0, nil
}

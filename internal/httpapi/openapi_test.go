package httpapi

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	validationerrors "github.com/pb33f/libopenapi-validator/errors"

	"github.com/grima-chat/grima/internal/api"
)

// checker validates real requests and answers against the document.
func checker(t *testing.T) validator.Validator {
	t.Helper()
	doc, err := libopenapi.NewDocument(openAPIDocument(api.Roles{}))
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(doc, config.WithFormatAssertions(),
		// Strict: a member that the document does not declare is an error here.
		config.WithStrictMode(),
		config.WithStrictIgnorePaths("$.body.params.**", "$.body.result.**", "$.body.openapi", "$.body.info", "$.body.paths", "$.body.components", "$.body.servers"),
		config.WithStrictIgnoredHeadersExtra("Content-Security-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy",
			"Permissions-Policy", "Referrer-Policy", "X-Content-Type-Options", "X-Frame-Options"))
	for _, err := range errs {
		t.Fatal(err)
	}
	return v
}

func TestOpenAPIDocumentIsValid(t *testing.T) {
	if ok, errs := checker(t).ValidateDocument(); !ok {
		for _, e := range errs {
			t.Errorf("%s: %s", e.Message, e.Reason)
			for _, s := range e.SchemaValidationErrors {
				t.Errorf("  %s at %s", s.Reason, s.FieldPath)
			}
		}
	}
}

func TestOpenAPIDocumentIsServed(t *testing.T) {
	w := httptest.NewRecorder()
	New(Config{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/openapi.json", nil))
	var doc struct {
		OpenAPI string                               `json:"openapi"`
		Paths   map[string]map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != http.StatusOK || doc.OpenAPI != "3.1.0" {
		t.Fatalf("%d %s %v", w.Code, doc.OpenAPI, err)
	}
	ids := map[any]string{}
	for _, op := range api.Operations() {
		for _, route := range op.Routes {
			method, path, _ := strings.Cut(route, " ")
			o := doc.Paths[path][strings.ToLower(method)]
			if o["x-grima-op"] != op.Name || o["summary"] != op.Summary {
				t.Errorf("%s: the document has %v", route, o)
			}
		}
	}
	for path, item := range doc.Paths {
		for method, o := range item {
			if other := ids[o["operationId"]]; other != "" {
				t.Errorf("%s %s has the operationId of %s", method, path, other)
			}
			ids[o["operationId"]] = method + " " + path
		}
	}
}

// checkedTransport holds every request that succeeds, and every answer, against
// the document.
type checkedTransport struct {
	t         *testing.T
	next      http.RoundTripper
	checker   validator.Validator
	described map[string]bool // routes of requests that succeeded
}

func (c *checkedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.checker == nil {
		c.checker = checker(c.t)
	}
	var sent []byte
	if r.Body != nil {
		var err error
		if sent, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	body := func() io.ReadCloser {
		if len(sent) == 0 {
			// Of another empty body net/http finds out by reading, and if that takes
			// 200 ms, it is sent as one of chunks.
			return http.NoBody
		}
		return io.NopCloser(bytes.NewReader(sent))
	}
	r.Body = body()
	res, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, errors.Join(err, res.Body.Close())
	}
	if err := res.Body.Close(); err != nil {
		return nil, err
	}
	r.Body, res.Body = body(), io.NopCloser(bytes.NewReader(got))
	if ok, errs := c.checker.ValidateHttpResponse(r, res); !ok {
		c.complain("the answer to", r, string(got), errs)
	}
	r.Body = body()
	if res.StatusCode < 300 && res.Header.Get(ignoredHeader) == "" {
		if ok, errs := c.checker.ValidateHttpRequest(r); !ok {
			c.complain("the request", r, string(sent), errs)
		}
		for _, op := range api.Operations() {
			for _, route := range op.Routes {
				if matches(route, r) {
					c.described[route] = true
				}
			}
		}
	}
	res.Body = io.NopCloser(bytes.NewReader(got))
	return res, nil
}

func (c *checkedTransport) complain(what string, r *http.Request, body string, errs []*validationerrors.ValidationError) {
	c.t.Helper()
	c.t.Errorf("%s %s %s is not as described: %s", what, r.Method, r.URL, body)
	for _, e := range errs {
		c.t.Errorf("  %s: %s", e.Message, e.Reason)
		for _, s := range e.SchemaValidationErrors {
			c.t.Errorf("    %s at %s", s.Reason, s.FieldPath)
		}
	}
}

func matches(route string, r *http.Request) bool {
	method, path, _ := strings.Cut(route, " ")
	pattern := regexp.MustCompile("^" + wildcards.ReplaceAllString(path, "[^/]+") + "$")
	return method == r.Method && pattern.MatchString(r.URL.Path)
}

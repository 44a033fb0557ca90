package httpapi

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/picture"
	"github.com/grima-chat/grima/protocol"
)

// The OpenAPI 3.1 document is made of the same table as the routes, by looking
// at the types of params and results.

// object is a JSON object in the making.
type object = map[string]any

func (h *handler) openAPI(w http.ResponseWriter, _ *http.Request) {
	h.openAPIOnce.Do(func() {
		var roles api.Roles
		if h.API != nil {
			roles = h.API.Roles
		}
		h.openAPIDocument = openAPIDocument(roles)
	})
	writeJSON(w, http.StatusOK, slices.Clone(h.openAPIDocument))
}

// servers are where the paths are: x-grima-frame says which of two serves one.
func servers(r api.Roles) []any {
	list := []any{object{"url": "/"}}
	if r.DataURL != "" {
		list = append(list, object{"url": r.DataURL, "description": "DataRequest"})
	}
	if r.StreamURL != "" {
		list = append(list, object{"url": r.StreamURL, "description": "BroadcastRequest, WebSocket, events"})
	}
	return list
}

func openAPIDocument(roles api.Roles) []byte {
	d := document{paths: object{}, schemas: object{}}
	for _, op := range api.Operations() {
		for _, route := range op.Routes {
			d.addRoute(op, route)
		}
	}
	d.addFrames("/v1/data", protocol.TypeDataRequest)
	d.addFrames("/v1/broadcast", protocol.TypeBroadcastRequest)
	d.addLive()
	d.addAvatars()
	d.addPlain("/v1/openapi.json", "openapi", "This document", anything)
	d.addPlain("/healthz", "healthz", "Whether the process runs", statusSchema)
	d.addPlain("/readyz", "readyz", "Whether this node can take traffic", statusSchema)
	out, err := json.Marshal(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Grima", "version": fmt.Sprint(protocol.Version),
			"license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
			"description": "Every data and broadcast operation of the Grima protocol as a resource. " +
				"Members that the server does not know are ignored and listed in the header " + ignoredHeader +
				"; with \"Prefer: handling=strict\" they are an error. Integers are below 2^53.",
		},
		"servers": servers(roles),
		"paths":   d.paths,
		"components": object{
			"schemas": d.schemas,
			"securitySchemes": object{
				"bearer": object{"type": "http", "scheme": "bearer", "description": "a token from POST /v1/sessions or POST /v1/tokens"},
				"cookie": object{"type": "apiKey", "in": "cookie", "name": cookieName, "description": "the same, in a browser; it counts only for what this server's own pages ask for"},
			},
			"headers": object{
				ignoredHeader:      object{"description": "members that were not known, as quoted strings between commas", "schema": object{"type": "string"}},
				"WWW-Authenticate": object{"description": "with status 401", "schema": object{"type": "string"}},
				"Retry-After":      object{"description": "seconds", "schema": object{"type": "integer"}},
			},
			"responses": object{
				"Problem": object{
					"description": "an error; code says which",
					"headers": object{
						ignoredHeader:      ref("headers", ignoredHeader),
						"Retry-After":      ref("headers", "Retry-After"),
						"WWW-Authenticate": ref("headers", "WWW-Authenticate"),
					},
					"content": object{"application/problem+json": object{"schema": d.schema(reflect.TypeFor[Problem]())}},
				},
			},
		},
	}, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		panic(err) // maps of strings cannot fail; a test makes the document
	}
	return out
}

var anything = object{"type": "object", "additionalProperties": true}

var statusSchema = object{"type": "object", "required": []any{"status"}, "properties": object{"status": object{"type": "string"}}}

// document is the OpenAPI document in the making.
type document struct {
	paths   object
	schemas object
}

func ref(section, name string) object { return object{"$ref": "#/components/" + section + "/" + name} }

func (d *document) addOperation(path, method string, o object) {
	item, ok := d.paths[path].(object)
	if !ok {
		item = object{}
		d.paths[path] = item
	}
	item[strings.ToLower(method)] = o
}

func (d *document) addRoute(op *api.Operation, route string) {
	method, path, _ := strings.Cut(route, " ")
	in := inputOf(op, route)
	id := op.Name
	if strings.HasSuffix(path, "/me") && !strings.HasSuffix(id, ".me") {
		id += ".me"
	}
	tag, _, _ := strings.Cut(op.Name, ".")
	o := object{
		"operationId": id, "summary": op.Summary, "tags": []any{tag},
		"x-grima-op": op.Name, "x-grima-frame": op.Frame,
		"security":  security(op.Access),
		"responses": d.answers(op),
	}
	var (
		parameters []any
		rest       []member // of the body
	)
	for _, m := range membersOf(op.Params) {
		switch inPath := slices.Contains(in.path, m.name); {
		case in.self && m.name == "user_id":
			// said by the path itself
		case inPath:
			parameters = append(parameters, object{"name": m.name, "in": "path", "required": true, "schema": d.member(m)})
		case in.body:
			rest = append(rest, m)
		default:
			p := object{"name": m.name, "in": "query", "required": m.required, "schema": d.member(m)}
			if in.kinds[m.name] == kindList {
				p["style"], p["explode"] = "form", false
			}
			parameters = append(parameters, p)
		}
	}
	if len(parameters) > 0 {
		o["parameters"] = parameters
	}
	if len(rest) > 0 {
		o["requestBody"] = object{
			"required": slices.ContainsFunc(rest, func(m member) bool { return m.required }),
			"content":  object{"application/json": object{"schema": d.object(rest)}},
		}
	}
	d.addOperation(path, method, o)
}

func security(a api.Access) []any {
	bearer, cookie := object{"bearer": []any{}}, object{"cookie": []any{}}
	if a == api.Anyone {
		return []any{object{}, bearer, cookie}
	}
	return []any{bearer, cookie}
}

// addAvatars describes pictures, which are no JSON.
func (d *document) addAvatars() {
	problem := ref("responses", "Problem")
	bytes := object{"type": "string", "format": "binary"}
	file := object{picture.PNG: object{"schema": bytes}, picture.JPEG: object{"schema": bytes}}
	user := object{
		"description": "oneself", "headers": object{ignoredHeader: ref("headers", ignoredHeader)},
		"content": object{"application/json": object{"schema": d.schema(reflect.TypeFor[protocol.UserResult]())}},
	}
	d.addOperation(ownAvatar, http.MethodPut, object{
		"operationId": "avatar.set", "summary": "Show a picture of oneself; it is drawn anew", "tags": []any{"users"},
		"security": security(api.Account), "requestBody": object{"required": true, "content": file},
		"responses": object{"200": user, "default": problem},
	})
	d.addOperation(ownAvatar, http.MethodDelete, object{
		"operationId": "avatar.delete", "summary": "Show no picture of oneself", "tags": []any{"users"},
		"security": security(api.Account), "responses": object{"200": user, "default": problem},
	})
	d.addOperation(avatars, http.MethodGet, object{
		"operationId": "avatar.get", "summary": "Get a picture by a user's avatar", "tags": []any{"users"}, "security": security(api.Account),
		"parameters": []any{object{"name": "hash", "in": "path", "required": true, "schema": object{"type": "string"}}},
		"responses":  object{"200": object{"description": "the picture", "content": file}, "default": problem},
	})
}

func (d *document) answers(op *api.Operation) object {
	good := object{
		"description": "the result",
		"headers":     object{ignoredHeader: ref("headers", ignoredHeader)},
		"content":     object{"application/json": object{"schema": d.schema(op.Result)}},
	}
	out := object{"default": ref("responses", "Problem")}
	switch duplicate := slices.ContainsFunc(membersOf(op.Result), func(m member) bool { return m.name == "duplicate" }); {
	case op.Creates && duplicate:
		out["201"], out["200"] = good, good
	case op.Creates:
		out["201"] = good
	default:
		out["200"] = good
	}
	return out
}

// addFrames describes a door that takes and gives frames.
func (d *document) addFrames(path string, takes protocol.Type) {
	var ops []any
	for _, op := range api.Operations() {
		if op.Frame == takes {
			ops = append(ops, op.Name)
		}
	}
	id := object{"type": []any{"string", "integer"}, "description": "echoed in the answer"}
	op := object{"type": "string", "enum": ops}
	request := object{
		"type": "object", "required": []any{"type", "op"},
		"properties": object{
			"type": object{"const": takes}, "id": id, "op": op,
			"params": object{"type": "object", "additionalProperties": true, "description": "those of the resource route whose x-grima-op this op is, path and query included"},
			"strict": object{"type": "boolean"},
		},
	}
	ignored := object{"type": "array", "items": object{"type": "string"}}
	answer := object{
		"type": "object", "required": []any{"type", "op", "result"},
		"properties": object{"type": object{"const": takes.Response()}, "id": id, "op": op, "result": anything, "ignored": ignored},
	}
	// A frame at the wrong door is answered as what it is.
	refusal := object{
		"type": "object", "required": []any{"type", "error"},
		"properties": object{
			"type": object{"enum": []any{protocol.TypeSessionResponse, protocol.TypeDataResponse, protocol.TypeBroadcastResponse, protocol.TypeError}},
			"id":   id, "op": object{"type": "string"}, "error": d.schema(reflect.TypeFor[protocol.Error]()), "ignored": ignored,
		},
	}
	request["title"], answer["title"] = string(takes), string(takes.Response())
	d.schemas[string(takes)], d.schemas[string(takes.Response())], d.schemas["Refusal"] = request, answer, refusal
	body := func(schema string) object {
		return object{"application/json": object{"schema": ref("schemas", schema)}}
	}
	refused := body("Refusal")
	// What is refused before it is looked at, as from another site's page.
	refused["application/problem+json"] = object{"schema": d.schema(reflect.TypeFor[Problem]())}
	d.addOperation(path, http.MethodPost, object{
		"operationId": strings.TrimPrefix(path, "/v1/"), "summary": "Any operation of a " + string(takes) + ", as a frame",
		"tags": []any{"frames"}, "security": security(api.Anyone),
		"requestBody": object{"required": true, "content": body(string(takes))},
		"responses": object{
			"200": object{"description": "the frame that answers", "content": body(string(takes.Response()))},
			"default": object{
				"description": "the frame that answers, with its error, whose code's status this is",
				"headers": object{
					"Retry-After":      ref("headers", "Retry-After"),
					"WWW-Authenticate": ref("headers", "WWW-Authenticate"),
				},
				"content": refused,
			},
		},
	})
}

func (d *document) addPlain(path, id, summary string, schema object) {
	d.addOperation(path, http.MethodGet, object{
		"operationId": id, "summary": summary, "tags": []any{"server"}, "security": []any{},
		"responses": object{
			"200":     object{"description": "it is well", "content": object{"application/json": object{"schema": schema}}},
			"default": ref("responses", "Problem"),
		},
	})
}

// addLive describes what goes on after its answer has begun.
func (d *document) addLive() {
	problem := ref("responses", "Problem")
	header := func(name, description string) object {
		return object{"name": name, "in": "header", "required": false, "description": description, "schema": object{"type": "string"}}
	}
	d.addOperation(webSocketPath, http.MethodGet, object{
		"operationId": "ws", "summary": "A WebSocket: the same frames as on a connection of lines, one per text message",
		"tags": []any{"live"}, "security": []any{},
		"parameters": []any{header("Sec-WebSocket-Protocol", subprotocol)},
		"responses":  object{"101": object{"description": "the WebSocket begins"}, "default": problem},
	})
	stream := object{"schema": object{"type": "string", "description": "Hello, answers to sync, and events, as lines"}}
	d.addOperation(eventsPath, http.MethodGet, object{
		"operationId": "events", "summary": "What happens, as it happens", "tags": []any{"live"}, "security": security(api.Account),
		"parameters": []any{
			object{"name": "cursor", "in": "query", "required": false, "schema": object{"type": "string"}, "description": "a sync cursor to go on from; empty: from the beginning; absent: from now"},
			header("Last-Event-ID", "the same, and what counts if both are there"),
		},
		"responses": object{
			"200": object{
				"description": "it goes on until either side ends it",
				"headers":     object{ignoredHeader: ref("headers", ignoredHeader)},
				"content":     object{typeLines: stream, typeSSE: stream},
			},
			"default": problem,
		},
	})
}

// member is a member of a JSON object that a struct stands for.
type member struct {
	name     string
	typ      reflect.Type
	required bool
}

// membersOf lists the members of t, those of embedded structs among them.
func membersOf(t reflect.Type) []member {
	var out []member
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			out = append(out, membersOf(f.Type)...)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		out = append(out, member{name, f.Type, options != "omitzero"})
	}
	return out
}

// words are the members that take one of a few words, bounds those that lie
// between two numbers.
var (
	words = map[string][]any{
		"role":       {"owner", "admin", "member"},
		"kind":       {"private", "group"},
		"history":    {"all", "joined"},
		"membership": {"joined", "left"},
		"visibility": {"listed", "unlisted"},
		"notify":     {"all", "mentions", "none"},
		"mechanism":  {protocol.MechanismPlain, protocol.MechanismToken, protocol.MechanismCookie},
	}
	bounds = map[string]object{
		"limit":          {"type": "integer", "minimum": 1, "maximum": protocol.MaxPage, "default": protocol.DefaultPage},
		"timeline_limit": {"type": "integer", "minimum": 0, "maximum": protocol.MaxTimeline, "default": 1},
	}
)

func (d *document) member(m member) object {
	if s, ok := bounds[m.name]; ok {
		return s
	}
	s := d.schema(m.typ)
	if w, ok := words[m.name]; ok {
		s["enum"] = w
	}
	if strings.HasSuffix(m.name, "_at") || m.name == "at" {
		s["format"] = "date-time"
	}
	return s
}

func (d *document) object(members []member) object {
	properties, required := object{}, []any{}
	for _, m := range members {
		properties[m.name] = d.member(m)
		if m.required {
			required = append(required, m.name)
		}
	}
	out := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

// schema is t's schema; a struct's is put among the components and referred to.
func (d *document) schema(t reflect.Type) object {
	switch t.Kind() {
	case reflect.Pointer:
		return d.schema(t.Elem())
	case reflect.String:
		if t == reflect.TypeFor[protocol.Code]() {
			return d.codes()
		}
		return object{"type": "string"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer", "format": "int64"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Slice:
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Struct:
		if value, ok := t.FieldByName("Value"); ok { // a protocol.Opt
			s := d.schema(value.Type)
			s["type"] = []any{s["type"], "null"}
			return s
		}
		if _, ok := d.schemas[t.Name()]; !ok {
			d.schemas[t.Name()] = object{} // now, in case t refers to itself
			d.schemas[t.Name()] = d.object(membersOf(t))
		}
		return ref("schemas", t.Name())
	}
	panic("httpapi: no schema for " + t.String())
}

func (d *document) codes() object {
	var all []any
	for _, c := range protocol.Codes() {
		all = append(all, c.Code)
	}
	return object{"type": "string", "enum": all}
}

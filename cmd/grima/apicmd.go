package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/protocol"
)

type apiCmd struct {
	accountFlags

	Op     string   `arg:"" optional:"" help:"The operation, as chats.list; all of them are listed when absent." predictor:"op"`
	Params []string `arg:"" optional:"" help:"Its params: one JSON object, - for one from standard input, or key=value, key:=JSON." predictor:"none"`
}

func (*apiCmd) Help() string {
	return `The operations are those of docs/protocol.md#operations. The result is printed as JSON, an error on standard error.

    grima api users.me
    grima api chats.create kind=group title=Port user_ids=u_2,u_3
    grima api messages.list chat_id=c_1 limit=20 | jq -r '.messages[].content'
    grima api message.send '{"chat_id":"c_1","content":"hi"}'
    grima api chats.update chat_id=c_1 topic:=null

A value is taken as what the param is: a string, a number, true or false, or a list with commas between; after := it is JSON as it stands.

` + exitHelp
}

// Run calls the operation.
func (c *apiCmd) Run(ctx context.Context, std stdio) error {
	if c.Op == "" {
		ops := api.Operations()
		return printTable(std.out, []string{"OPERATION", "WHAT IT DOES", "PARAMS"}, len(ops), func(i int) []string {
			return []string{ops[i].Name, ops[i].Summary, strings.Join(members(ops[i]), " ")}
		})
	}
	op, known := api.Lookup(c.Op)
	if !known {
		return usagef("there is no operation %q; grima api lists them", c.Op)
	}
	params, err := c.params(op, std.in)
	if err != nil {
		return err
	}
	result, err := c.call(ctx, op, params)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "%s\n", visibleJSON(result))
	return err
}

func (c *apiCmd) call(ctx context.Context, op *api.Operation, params jsontext.Value) (result jsontext.Value, err error) {
	cfg, _, loginErr := c.config()
	// What needs no login works without one; and logging in is for who is not.
	if op.Access == api.Anyone && (loginErr != nil || op.Name == protocol.OpSessionStart) {
		if cfg.Server == "" {
			if cfg.Server = c.Server; cfg.Server == "" {
				return nil, loginErr
			}
			cfg.Insecure, cfg.Agent = c.Insecure, "grima/"+version
		}
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		return client.Anonymous(ctx, cfg, op.Name, params)
	}
	err = c.withClient(ctx, askTimeout, func(ctx context.Context, cl *client.Client) error {
		result, err = cl.Do(ctx, op.Name, params)
		return err
	})
	return result, err
}

// params makes JSON of the arguments.
func (c *apiCmd) params(op *api.Operation, in io.Reader) (jsontext.Value, error) {
	if len(c.Params) == 1 && (c.Params[0] == "-" || strings.HasPrefix(c.Params[0], "{")) {
		raw := jsontext.Value(c.Params[0])
		if c.Params[0] == "-" {
			all, err := io.ReadAll(io.LimitReader(in, 2*protocol.MaxFrame))
			if err != nil {
				return nil, fmt.Errorf("reading the params: %w", err)
			}
			raw = all
		}
		if err := raw.Compact(); err != nil {
			return nil, usagef("the params are no JSON: %w", err)
		}
		return raw, nil
	}
	fields := map[string]jsontext.Value{}
	for _, arg := range c.Params {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return nil, usagef("%q is neither key=value nor a JSON object", arg)
		}
		key, raw := strings.TrimSuffix(key, ":"), strings.HasSuffix(key, ":")
		if !slices.Contains(members(op), key) {
			return nil, usagef("%s has no param %q; it has: %s", op.Name, key, strings.Join(members(op), " "))
		}
		if _, twice := fields[key]; twice {
			return nil, usagef("%s is there twice", key)
		}
		encoded := jsontext.Value(value)
		if !raw {
			var err error
			if encoded, err = encode(fieldOf(op, key), value); err != nil {
				return nil, usagef("%s: %w", key, err)
			}
		}
		if !encoded.IsValid() {
			return nil, usagef("%s:= is no JSON: %s", key, value)
		}
		fields[key] = encoded
	}
	return json.Marshal(fields, json.Deterministic(true))
}

// members are the names of an operation's params.
func members(op *api.Operation) (names []string) {
	for f := range op.Params.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

func fieldOf(op *api.Operation, key string) reflect.Type {
	for f := range op.Params.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name == key {
			return f.Type
		}
	}
	return nil
}

// encode makes JSON of value as a t.
func encode(t reflect.Type, value string) (jsontext.Value, error) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Struct {
		value, ok := t.FieldByName("Value") // of a protocol.Opt
		if !ok {
			return nil, errors.New("write it as JSON, after :=")
		}
		t = value.Type
	}
	var v any = value
	var err error
	switch t.Kind() {
	case reflect.Int64, reflect.Int:
		v, err = strconv.ParseInt(value, 10, 64)
	case reflect.Bool:
		v, err = strconv.ParseBool(value)
	case reflect.Slice:
		v = strings.Split(value, ",")
		if value == "" {
			v = []string{}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%q is no %s", value, t.Kind())
	}
	return json.Marshal(v)
}

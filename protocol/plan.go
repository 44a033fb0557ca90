package protocol

import (
	"fmt"
	"math/bits"
	"reflect"
	"strings"
	"sync"
)

// A plan is how the members of a ...Params struct are filled. It is made once
// for each type. Params are flat: strings, integers, booleans, lists of
// strings, pointers to these and [Opt]s of them. A struct with anything else is
// a mistake of ours and panics when it is first used; a test uses them all.
type plan struct {
	names    []string
	index    map[string]int
	members  []member
	required uint64 // the bits of members that must be there
}

type member struct {
	field int
	kind  memberKind
	ptr   bool // absent and the zero value differ
	opt   bool // an Opt: null is allowed
}

type memberKind uint8

const (
	kindString memberKind = iota
	kindInteger
	kindBoolean
	kindStrings
)

// nullable is an *Opt of any type.
type nullable interface {
	setNull()
	setValue() (value any) // a pointer to where the value goes
}

var (
	plans        sync.Map // reflect.Type of the struct -> *plan
	nullableType = reflect.TypeFor[nullable]()
)

func planFor(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	p, _ := plans.LoadOrStore(t, newPlan(t))
	return p.(*plan)
}

func newPlan(t reflect.Type) *plan {
	p := &plan{index: map[string]int{}}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		m := member{field: i}
		ft := f.Type
		switch {
		case reflect.PointerTo(ft).Implements(nullableType):
			m.opt = true
			value, _ := ft.FieldByName("Value")
			ft = value.Type
		case ft.Kind() == reflect.Pointer:
			m.ptr = true
			ft = ft.Elem()
		}
		switch {
		case ft.Kind() == reflect.String:
			m.kind = kindString
		case ft.Kind() == reflect.Int64:
			m.kind = kindInteger
		case ft.Kind() == reflect.Bool:
			m.kind = kindBoolean
		case ft == reflect.TypeFor[[]string]():
			m.kind = kindStrings
		default:
			panic(fmt.Sprintf("protocol: %v.%s: params cannot hold a %v", t, f.Name, f.Type))
		}
		if options != "omitzero" {
			p.required |= 1 << len(p.members)
		}
		p.index[name] = len(p.members)
		p.names = append(p.names, name)
		p.members = append(p.members, m)
	}
	if len(p.members) > 64 {
		panic(fmt.Sprintf("protocol: %v has too many members", t))
	}
	return p
}

// decodeInto fills *out, a struct, from text.
func decodeInto(text []byte, out any) (ignored []string, err *Error) {
	v := reflect.ValueOf(out).Elem()
	p := planFor(v.Type())
	var (
		seen uint64
		bad  *Error // the first thing wrong with a member
	)
	wrong := func(err *Error) {
		if bad == nil {
			bad = err
		}
	}
	err = readObject(text, func(name, raw []byte) {
		i, ok := p.index[string(name)]
		if !ok {
			if known := foldsTo(name, p.names); known != "" {
				wrong(wrongCase(name, known))
			}
			ignored = appendIgnored(ignored, name)
			return
		}
		seen |= 1 << i
		if err := p.members[i].set(p.names[i], v.Field(p.members[i].field), raw); err != nil {
			wrong(err)
		}
	})
	if err == nil {
		err = bad
	}
	if missing := p.required &^ seen; err == nil && missing != 0 {
		err = invalidf("%s is missing", p.names[bits.TrailingZeros64(missing)])
	}
	return ignored, err
}

// set fills the field from raw, a JSON value.
func (m member) set(name string, field reflect.Value, raw []byte) *Error {
	switch {
	case m.opt:
		opt := field.Addr().Interface().(nullable)
		if raw[0] == 'n' {
			opt.setNull()
			return nil
		}
		field = reflect.ValueOf(opt.setValue()).Elem()
	case m.ptr:
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	switch m.kind {
	case kindString:
		if raw[0] != '"' {
			return mismatch(name, "a string", raw)
		}
		field.SetString(string(unquote(raw)))
	case kindInteger:
		n, plain, ok := parseInteger(raw)
		switch {
		case ok:
			field.SetInt(n)
		case plain:
			return invalidf("%s: the number is beyond 2^53-1", name)
		case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
			return invalidf("%s: a whole number is due, without sign of zero, fraction or exponent", name)
		default:
			return mismatch(name, "a whole number", raw)
		}
	case kindBoolean:
		if raw[0] != 't' && raw[0] != 'f' {
			return mismatch(name, "true or false", raw)
		}
		field.SetBool(raw[0] == 't')
	case kindStrings:
		list, err := parseStrings(name, raw)
		if err != nil {
			return err
		}
		field.Set(reflect.ValueOf(list))
	}
	return nil
}

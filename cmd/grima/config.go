package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
)

const configHelp = `A config file holds flags, one per line, without their dashes:

    # /etc/grima/grima.conf
    listen = :7007
    tls-cert = /etc/grima/cert.pem
    tls-key = /etc/grima/key.pem
    registration = invite

What stands on the command line wins over the environment (GRIMA_LISTEN=...), which wins over the file.`

// configFlags is what every command takes that could take more from a file.
type configFlags struct {
	Config string `help:"Read flags from this file." placeholder:"FILE" env:"GRIMA_CONFIG"`
}

// dataFlags is what every command takes that needs the data directory.
type dataFlags struct {
	configFlags

	Data  string `help:"Data directory: the database and what belongs to it." default:"${data}" placeholder:"DIR" env:"GRIMA_DATA"`
	Store string `help:"Where everything is kept: in the data directory (sqlite:), or in a PostgreSQL database that several servers may share. With a password in it, better in a config file or the environment." default:"sqlite:" placeholder:"postgres://USER@HOST/DATABASE" env:"GRIMA_STORE"`
}

// defaultData is where data goes when nobody says: where the XDG base
// directory specification wants it. Empty if there is not even a home.
func defaultData() string {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "grima")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "share", "grima")
}

// settings is the config file of one run, and where each flag's value came
// from.
type settings struct {
	path    string
	entries map[string]entry
}

// entry is one line of a config file.
type entry struct {
	line  int
	value string
}

// load is kong's hook between the reading of the command line and the looking
// for what it left out.
func (s *settings) load(ctx *kong.Context) error {
	for _, flag := range ctx.Flags() {
		if flag.Name == "config" {
			s.path, _ = ctx.FlagValue(flag).(string)
		}
	}
	if s.path == "" {
		return nil
	}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return fmt.Errorf("reading the config file: %w", err)
	}
	if s.entries, err = parseConfig(s.path, string(text), configurable(ctx.Model)); err != nil {
		return err
	}
	ctx.AddResolver(s)
	return nil
}

// configurable lists the flags that may stand in a config file: those of the
// commands that take one that have an environment variable, save config itself.
func configurable(app *kong.Application) map[string]*kong.Flag {
	flags := map[string]*kong.Flag{}
	for _, leaf := range app.Leaves(false) {
		if !slices.ContainsFunc(leaf.Flags, func(f *kong.Flag) bool { return f.Name == "config" }) {
			continue
		}
		for _, flag := range leaf.Flags {
			if len(flag.Envs) > 0 && flag.Name != "config" {
				flags[flag.Name] = flag
			}
		}
	}
	return flags
}

// parseConfig reads the lines of a config file. Everything wrong with them is
// told at once, each with its line.
func parseConfig(path, text string, flags map[string]*kong.Flag) (map[string]entry, error) {
	entries := map[string]entry{}
	var wrong []error
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		fail := func(format string, args ...any) {
			wrong = append(wrong, fmt.Errorf("%s:%d: "+format, append([]any{path, n}, args...)...))
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok {
			fail("%q is not key = value", line)
			continue
		}
		flag := flags[key]
		if flag == nil {
			fail("%s: there is no such key; there are %s", key, strings.Join(sortedKeys(flags), ", "))
			continue
		}
		if before, twice := entries[key]; twice {
			fail("%s: stands on line %d already", key, before.line)
			continue
		}
		if strings.HasPrefix(value, `"`) {
			unquoted, err := strconv.Unquote(value)
			if err != nil {
				fail("%s: %s begins with a quote and is not a quoted string", key, value)
				continue
			}
			value = unquoted
		} else if strings.HasPrefix(value, "#") || strings.Contains(value, " #") || strings.Contains(value, "\t#") {
			fail("%s: a comment has a line of its own; if the # belongs to the value, put quotes around it", key)
			continue
		}
		if err := accepts(flag, value); err != nil {
			fail("%s: %v", key, err)
			continue
		}
		entries[key] = entry{n, value}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return entries, errors.Join(wrong...)
}

// accepts reports whether flag could have value.
func accepts(flag *kong.Flag, value string) error {
	scan := kong.ScanFromTokens(kong.Token{Value: value, Type: kong.FlagValueToken})
	if err := flag.Parse(scan, reflect.New(flag.Target.Type()).Elem()); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "--"+flag.Name+": "))
	}
	if flag.Enum != "" && !flag.EnumMap()[value] {
		return fmt.Errorf("must be one of %s, not %q", strings.Join(flag.EnumSlice(), ", "), value)
	}
	return nil
}

// Validate implements kong.Resolver; parseConfig did that.
func (s *settings) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver: the file speaks where the environment is
// silent.
func (s *settings) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if e, ok := s.entries[flag.Name]; ok && len(flag.Envs) > 0 && envOf(flag) == "" {
		return e.value, nil
	}
	return nil, nil
}

// envOf is the environment variable that gives flag its value; empty if none
// is set.
func envOf(flag *kong.Flag) string {
	for _, env := range flag.Envs {
		if os.Getenv(env) != "" {
			return env
		}
	}
	return ""
}

// unsetEmpty takes variables of ours that are empty out of our environment:
// they count as unset, and kong would take GRIMA_DEV= for a wrong boolean.
func unsetEmpty() error {
	for _, pair := range os.Environ() {
		if name, value, _ := strings.Cut(pair, "="); value == "" && strings.HasPrefix(name, "GRIMA_") {
			if err := os.Unsetenv(name); err != nil {
				return fmt.Errorf("leaving out %s, which is empty: %w", name, err)
			}
		}
	}
	return nil
}

// source says where flag's value came from.
func (s *settings) source(ctx *kong.Context, flag *kong.Flag) string {
	for _, path := range ctx.Path {
		if path.Flag == flag && !path.Resolved {
			return "--" + flag.Name
		}
	}
	if env := envOf(flag); env != "" {
		return "$" + env
	}
	if e, ok := s.entries[flag.Name]; ok {
		return fmt.Sprintf("%s:%d", s.path, e.line)
	}
	return "default"
}

type configCmd struct {
	Print configPrintCmd `cmd:"" help:"Print every setting, its value, and where that came from."`
	Check configCheckCmd `cmd:"" help:"Say whether serve would start with these settings."`
}

type configPrintCmd struct{ serveFlags }

func (*configPrintCmd) Help() string {
	return configHelp + `

What is printed is itself a config file, save that a password in --store and who we are to the bus in --bus are left out.

    grima config print
    grima config print --config grima.conf
    GRIMA_REGISTRATION=open grima config print`
}

// Run prints the settings as a config file.
func (c *configPrintCmd) Run(ctx *kong.Context, set *settings, std stdio) error {
	var text strings.Builder
	for _, flag := range ctx.Selected().Flags {
		if flag.Name == "config" {
			continue
		}
		value := fmt.Sprint(flag.Target.Interface())
		switch flag.Name {
		case "store":
			value = storeWithoutPassword(value)
		case "bus":
			value = withoutPassword(value)
		}
		if value == "" || strings.HasPrefix(value, `"`) || strings.TrimSpace(value) != value {
			value = strconv.Quote(value)
		}
		fmt.Fprintf(&text, "# %s: %s\n%s = %s\n", set.source(ctx, flag), flag.Help, flag.Name, value)
	}
	_, err := io.WriteString(std.out, text.String())
	return err
}

// withoutPassword is what may be shown of where the bus is.
func withoutPassword(urls string) string {
	parts := strings.Split(urls, ",")
	for i, part := range parts {
		if scheme, rest, ok := strings.Cut(part, "://"); ok {
			if at := strings.LastIndexByte(rest, '@'); at >= 0 {
				parts[i] = scheme + "://...@" + rest[at+1:]
			}
		}
	}
	return strings.Join(parts, ",")
}

type configCheckCmd struct{ serveFlags }

func (*configCheckCmd) Help() string {
	return configHelp + `

Ask as the user that the server runs as: others may see files that it does not.

    sudo -u grima GRIMA_DATA=/var/lib/grima grima config check --config /etc/grima/grima.conf && sudo systemctl restart grima`
}

// Run checks what can be checked without serving.
func (c *configCheckCmd) Run(std stdio) error {
	if err := c.check(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(std.out, "ok: grima would serve %s from %s\n", c.Listen, c.Data)
	return err
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

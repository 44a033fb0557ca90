// Command grima is a chat server and what its operator needs: one binary, one
// port, one line of JSON.
//
// This package is the only place that reads flags, the environment and the
// config file, and that chooses implementations. Each command is a struct whose
// fields are its flags, its environment variables, its keys in the config file
// and its help, all at once.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// version and commit are set by the linker, see the Makefile.
var (
	version = "dev"
	commit  = ""
)

// Exit codes. There are more in account.go.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// commands is grima's table of contents.
type commands struct {
	Serve      serveCmd      `cmd:"" help:"Serve people: one port for JSON lines, HTTP and TLS."`
	Chat       chatCmd       `cmd:"" help:"Chat, in the terminal."`
	User       userCmd       `cmd:"" help:"Add people, list them, change their passwords, lock them out."`
	Invite     inviteCmd     `cmd:"" help:"Let somebody make their own account."`
	Copy       copyCmd       `cmd:"" help:"Move everything to another store, such as PostgreSQL, and back."`
	Login      loginCmd      `cmd:"" help:"Log in to a server, or make an account with an invite."`
	Logout     logoutCmd     `cmd:"" help:"Log out, on the server and here."`
	Whoami     whoamiCmd     `cmd:"" help:"Say who is logged in."`
	Send       sendCmd       `cmd:"" help:"Send a message."`
	Tail       tailCmd       `cmd:"" help:"Show what is said, as it is said."`
	API        apiCmd        `cmd:"" name:"api" help:"Call any operation."`
	Config     configCmd     `cmd:"" help:"Show or check what serve would run with."`
	Version    versionCmd    `cmd:"" help:"Show the version of grima and of what is built into it."`
	Completion completionCmd `cmd:"" help:"Print what makes your shell complete grima's commands."`
}

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// stdio is where a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// run is the whole program: it returns the exit code. Besides args it reads the
// environment.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	// kong asks for an exit in the middle of parsing, after --help.
	type exit int
	defer func() {
		if r := recover(); r != nil {
			asked, ok := r.(exit)
			if !ok {
				panic(r)
			}
			code = int(asked)
		}
	}()

	std := stdio{stdin, stdout, stderr}
	if err := unsetEmpty(); err != nil {
		return report(stderr, err)
	}
	parser, err := newParser(ctx, std, func(code int) { panic(exit(code)) })
	if err != nil {
		// The structs' tags are wrong: no user can mend that.
		panic(err)
	}
	if completing() {
		return complete(parser, stdout)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if err != nil {
		return report(stderr, err)
	}
	err = command.Run()
	code = report(stderr, err)
	if first, _, _ := strings.Cut(command.Command(), " "); code == exitFailed && personal[first] {
		code = accountExit(err)
	}
	return code
}

// newParser makes the parser of all commands. Their Run methods may ask for a
// context.Context, a stdio, a *kong.Context, and a *settings.
func newParser(ctx context.Context, std stdio, exit func(int)) (*kong.Kong, error) {
	set := &settings{}
	return kong.New(
		&commands{},
		kong.Name("grima"),
		kong.Description("Grima is a chat server: one binary, one port, one line of JSON.\n\n"+
			"To try it out: grima serve --dev"),
		kong.Vars{"data": defaultData()},
		kong.Writers(std.out, std.err),
		kong.Exit(exit),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Bind(std, set),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.WithBeforeResolve(set.load),
	)
}

// usageError is a mistake in how grima was called: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// report prints err, if any, and returns the exit code it deserves.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	// Much of it may be a server's words. PostgreSQL's driver lists with tabs.
	fmt.Fprintf(stderr, "grima: %s\n", visible(strings.ReplaceAll(err.Error(), "\t", "  "), true))
	if parse, ok := errors.AsType[*kong.ParseError](err); ok {
		help := "grima"
		if parse.Context != nil {
			if c := parse.Context.Command(); c != "" {
				help = "grima " + bareCommand(c)
			}
		}
		fmt.Fprintf(stderr, "See: %s --help\n", help)
		return exitUsage
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// bareCommand is "user add" for kong's "user add <username>".
func bareCommand(c string) string {
	if i := strings.IndexByte(c, '<'); i >= 0 {
		c = c[:i]
	}
	return strings.TrimSpace(c)
}

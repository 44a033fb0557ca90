package main

import (
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"
)

type completionCmd struct {
	Shell string `arg:"" help:"Your shell: ${enum}." enum:"bash,zsh,fish"`
}

func (*completionCmd) Help() string {
	return `The shell asks grima itself, so that completion always fits the grima that is installed.

    source <(grima completion bash)       # in ~/.bashrc
    source <(grima completion zsh)        # in ~/.zshrc, after compinit
    grima completion fish | source        # in ~/.config/fish/config.fish`
}

// completions is each shell's way to run grima with the line so far in
// COMP_LINE and to offer what it prints.
var completions = map[string]string{
	"bash": "complete -o default -o bashdefault -C %q grima\n",
	"zsh":  "autoload -U +X bashcompinit && bashcompinit\ncomplete -o default -o bashdefault -C %q grima\n",
	"fish": `function __complete_grima
    set -lx COMP_LINE (commandline -cp)
    test -z (commandline -ct)
    and set COMP_LINE "$COMP_LINE "
    %q
end
complete -f -c grima -a "(__complete_grima)"
`,
}

// Run prints what makes a shell complete grima's commands.
func (c *completionCmd) Run(std stdio) error {
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding out where grima is: %w", err)
	}
	_, err = fmt.Fprintf(std.out, completions[c.Shell], binary)
	return err
}

// completing reports whether a shell asks for completions.
func completing() bool { return os.Getenv("COMP_LINE") != "" }

// complete answers the shell.
func complete(parser *kong.Kong, stdout io.Writer) int {
	code := exitOK
	kongcompletion.Register(parser,
		kongcompletion.WithExitFunc(func(c int) { code = c }),
		kongcompletion.WithErrorHandler(func(err error) { fmt.Fprintf(stdout, "# %v\n", err) }))
	return code
}

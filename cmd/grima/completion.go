package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"
	predict "github.com/posener/complete"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/protocol"
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
		kongcompletion.WithPredictors(predictors()),
		kongcompletion.WithExitFunc(func(c int) { code = c }),
		kongcompletion.WithErrorHandler(func(err error) { fmt.Fprintf(stdout, "# %v\n", err) }))
	return code
}

// completionTime bounds what a shell waits for.
const completionTime = 2 * time.Second

// predictors say what stands for arguments that only the server knows. Without
// one nothing is offered.
func predictors() map[string]predict.Predictor {
	none := predict.PredictFunc(func(predict.Args) []string { return nil })
	return map[string]predict.Predictor{
		"none": none,
		// What comes behind a colon is a word of its own for the shell, which knows
		// directories.
		"store": predict.PredictFunc(func(predict.Args) []string { return []string{sqliteStore, "postgres://"} }),
		"op": predict.PredictFunc(func(predict.Args) (names []string) {
			for _, op := range api.Operations() {
				names = append(names, op.Name)
			}
			return names
		}),
		"user": predict.PredictFunc(func(a predict.Args) []string {
			return lookUp(func(ctx context.Context, c *client.Client) ([]string, error) { return userNames(ctx, c, a.Last) })
		}),
		"chat": predict.PredictFunc(func(a predict.Args) []string {
			return lookUp(func(ctx context.Context, c *client.Client) ([]string, error) {
				if strings.HasPrefix(a.Last, "@") {
					return userNames(ctx, c, a.Last)
				}
				return chatNames(ctx, c)
			})
		}),
	}
}

// lookUp asks the server that one is logged in to. What goes wrong is no news
// for somebody who is typing.
func lookUp(names func(context.Context, *client.Client) ([]string, error)) (found []string) {
	flags := accountFlags{Server: os.Getenv("GRIMA_SERVER")}
	err := flags.withClient(context.Background(), completionTime, func(ctx context.Context, c *client.Client) (err error) {
		found, err = names(ctx, c)
		return err
	})
	if err != nil {
		return nil
	}
	return found
}

func userNames(ctx context.Context, c *client.Client, prefix string) (names []string, err error) {
	r, err := c.UsersList(ctx, protocol.UsersListParams{Prefix: strings.TrimPrefix(prefix, "@"), Limit: protocol.MaxPage})
	for _, u := range r.Users {
		names = append(names, "@"+u.Username)
	}
	return names, err
}

// chatNames are the titles of one's groups, as a shell takes them, and the ids
// of those whose title is none for a shell.
func chatNames(ctx context.Context, c *client.Client) (names []string, err error) {
	chats, err := listChats(ctx, c)
	for _, chat := range chats {
		switch {
		case chat.Title == "":
		case strings.ContainsFunc(chat.Title, func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(" ._-", r)
		}):
			names = append(names, chat.ChatID)
		default:
			names = append(names, strings.ReplaceAll(chat.Title, " ", `\ `))
		}
	}
	return names, err
}

package tui

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/grima-chat/grima/client"
)

// Answers are what somebody who begins says: who they are on which server, and
// the invite they have, if they are to get an account.
type Answers struct {
	Server, Invite, Username, Password string
}

// Auth logs in, making the account first if there is an invite. It returns what
// is to be kept.
type Auth func(ctx context.Context, a Answers) (client.Credentials, error)

// ErrLeft: the person went away instead of logging in.
var ErrLeft = errors.New("left without logging in")

// Setup is the first screen: a form. A wrong answer is said, and can be mended.
type Setup struct {
	ctx    context.Context
	auth   Auth
	m      metric
	th     *theme
	width  int
	height int
	fields []*field
	at     int
	busy   bool
	bad    string

	Answers     Answers
	Credentials client.Credentials
	Err         error
}

// field is a line of the form.
type field struct {
	label, hint string
	secret      bool
	ed          editor
}

const (
	fieldServer = iota
	fieldInvite
	fieldName
	fieldPassword
)

// NewSetup makes the form; server may be known already.
func NewSetup(ctx context.Context, server string, auth Auth) *Setup {
	s := &Setup{ctx: ctx, auth: auth, m: metric{ansi.WcWidth}, th: newTheme(true), width: 80, height: 24, Err: ErrLeft}
	for _, f := range []field{
		{label: "Server", hint: "chat.example.org, or localhost"},
		{label: "Invite", hint: "code or link, if you have no account yet"},
		{label: "Name", hint: "your username"},
		{label: "Password", hint: "at least 8 characters", secret: true},
	} {
		f.ed.m, f.ed.want = s.m, -1
		s.fields = append(s.fields, &f)
	}
	if at, code, ok := ParseInvite(server); ok {
		s.fields[fieldServer].ed.set(at)
		s.fields[fieldInvite].ed.set(code)
		s.at = fieldName
	} else if server != "" {
		s.fields[fieldServer].ed.set(server)
		s.at = fieldInvite
	}
	return s
}

// authMsg is how logging in went.
type authMsg struct {
	c   client.Credentials
	err error
}

// Init asks for the terminal's background.
func (s *Setup) Init() tea.Cmd { return tea.RequestBackgroundColor }

// Update takes a key, or the answer.
func (s *Setup) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		s.width, s.height = msg.Width, msg.Height
	case tea.BackgroundColorMsg:
		s.th = newTheme(msg.IsDark())
	case tea.PasteMsg:
		s.typed(strings.TrimSpace(msg.Content))
	case authMsg:
		s.busy = false
		if msg.err == nil {
			s.Credentials, s.Err = msg.c, nil
			return s, tea.Quit
		}
		s.bad = cleanLine(reason(msg.err))
	case tea.KeyPressMsg:
		return s, s.key(msg)
	}
	return s, nil
}

func (s *Setup) key(k tea.KeyPressMsg) tea.Cmd {
	switch name := k.Keystroke(); name {
	case "ctrl+c", "ctrl+q", "esc":
		return tea.Quit
	case "tab", "down":
		s.to(s.at + 1)
	case "shift+tab", "up":
		s.to(s.at - 1)
	case "enter":
		if s.busy {
			return nil
		}
		if s.at < len(s.fields)-1 {
			s.to(s.at + 1)
			return nil
		}
		return s.submit()
	default:
		if s.busy {
			return nil
		}
		if !s.fields[s.at].ed.key(name) && k.Text != "" {
			s.typed(k.Text)
		}
	}
	return nil
}

func (s *Setup) typed(text string) {
	s.bad = ""
	s.fields[s.at].ed.insert(strings.NewReplacer("\n", "", "\r", "").Replace(text))
}

// to goes to another field. A link in the one that is left says the server and
// the invite, and so nothing is to be said about the invite next.
func (s *Setup) to(i int) {
	if server, code, ok := ParseInvite(s.fields[s.at].ed.String()); ok {
		s.fields[fieldServer].ed.set(server)
		s.fields[fieldInvite].ed.set(code)
		if i == fieldInvite {
			i = fieldName
		}
	}
	s.at = min(max(i, 0), len(s.fields)-1)
}

// ParseInvite takes an invite's link (https://host/join#code) apart.
func ParseInvite(link string) (server, code string, ok bool) {
	u, err := url.Parse(strings.TrimSpace(link))
	if err != nil || u.Host == "" || u.Fragment == "" || !strings.HasSuffix(u.Path, "/join") {
		return "", "", false
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return "", "", false
	}
	return u.Scheme + "://" + u.Host, u.Fragment, true
}

func (s *Setup) submit() tea.Cmd {
	s.to(s.at)
	value := func(i int) string { return s.fields[i].ed.String() }
	a := Answers{
		Server: strings.TrimSpace(value(fieldServer)), Invite: strings.TrimSpace(value(fieldInvite)),
		Username: strings.TrimSpace(value(fieldName)), Password: value(fieldPassword),
	}
	switch {
	case a.Server == "":
		s.at, s.bad = fieldServer, "which server?"
		return nil
	case a.Username == "":
		s.at, s.bad = fieldName, "who are you?"
		return nil
	case a.Password == "":
		s.bad = "and the password?"
		return nil
	}
	s.busy, s.bad, s.Answers = true, "", a
	auth, ctx := s.auth, s.ctx
	return func() tea.Msg {
		c, err := auth(ctx, a)
		return authMsg{c, err}
	}
}

// View draws the form.
func (s *Setup) View() tea.View {
	th := s.th
	rows := []string{"", "  " + th.title.Styled("Grima"), ""}
	var cursor *tea.Cursor
	for i, f := range s.fields {
		text := f.ed.String()
		shown := cleanLine(text)
		before := f.ed.before()
		if f.secret {
			shown, before = strings.Repeat("•", len(f.ed.text)), strings.Repeat("•", f.ed.cur)
		}
		room := s.width - 14
		if i == s.at && !s.busy {
			cursor = tea.NewCursor(12+min(s.m.width(cleanLine(before)), max(room-1, 0)), len(rows))
			cursor.Shape = tea.CursorBar
		}
		label := th.dim.Styled(s.m.fit(f.label, 8))
		if i == s.at {
			label = th.accent.Styled(s.m.fit(f.label, 8))
		}
		if text == "" {
			shown = th.hint.Styled(s.m.cut(f.hint, room))
		} else {
			shown = s.m.cut(shown, room)
		}
		rows = append(rows, "  "+label+"  "+shown)
	}
	rows = append(rows, "")
	switch {
	case s.busy:
		rows = append(rows, "  "+th.warn.Styled("asking the server…"))
	case s.bad != "":
		for _, l := range s.m.wrap(s.bad, s.width-4) {
			rows = append(rows, "  "+th.bad.Styled(l))
		}
	default:
		rows = append(rows, "  "+th.hint.Styled(s.m.cut("Tab next · Enter go on · Esc leave", s.width-4)))
	}
	v := tea.NewView(strings.Join(rows, "\n"))
	v.AltScreen = true
	v.Cursor = cursor
	v.WindowTitle = "Grima"
	return v
}

// RunSetup shows the form on a terminal. The error is ErrLeft when the person
// goes away.
func RunSetup(ctx context.Context, server string, auth Auth, in io.Reader, out io.Writer) (Answers, client.Credentials, error) {
	s := NewSetup(ctx, server, auth)
	if _, err := tea.NewProgram(s, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out)).Run(); err != nil {
		return s.Answers, s.Credentials, err
	}
	return s.Answers, s.Credentials, s.Err
}

// Run shows be on a terminal until its user leaves, or ctx ends. It does not
// close be. What it could not keep of what was written is an error, too.
func Run(ctx context.Context, be Backend, opts Options, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := New(ctx, be, opts)
	if err := m.run(ctx, m, in, out); err != nil {
		return err
	}
	return errors.Join(m.Err(), m.kept.failed)
}

package tui

import "strings"

// editor is the text being written: several lines, edited by characters as
// people see them. Its text is what is sent, unchanged; only what is drawn is
// cleaned.
type editor struct {
	m    metric
	text []string // characters; a line's end is "\n"
	cur  int      // the character the cursor stands before
	want int      // the column that moving up and down keeps; -1: the cursor's

	killed string // what ^K-like keys cut last, for ^Y
}

// String is the text.
func (e *editor) String() string { return strings.Join(e.text, "") }

func (e *editor) empty() bool { return len(e.text) == 0 }

// set replaces the text and puts the cursor at its end.
func (e *editor) set(s string) {
	e.text = e.split(s)
	e.cur, e.want = len(e.text), -1
}

func (e *editor) split(s string) []string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	var cs []string
	for s != "" {
		if s[0] == '\n' {
			cs, s = append(cs, "\n"), s[1:]
			continue
		}
		g, _ := e.m.cluster(s)
		if i := strings.IndexByte(g, '\n'); i > 0 {
			g = g[:i]
		}
		cs, s = append(cs, g), s[len(g):]
	}
	return cs
}

// insert puts s at the cursor. A mark joins the character before it.
func (e *editor) insert(s string) {
	after := strings.Join(e.text[e.cur:], "")
	before := strings.Join(e.text[:e.cur], "") + s
	head := e.split(before)
	e.text = append(head, e.split(after)...)
	e.cur, e.want = len(head), -1
}

// cut removes the characters from..to.
func (e *editor) cut(from, to int) string {
	from, to = max(from, 0), min(to, len(e.text))
	if from >= to {
		return ""
	}
	s := strings.Join(e.text[from:to], "")
	e.text = append(e.text[:from:from], e.text[to:]...)
	e.cur, e.want = from, -1
	return s
}

// before is the text of the cursor's line up to the cursor.
func (e *editor) before() string { return strings.Join(e.text[e.lineStart():e.cur], "") }

func (e *editor) lineStart() int {
	i := e.cur
	for i > 0 && e.text[i-1] != "\n" {
		i--
	}
	return i
}

func (e *editor) lineEnd() int {
	i := e.cur
	for i < len(e.text) && e.text[i] != "\n" {
		i++
	}
	return i
}

func (e *editor) wordLeft() int {
	i := e.cur
	for i > 0 && blank(e.text[i-1]) {
		i--
	}
	for i > 0 && !blank(e.text[i-1]) {
		i--
	}
	return i
}

func (e *editor) wordRight() int {
	i := e.cur
	for i < len(e.text) && blank(e.text[i]) {
		i++
	}
	for i < len(e.text) && !blank(e.text[i]) {
		i++
	}
	return i
}

func blank(c string) bool { return c == " " || c == "\n" || c == "\t" }

func (e *editor) move(to int) { e.cur, e.want = min(max(to, 0), len(e.text)), -1 }

// key does what a key of an editor does, and reports whether it was one.
func (e *editor) key(k string) bool {
	switch k {
	case "left", "ctrl+b":
		e.move(e.cur - 1)
	case "right":
		e.move(e.cur + 1)
	case "ctrl+left", "alt+left", "alt+b":
		e.move(e.wordLeft())
	case "ctrl+right", "alt+right":
		e.move(e.wordRight())
	case "home", "ctrl+a":
		e.move(e.lineStart())
	case "end", "ctrl+e":
		e.move(e.lineEnd())
	case "backspace", "ctrl+h", "shift+backspace":
		e.cut(e.cur-1, e.cur)
	case "delete", "ctrl+d":
		e.cut(e.cur, e.cur+1)
	case "ctrl+w", "alt+backspace", "ctrl+backspace":
		e.killed = e.cut(e.wordLeft(), e.cur)
	case "alt+d", "ctrl+delete":
		e.killed = e.cut(e.cur, e.wordRight())
	case "ctrl+u":
		e.killed = e.cut(e.lineStart(), e.cur)
	case "alt+k":
		e.killed = e.cut(e.cur, e.lineEnd())
	case "ctrl+y":
		e.insert(e.killed)
	default:
		return false
	}
	return true
}

// row is a line of the editor on the screen: the characters from..to.
type row struct {
	from, to int
	text     string // clean
}

// rows lays the text out in width columns, and says where the cursor is.
func (e *editor) rows(width int) (rows []row, y, x int) {
	width = max(width, 4)
	r := row{}
	var b strings.Builder
	used := 0
	end := func(at int) {
		r.to, r.text = at, b.String()
		rows = append(rows, r)
		b.Reset()
		r, used = row{from: at}, 0
	}
	place := func(i int) {
		if i == e.cur {
			y, x = len(rows), used
		}
	}
	for i, c := range e.text {
		if c == "\n" {
			place(i)
			end(i)
			r.from = i + 1
			continue
		}
		shown := c
		if c == "\t" {
			shown = " "
		} else if !plain(c) {
			shown = spell(c)
		}
		w := e.m.width(shown)
		if used+w > width && used > 0 {
			end(i)
		}
		place(i)
		if w > width {
			shown, w = "…", 1
		}
		b.WriteString(shown)
		used += w
	}
	if used >= width && e.cur == len(e.text) {
		end(len(e.text)) // the cursor needs a column
	}
	place(len(e.text))
	end(len(e.text))
	return rows, y, x
}

// vertical moves the cursor by n rows; it reports false at the edge.
func (e *editor) vertical(n, width int) bool {
	rows, y, x := e.rows(width)
	if y+n < 0 || y+n >= len(rows) {
		return false
	}
	if e.want < 0 {
		e.want = x
	}
	r := rows[y+n]
	at, used := r.from, 0
	for at < r.to && used < e.want {
		used += e.m.width(cleanLine(e.text[at]))
		at++
	}
	want := e.want
	e.move(at)
	e.want = want
	return true
}

package webtest

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// picture is a PNG of one colour.
func picture(t *testing.T, side int, c color.Color) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			img.Set(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPeopleChangeForEverybody: a name, a picture and a status that change are
// on the other's screen at once, and on one's other device.
func TestPeopleChangeForEverybody(t *testing.T) {
	srv, ana, bob := pair(t)
	phone := srv.Person("bob's phone")
	phone.Screen(390, 844)
	phone.Login("bob")
	bob.Send("good morning")
	ana.Expect("good morning")
	ana.Click("New chat")
	ana.click("Bob", `all('.found button').find((b) => b.innerText.includes('@bob'))`)
	ana.InChat("Bob Okafor")
	ana.Send("just us")
	ana.ExpectSent("just us")
	ana.Open("Port")
	ana.Click("Details")
	ana.wait("Bob", `all('aside li').some((l) => l.innerText.includes('Bob Okafor'))`)

	bob.Settings("Profile")
	bob.Fill("s-name", "Bob O.")
	bob.Fill("s-status", "On the boat")
	bob.Click("Save")
	bob.Says("Saved")
	ana.wait("the name beside his message", `message('good morning').querySelector('.name').innerText === 'Bob O.'`)
	ana.wait("the name in the list of chats", `chat('Bob O.')`)
	ana.wait("name and status among the members", `all('aside li').some((l) => l.innerText.includes('Bob O.') && l.innerText.includes('On the boat'))`)
	phone.wait("the name on the phone", `document.querySelector('.me').innerText.includes('Bob O.')`)

	// A picture: any that the browser can show becomes a small square one.
	if n := get[int](ana, `all('article .avatar img').length`); n != 0 {
		t.Fatalf("there are %d pictures already", n)
	}
	bob.Upload("#s-file", file(t, "face.png", picture(t, 900, color.RGBA{200, 30, 60, 255})))
	bob.Says("Saved")
	const red = `(async (img) => {
		if (!img?.complete || !img.naturalWidth) return false;
		const c = document.createElement('canvas'); c.width = c.height = 1;
		const g = c.getContext('2d'); g.drawImage(img, 0, 0, 1, 1);
		const [r, , b] = g.getImageData(0, 0, 1, 1).data;
		return img.naturalWidth === 256 && r > 150 && b < 100;
	})`
	bob.wait("the picture", red+`(document.querySelector('.me .avatar img'))`)
	ana.wait("the picture beside his message", red+`(message('good morning').querySelector('.avatar img'))`)
	phone.wait("the picture on the phone", red+`(document.querySelector('.me .avatar img'))`)

	// What is no picture is refused with a reason, and what there was stays.
	bob.Upload("#s-file", file(t, "letter.png", []byte("Dear Ana, this is not a picture.")))
	bob.Says("This browser cannot show that file as a picture.")
	bob.wait("the picture still", red+`(document.querySelector('.me .avatar img'))`)
	refused := get[int](bob, `fetch('/v1/users/me/avatar', { method: 'PUT', headers: { 'Content-Type': 'image/png' }, body: 'no picture' }).then((r) => r.status)`)
	if refused != 400 {
		t.Errorf("a picture that is none was answered with %d", refused)
	}
	bob.Click("Remove")
	ana.wait("initials in its place", `!message('good morning').querySelector('.avatar img')`)
	phone.wait("initials on the phone", `!document.querySelector('.me .avatar img')`)

	// Who was away finds it when they are back.
	bob.Click("Close")
	ana.wait("what is kept of Bob", `kept().then((rows) => rows.some((r) => r.includes('Bob O.')))`)
	srv.Kill()
	ana.Status("offline")
	ana.Reload()
	ana.wait("the kept name", `chat('Bob O.')`)
	srv.Restart()
	bob.In()
	ana.In()
	phone.In()
	srv.NoReports()
}

// TestWhoHasRead: in a group each one's picture stands at the message that they
// have read up to, nothing moves by it, and the names can be asked for.
func TestWhoHasRead(t *testing.T) {
	srv, ana, bob := pair(t)
	carla := srv.Person("carla")
	carla.Join(ana.Invite(), "carla", "Carla Núñez")
	ana.Click("Details")
	ana.Click("Add people")
	ana.click("Carla", `all('.found button').find((b) => b.innerText.includes('@carla'))`)
	ana.click("Add", `all('.add')[0]`)
	ana.wait("Carla among them", `all('aside li').some((l) => l.innerText.includes('Carla'))`)
	ana.Click("Close details")
	carla.wait("the chat", `chat('Port')`)
	bob.InChat("Port")

	ana.Send("one")
	bob.Expect("one")
	const stands = `(text) => message(text)?.querySelector('.marks .who')?.getAttribute('aria-label') ?? ''`
	at := func(p *Person, text, label string) {
		t.Helper()
		p.wait(fmt.Sprintf("%q at %q", label, text), fmt.Sprintf(`(%s)(%s) === %s`, stands, quote(text), quote(label)))
	}
	at(ana, "one", "Read by Bob Okafor")
	height := get[float64](ana, `message('one').getBoundingClientRect().height`)
	carla.Open("Port")
	carla.Expect("one")
	ana.wait("both", `/^Read by (Bob Okafor, Carla Núñez|Carla Núñez, Bob Okafor)$/.test((`+stands+`)('one'))`)
	if h := get[float64](ana, `message('one').getBoundingClientRect().height`); h != height {
		t.Errorf("a row of %v px is %v px high since two have read it", height, h)
	}

	// Marks go along; who writes has read what is above.
	carla.Goto(srv.URL("/"))
	carla.In()
	bob.Send("two")
	ana.Expect("two")
	at(ana, "one", "Read by Carla Núñez")
	at(bob, "two", "Read by Ana Lima")

	// All who have read a message, by the mouse and by keys.
	ana.Open("Port")
	ana.on("one", "Who has read this")
	ana.wait("their names", `all('.readers li bdi').map((e) => e.innerText).join() === 'Bob Okafor,Carla Núñez'`)
	ana.look("readers")
	ana.click("elsewhere", `document.querySelector('.conv header [role=heading]')`)
	ana.wait("the end of the names", `!document.querySelector('.readers')`)
	ana.Click("Close details")
	ana.click("the message field", `all('.composer textarea')[0]`)
	ana.Press(kb.Tab, kb.ModifierShift)
	ana.wait("the focus in the list", `document.activeElement.matches('article')`)
	ana.Press(kb.ArrowUp)
	ana.tabTo("who has read it", `e.matches('.marks .who')`)
	ana.Press(kb.Enter)
	ana.wait("the names", `all('.readers li').length === 2`)
	ana.Press(kb.Escape)
	ana.wait("the end of the names, and the focus back", `!document.querySelector('.readers') && document.activeElement.matches('.marks .who')`)

	// In a private chat it is as it was.
	ana.Press("k", kb.ModifierCtrl)
	ana.wait("the switcher", `document.activeElement.matches('.query')`)
	ana.Type("bob")
	ana.wait("Bob", `all('#found li').some((l) => l.innerText.includes('@bob'))`)
	ana.Press(kb.Enter)
	ana.InChat("Bob Okafor")
	ana.Send("seen?")
	bob.Open("Ana Lima")
	bob.Expect("seen?")
	ana.wait("that he has", `message('seen?').innerText.includes('Read') && !message('seen?').querySelector('.marks')`)
	srv.NoReports()
}

// TestPeopleAreFoundByName: by any word of what they are called, with or without
// what is hard to type, and all of them, however many there are.
func TestPeopleAreFoundByName(t *testing.T) {
	srv, ana, _ := pair(t)
	made := get[int](ana, `(async () => {
		let n = 0;
		for (let i = 0; i < 36; i++) {
			const name = i < 35 ? 'María Silva ' + i : 'Zoë Núñez';
			const r = await fetch('/v1/users', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ username: 'x' + i, name, password: 'correct horse' }) });
			if (r.status === 201) n++;
		}
		return n;
	})()`)
	if made != 36 {
		t.Fatalf("%d of 36 accounts were made", made)
	}
	ana.Click("New chat")
	ana.Dialog("New chat")
	const people = `all('.found button').filter((b) => b.innerText.includes('@'))`
	find := func(words string, n int) {
		t.Helper()
		get[bool](ana, `((e) => (e.focus(), e.select(), true))(document.querySelector('dialog input[type=search]'))`)
		ana.Type(words)
		ana.wait(fmt.Sprintf("%d found by %s", n, words), fmt.Sprintf(`%s.length === %d && document.querySelector('dialog input[type=search]').value === %s`, people, n, quote(words)))
	}
	said := func(want string) {
		t.Helper()
		ana.wait("what is said: "+want, `document.querySelector('.picker [role=status]').textContent === `+quote(want))
	}
	find("nunez", 1)
	said("1 person found")
	find("sil maria 34", 1)
	find("nobody", 0)
	said("Nobody found.")
	find("silva", 30)
	said("30 people found, and there are more")
	ana.tabTo("the button for more", `e.matches('.found .more')`)
	ana.Press(kb.Enter)
	ana.wait("all of them, and the focus on the first who came", `(`+people+`).length === 35 && document.activeElement === (`+people+`)[30] && !document.querySelector('.found .more')`)
	ana.Press(kb.Escape)
	ana.NoDialog()

	// The same where one jumps, also to whom one talks to already.
	ana.Press("k", kb.ModifierCtrl)
	ana.wait("the switcher", `document.activeElement.matches('.query')`)
	ana.Type("nunez zo")
	ana.wait("Zoë", `all('#found li').length === 1 && all('#found li')[0].innerText.includes('@x35')`)
	ana.Press(kb.Enter)
	ana.InChat("Zoë Núñez")
	ana.Press("k", kb.ModifierCtrl)
	ana.wait("the switcher", `document.activeElement.matches('.query')`)
	ana.Type("nunez zo")
	ana.wait("the chat with her", `all('#found li').length === 1 && all('#found li')[0].innerText.includes('Zoë') && !all('#found li')[0].innerText.includes('@x35')`)
	get[bool](ana, `(document.activeElement.select(), true)`)
	ana.Type("silva")
	ana.wait("people, and a way to more", `all('#found li').length === 31 && all('#found li').at(-1).innerText === 'Show more people'`)
	ana.Press(kb.ArrowUp)
	ana.Press(kb.Enter)
	ana.wait("all people, the first who came chosen", `all('#found li').length === 35 && all('#found li')[30].getAttribute('aria-selected') === 'true'`)
	ana.Press(kb.Escape)
	ana.NoDialog()
	srv.NoReports()
}

// TestMentionsOfferWhoIsMeant: among more people of a name than are shown, whoever
// has it as their username is there, and first; and marks need not be typed.
func TestMentionsOfferWhoIsMeant(t *testing.T) {
	srv, ana, _ := pair(t)
	added := get[int](ana, `(async () => {
		const ask = async (path, body) => (await fetch('/v1/' + path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })).json();
		const ids = [];
		for (let i = 0; i < 12; i++) {
			const { user } = await ask('users', { username: i < 11 ? 'x' + i : 'mar', name: i < 11 ? 'Már Silva ' + i : 'Zoë Łuk', password: 'correct horse' });
			ids.push(user.user_id);
		}
		const { participants } = await ask('chats/' + location.pathname.split('/')[2] + '/participants', { user_ids: ids });
		return participants.length;
	})()`)
	if added != 12 {
		t.Fatalf("%d of 12 people were added", added)
	}
	ana.click("the message field", `all('.composer textarea')[0]`)
	ana.Type("@mar")
	ana.wait("eight of them, and first whose username it is", `all('.names[role=listbox] li').length === 8 && all('.names[role=listbox] li')[0].innerText.includes('@mar') && all('.names[role=listbox] li')[1].innerText.includes('Már Silva')`)
	ana.Press(kb.Escape)
	ana.Type(" @luk")
	ana.wait("Zoë Łuk", `all('.names[role=listbox] li').length === 1 && all('.names[role=listbox] li')[0].innerText.includes('@mar')`)
	ana.Press(kb.Escape)
	ana.Press(kb.Backspace)
	ana.Press(kb.Backspace)
	ana.Press(kb.Backspace)
	ana.Type("Zoë")
	ana.wait("Zoë, who is written as she is", `all('.names[role=listbox] li').length === 1 && all('.names[role=listbox] li')[0].innerText.includes('@mar')`)
	ana.Press(kb.Enter)
	ana.wait("her username", `all('.composer textarea')[0].value === '@mar @mar '`)
	srv.NoReports()
}

// TestPeopleAnswersThatAreLate: what is on its way takes the focus from nobody who
// types on, opens nothing that was not typed, and shows nobody twice who got another
// name.
func TestPeopleAnswersThatAreLate(t *testing.T) {
	srv, ana, bob := pair(t)
	made := get[int](ana, `(async () => {
		let n = 0;
		for (let i = 0; i < 32; i++) {
			const name = i < 31 ? 'Silva ' + i : 'Zoë Núñez';
			const r = await fetch('/v1/users', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ username: 'x' + i, name, password: 'correct horse' }) });
			if (r.status === 201) n++;
		}
		const { send } = WebSocket.prototype;
		window.held = [];
		WebSocket.prototype.send = function (line) {
			if (window.hold && line.includes('"op":"users.list"')) return void window.held.push(() => send.call(this, line));
			return send.call(this, line);
		};
		window.come = () => {
			window.hold = false;
			for (const go of window.held.splice(0)) go();
			return true;
		};
		return n;
	})()`)
	if made != 32 {
		t.Fatalf("%d of 32 accounts were made", made)
	}
	rename := func(name string) {
		bob.Settings("Profile")
		bob.Fill("s-name", name)
		bob.Click("Save")
		bob.Says("Saved")
		bob.Press(kb.Escape)
		bob.NoDialog()
	}
	rename("Silas")

	ana.Click("New chat")
	ana.Dialog("New chat")
	const people = `all('.found button').filter((b) => b.innerText.includes('@'))`
	const field = `document.querySelector('dialog input[type=search]')`
	get[bool](ana, `(`+field+`.focus(), true)`)
	ana.Type("sil")
	ana.wait("Silas and others", people+`.length === 30 && `+people+`[0].innerText.includes('@bob')`)
	rename("Silz")
	get[bool](ana, `(window.hold = true)`)
	ana.click("more", `document.querySelector('.found .more')`)
	ana.wait("that more is asked for", `window.held.length === 1`)
	get[bool](ana, `(`+field+`.focus(), window.come())`)
	ana.wait("each of them once, and the focus where it was taken to",
		`(`+people+`).length === 32 && new Set((`+people+`).map((b) => b.innerText)).size === 32 && !document.querySelector('.found .more') && document.activeElement === `+field)
	ana.Press(kb.Escape) // empties the field
	ana.wait("an empty field", field+`.value === ''`)
	ana.Press(kb.Escape)
	ana.NoDialog()

	ana.Press("k", kb.ModifierCtrl)
	ana.wait("the switcher", `document.activeElement.matches('.query')`)
	ana.Type("silva")
	ana.wait("people", `all('#found li').length === 31`)
	get[bool](ana, `(document.activeElement.select(), window.hold = true)`)
	ana.Type("nunez")
	ana.Press(kb.Enter)
	ana.wait("that it is asked for", `window.held.length === 1`)
	get[bool](ana, `window.come()`)
	ana.InChat("Zoë Núñez")
	srv.NoReports()
}

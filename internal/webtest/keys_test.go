package webtest

import (
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// TestKeyboardOnly does a conversation without a mouse.
func TestKeyboardOnly(t *testing.T) {
	srv, ana, bob := pair(t)
	bob.Send("by keys?")
	ana.Expect("by keys?")

	// A new group: Tab to the button, and through the dialog.
	ana.tabTo("New chat", `e.matches('button') && label(e) === 'New chat'`, kb.ModifierShift)
	ana.Press(kb.Enter)
	ana.Dialog("New chat")
	ana.look("new-chat-keys")
	ana.tabTo("the tabs", `e.matches('[role=tab]')`, kb.ModifierShift)
	ana.Press(kb.ArrowRight)
	ana.wait("the group", `document.getElementById('g-title') && document.activeElement.innerText === 'Group'`)
	ana.tabTo("the name", `e.id === 'g-title'`)
	ana.Type("Night shift")
	ana.tabTo("people", `e.matches('dialog input[type=search]')`)
	ana.Type("bob")
	ana.wait("Bob", `all('.found button').length === 1 && all('.found button')[0].innerText.includes('@bob')`)
	ana.tabTo("Bob", `e.matches('.found button')`)
	ana.Press(" ")
	ana.wait("that he is picked", `all('.chips li').length === 1`)
	ana.tabTo("Create", `e.matches('button[type=submit]')`)
	ana.Press(kb.Enter)
	ana.InChat("Night shift")
	ana.NoDialog()
	ana.wait("the field", `document.activeElement.matches('.composer textarea')`)

	// What is typed goes into the field; Up takes the last message back.
	ana.Type("frist")
	ana.Press(kb.Enter)
	ana.ExpectSent("frist")
	ana.Press(kb.ArrowUp)
	ana.wait("the edit", `document.querySelector('.mode') && document.activeElement.value === 'frist'`)
	get[bool](ana, `(document.activeElement.select(), true)`)
	ana.Type("first")
	ana.Press(kb.Enter)
	ana.Expect("first")
	ana.Press(kb.ArrowUp)
	ana.wait("another edit", `document.querySelector('.mode')`)
	ana.Press(kb.Escape)
	ana.wait("the end of it", `!document.querySelector('.mode') && document.activeElement.value === ''`)

	// Between chats: Ctrl-K, and Alt with the arrows.
	ana.Press("k", kb.ModifierCtrl)
	ana.wait("the switcher", `document.activeElement.matches('.query')`)
	ana.Press(kb.Escape)
	ana.NoDialog()
	ana.wait("the field again", `document.activeElement.matches('.composer textarea')`)
	ana.Press(kb.ArrowDown, kb.ModifierAlt)
	ana.InChat("Port")
	ana.Press(kb.ArrowUp, kb.ModifierAlt)
	ana.InChat("Night shift")
	bob.Send("are you there?")
	ana.Unread("Port", "1")
	ana.Press(kb.ArrowDown, kb.ModifierAlt|kb.ModifierShift)
	ana.InChat("Port")
	ana.Expect("are you there?")

	// Among the messages: answer one, copy, ask before deleting and do not.
	ana.Press(kb.Tab, kb.ModifierShift)
	ana.wait("the focus in the list", `document.activeElement.matches('article')`)
	ana.Press("r")
	ana.wait("what is answered", `document.querySelector('.mode')?.innerText.includes('Bob Okafor') && document.activeElement.matches('.composer textarea')`)
	ana.Type("I am")
	ana.Press(kb.Enter)
	ana.ExpectSent("I am")
	bob.Expect("I am")
	ana.Press(kb.Tab, kb.ModifierShift)
	ana.Press(kb.Delete)
	ana.Dialog("Delete this message?")
	ana.look("delete")
	ana.Press(kb.Escape)
	ana.NoDialog()
	ana.wait("the focus back at the message", `document.activeElement.matches('article')`)
	ana.tabTo("the same as a button", `e.matches('.tools .del')`)
	ana.Press(kb.Enter)
	ana.Dialog("Delete this message?")
	ana.Press(kb.Enter)
	ana.NoDialog()
	bob.Gone("I am")
	ana.wait("the focus at what is left of it", `document.activeElement.matches('article') && body(document.activeElement) === 'This message was deleted.'`)
	ana.Press(kb.Escape)
	ana.wait("the field", `document.activeElement.matches('.composer textarea')`)

	// The details: in, and out again.
	ana.tabTo("the button for them", `label(e) === 'Details'`, kb.ModifierShift)
	ana.Press(kb.Enter)
	ana.wait("the members", `all('aside li').length === 2`)
	ana.tabTo("the last button there", `label(e) === 'Leave chat'`)
	ana.Press(kb.Escape)
	ana.wait("the focus back", `!document.querySelector('aside') && label(document.activeElement) === 'Details'`)

	// The settings: arrows change tabs, Escape leaves, the focus is where it was.
	ana.tabTo("the settings", `e.matches('button') && label(e) === 'Settings'`, kb.ModifierShift)
	ana.Press(kb.Enter)
	ana.Dialog("Settings")
	ana.tabTo("the tabs", `e.matches('[role=tab]')`, kb.ModifierShift)
	ana.Press(kb.ArrowDown)
	ana.wait("the next tab", `document.activeElement.innerText === 'Look'`)
	ana.Press(kb.Escape)
	ana.NoDialog()
	ana.wait("the focus back", `label(document.activeElement) === 'Settings'`)
	ana.tabTo("the date", `label(e) === 'Jump to date'`)
	ana.Press(kb.Enter)
	ana.Dialog("Jump to date")
	ana.look("jump-date")
	ana.Press(kb.Escape)
	ana.NoDialog()

	// All keys are a key away.
	ana.Press("/", kb.ModifierCtrl)
	ana.Dialog("Settings")
	ana.wait("the keys", `all('dialog kbd').some((e) => e.innerText === 'Ctrl /')`)
	ana.Press(kb.Escape)
	ana.NoDialog()
	srv.NoReports()
}

// TestFilesAreNotTaken: a file that is let go over the page does not take its
// place, and one that is pasted is not silently lost.
func TestFilesAreNotTaken(t *testing.T) {
	_, ana, _ := pair(t)
	const note = `document.querySelector('.toast.shown')?.innerText === 'Files and pictures cannot be sent yet.'`
	event := func(kind, with, text string) bool {
		return get[bool](ana, `(() => {
			const data = new DataTransfer();
			data.items.add(new File(['x'], 'picture.png', { type: 'image/png' }));
			if (`+quote(text)+`) data.setData('text/plain', `+quote(text)+`);
			const e = new `+with+`(`+quote(kind)+`, { dataTransfer: data, clipboardData: data, bubbles: true, cancelable: true });
			document.querySelector('.composer textarea').dispatchEvent(e);
			return e.defaultPrevented;
		})()`)
	}
	if !event("dragover", "DragEvent", "") || !event("drop", "DragEvent", "") {
		t.Error("the browser opens a file that is let go")
	}
	ana.wait("what is said", note)
	ana.wait("the end of it", `!document.querySelector('.toast.shown')`)
	event("paste", "ClipboardEvent", "its name")
	if get[bool](ana, note) {
		t.Error("text that comes with a picture is taken, and said not to be")
	}
	event("paste", "ClipboardEvent", "")
	ana.wait("what is said", note)
}

package webtest

import "testing"

// TestInvitesWhileTheyLoad: a new invite is made while the list of the others is
// yet to come, and when it does not come, which is said and can be tried again.
func TestInvitesWhileTheyLoad(t *testing.T) {
	srv := Serve(t, "")
	ana := srv.Person("ana")
	ana.Join(srv.Link, "ana", "Ana Lima")
	// The answers to invites.list do not reach the page.
	get[bool](ana, `(() => {
		const { send } = WebSocket.prototype;
		window.listsAsked = 0;
		WebSocket.prototype.send = function (line) {
			if (!window.listsCome && line.includes('"op":"invites.list"')) return void window.listsAsked++;
			return send.call(this, line);
		};
		return true;
	})()`)
	ana.Settings("Invites")
	ana.wait("that the list is asked for", `window.listsAsked === 1`)
	ana.Fill("s-uses", "3")
	ana.Click("New invite link")
	ana.wait("the link", `all('.link input')[0]?.value.includes('/join#')`)
	ana.Says("There is no connection.") // after the time that an answer may take
	ana.Fill("s-uses", "2")
	ana.Click("New invite link")
	get[bool](ana, `(window.listsCome = true)`)
	ana.Click("Try again")
	ana.wait("both", `all('.panel li').length === 2 && !all('.panel [role=alert]').length`)
}

// Package client is the Go SDK of Grima: conversations in a Go program, with
// the whole promise of delivery (docs/protocol.md#resume) kept for it.
//
//	c, err := client.Open(client.Config{Server: "grima://localhost:7007", Token: token})
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	for ev := range c.Events(ctx) {
//		if ev.Kind == client.MessageCreated && ev.Message.SenderID != c.Self().UserID {
//			c.Send(ctx, client.Draft{ChatID: ev.ChatID, Content: ev.Message.Content})
//		}
//	}
//	return c.Err()
//
// A [Client] dials, logs in with a token, comes back after whatever happened,
// and catches up on what it missed. It gives
//
//   - one ordered stream of events ([Client.Events], [Client.Batch],
//     [Client.Next]): of each chat, every change exactly once and in order, and
//     between them what happens to the connection and to the outbox;
//   - an outbox ([Client.Queue], [Client.Send]): what was put into it is sent
//     exactly once, over lost connections and, with a [Store], over restarts;
//   - a typed call for every operation (calls.go), and [Client.Do] for any;
//   - the chats as the user sees them now ([Client.Chats]).
//
// Beneath it is [Session], the same without goroutines, clock or network: lines
// go in, lines and events come out. [Timeline] keeps the messages of one chat
// that a window shows, and package client/cache keeps everything in a file.
//
// # Reading slowly
//
// An application may read its events as slowly as it likes. Once
// [Config.Buffer] of them wait, the client only notes how far each chat has
// got, and asks for what it left out when there is room again. Nothing is lost;
// changes of one row may then be told as one.
//
// # Versions
//
// The package follows semantic versioning with its module: before v1.0.0 a
// minor version may break, later only a major one. New fields in structs, new
// kinds of events and new codes are no break: use field names in literals, and
// ignore what you do not know.
package client

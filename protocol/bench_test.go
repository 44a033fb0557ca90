package protocol

import (
	"bytes"
	"testing"
)

var sendLine = []byte(`{"type":"BroadcastRequest","id":4711,"op":"message.send","params":{"chat_id":"c_1","content":"` +
	`The harbour master says that the crane is free from ten to twelve; the second boat can wait for it.` +
	`","client_msg_id":"0f8c2a4e-7d11-4a0e-9f1c-3a1f0b6f8a11"}}`)

func BenchmarkDecodeSend(b *testing.B) {
	b.Run("plain", func(b *testing.B) { benchmarkDecode(b, sendLine) })
	b.Run("escaped", func(b *testing.B) {
		benchmarkDecode(b, bytes.Replace(sendLine, []byte("; "), []byte(`\n`), 1))
	})
}

func benchmarkDecode(b *testing.B, line []byte) {
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		r, err := DecodeRequest(line)
		if err != nil {
			b.Fatal(err)
		}
		var p MessageSendParams
		if _, err := DecodeParams(r.Params, &p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendResponse(b *testing.B) {
	b.ReportAllocs()
	f := &Response{
		Type: TypeBroadcastResponse, ID: ID("4711"), Op: OpMessageSend,
		Result: []byte(`{"chat_id":"c_1","seq":43,"created_at":"2026-09-20T10:00:07.001Z","duplicate":false}`),
	}
	var buf []byte
	for b.Loop() {
		var err error
		if buf, err = AppendFrame(buf[:0], f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	b.ReportAllocs()
	f := &Event{
		Type: TypeBroadcastResponse, Event: EventMessageCreated, ChatID: "c_1", Seq: 43,
		Message: &Message{
			ChatID: "c_1", Seq: 43, UpdatedSeq: 43, SenderID: "u_1",
			Content: "The harbour master says that the crane is free from ten to twelve.", CreatedAt: "2026-09-20T10:00:07.001Z",
		},
	}
	var buf []byte
	for b.Loop() {
		var err error
		if buf, err = AppendFrame(buf[:0], f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeEvent(b *testing.B) {
	line := []byte(`{"type":"BroadcastResponse","event":"message.created","chat_id":"c_1","seq":43,"message":{"chat_id":"c_1","seq":43,"updated_seq":43,"sender_id":"u_1","content":"The harbour master says that the crane is free from ten to twelve.","created_at":"2026-09-20T10:00:07.001Z"}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeFrame(line); err != nil {
			b.Fatal(err)
		}
	}
}

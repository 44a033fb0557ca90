//go:build linux

package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
)

// speak is how one talks to a server: to listen in its one room, to publish
// there, and to ask for something light.
type speak struct {
	// receiver and publisher are what clients say first; i is which one.
	receiver, publisher func(i int) []step
	// publish appends a message with a slot's mark; n is a number that no other
	// message of the run has.
	publish func(dst []byte, slot int, n int64) []byte
	// light is a request of client i that costs little: "ping", or "read" where
	// something is stored. Every answer to one has the byte answer once.
	light  func(what string, i int) []byte
	answer byte
}

// payload is how many bytes a message has: as long as an event of Grima's with a
// short text in it.
const payload = 250

// eventOverhead is about what such an event has besides its content.
const eventOverhead = 212

func filler(n int) string { return strings.Repeat("x", n) }

// appendMessage appends a message of n bytes with a slot's mark.
func appendMessage(dst []byte, slot, n int) []byte {
	dst = append(dst, `{"content":"`...)
	dst = appendMark(dst, slot)
	dst = append(dst, filler(n-17)...)
	return append(dst, `"}`...)
}

func speakRaw() speak {
	first := func(kind string) func(int) []step {
		return func(int) []step { return []step{{say: []byte(kind + "\n"), hear: "+\n"}} }
	}
	return speak{
		receiver: first("S"), publisher: first("P"),
		publish: func(dst []byte, slot int, _ int64) []byte {
			return append(appendMessage(dst, slot, payload-1), '\n')
		},
		light: func(string, int) []byte { return []byte(pingLine) }, answer: '\n',
	}
}

// echo is a connection to the raw server that hears what it says.
func echo(int) []step { return []step{{say: []byte("E\n"), hear: "+\n"}} }

const pingLine = `{"type":"Ping","id":1}` + "\n"

// dataLine is a DataRequest with params as JSON.
func dataLine(op, params string) []byte {
	return fmt.Appendf(nil, `{"type":"DataRequest","id":1,"op":"%s","params":%s}`+"\n", op, params)
}

const loggedIn = `"op":"session.start","result"`

func loginLine(token string, subscribe bool) []byte {
	return fmt.Appendf(nil, `{"type":"SessionRequest","id":1,"op":"session.start","params":{"mechanism":"TOKEN","token":"%s","subscribe":%t}}`+"\n", token, subscribe)
}

// speakGrima talks to a server with a crowd. Receivers are people of its first
// room; publishers are the ones behind them, who do not listen.
func speakGrima(w *crowd) speak {
	return speak{
		receiver: func(i int) []step { return []step{{say: loginLine(w.token(i), true), hear: loggedIn}} },
		publisher: func(i int) []step {
			return []step{{say: loginLine(w.token(w.publishers+i), false), hear: loggedIn}}
		},
		publish: func(dst []byte, slot int, n int64) []byte { return appendSend(dst, w.room, slot, n) },
		light: func(what string, i int) []byte {
			if what == "ping" {
				return []byte(pingLine)
			}
			return dataLine("chats.get", `{"chat_id":"`+w.roomWith(i)+`"}`)
		},
		answer: '\n',
	}
}

// appendSend appends a message.send to a room, with a slot's mark; n is in no
// other.
func appendSend(dst []byte, room string, slot int, n int64) []byte {
	dst = append(dst, `{"type":"BroadcastRequest","id":1,"op":"message.send","params":{"chat_id":"`...)
	dst = append(dst, room...)
	dst = append(dst, `","content":"`...)
	dst = appendMark(dst, slot)
	dst = append(dst, filler(payload-eventOverhead-3)...)
	return fmt.Appendf(dst, `","client_msg_id":"b%015d"}}`+"\n", n)
}

// webSocketReceiver is a receiver of speakGrima's over a WebSocket.
func webSocketReceiver(w *crowd, i int) []step {
	login := strings.TrimSpace(string(loginLine(w.token(i), true)))
	return []step{
		{say: []byte("GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef")) +
			"\r\nSec-WebSocket-Protocol: grima.v1.json\r\n\r\n"), hear: "\r\n\r\n"},
		{say: maskedText(login), hear: loggedIn},
	}
}

// maskedText is a WebSocket's text message from a client (RFC 6455, 5.2), of
// 126 to 65,535 bytes; its mask is zeros, which leave the text as it is.
func maskedText(text string) []byte {
	b := []byte{0x81, 0x80 | 126}
	b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
	return append(append(b, 0, 0, 0, 0), text...)
}

func speakNATS() speak {
	const connect = `CONNECT {"verbose":false,"pedantic":false,"tls_required":false,"lang":"bench","version":"1","protocol":1}` + "\r\n"
	publish := fmt.Appendf(nil, "PUB room %d\r\n", payload)
	return speak{
		receiver: func(int) []step {
			return []step{{say: []byte(connect + "SUB room 1\r\nPING\r\n"), hear: "PONG\r\n"}}
		},
		publisher: func(int) []step { return []step{{say: []byte(connect + "PING\r\n"), hear: "PONG\r\n"}} },
		publish: func(dst []byte, slot int, _ int64) []byte {
			return append(appendMessage(append(dst, publish...), slot, payload), "\r\n"...)
		},
		light: func(string, int) []byte { return []byte("PING\r\n") }, answer: '\n',
	}
}

func speakRedis() speak {
	publish := fmt.Appendf(nil, "*3\r\n$7\r\nPUBLISH\r\n$4\r\nroom\r\n$%d\r\n", payload)
	return speak{
		receiver: func(int) []step {
			return []step{{say: []byte("*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\nroom\r\n"), hear: "room\r\n:1\r\n"}}
		},
		publisher: func(int) []step { return []step{{say: []byte("PING\r\n"), hear: "+PONG\r\n"}} },
		publish: func(dst []byte, slot int, _ int64) []byte {
			return append(appendMessage(append(dst, publish...), slot, payload), "\r\n"...)
		},
		// To who has subscribed a pong is an array, and the one asterisk is its.
		light: func(string, int) []byte { return []byte("*1\r\n$4\r\nPING\r\n") }, answer: '*',
	}
}

// speakMQTT talks MQTT 3.1.1 at quality of service 0.
func speakMQTT() speak {
	connect := func(name string) []byte {
		b := []byte("\x00\x04MQTT\x04\x02\x00\x00")
		b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
		return packet(0x10, append(b, name...))
	}
	const accepted = "\x20\x02\x00\x00"
	subscribe := packet(0x82, []byte("\x00\x01\x00\x04room\x00"))
	return speak{
		receiver: func(i int) []step {
			return []step{{say: connect(fmt.Sprintf("r%d", i)), hear: accepted}, {say: subscribe, hear: "\x90\x03\x00\x01\x00"}}
		},
		publisher: func(i int) []step { return []step{{say: connect(fmt.Sprintf("p%d", i)), hear: accepted}} },
		publish: func(dst []byte, slot int, _ int64) []byte {
			body := appendMessage([]byte("\x00\x04room"), slot, payload)
			return append(dst, packet(0x30, body)...)
		},
		light: func(string, int) []byte { return []byte("\xc0\x00") }, answer: 0xd0,
	}
}

// packet is an MQTT packet (3.1.1, section 2.2).
func packet(head byte, body []byte) []byte {
	b := append([]byte{head}, binary.AppendUvarint(nil, uint64(len(body)))...)
	return append(b, body...)
}

// Package websocket turns a WebSocket (RFC 6455) into lines and back: each text
// message is one line. It knows the handshake, as a question about a request,
// and the frames, as bytes; it opens no connection and writes nothing.
//
// There is no compression and there are no other extensions. Frames to a client
// are not masked, so the bytes of a message are the same for every reader.
package websocket

import (
	"encoding/binary"
	"unicode/utf8"
)

// The opcodes of frames (RFC 6455, section 5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

const (
	fin        = 0x80 // in the first byte
	reserved   = 0x70
	masked     = 0x80 // in the second byte
	maxControl = 125  // bytes of a control frame's payload
)

// The close codes (RFC 6455, section 7.4) that this package gives, and the one
// of a conversation that ends well.
const (
	CloseNormal      = 1000
	CloseProtocol    = 1002 // against the rules of frames
	CloseUnsupported = 1003 // a binary message
	CloseNotUTF8     = 1007
	CloseTooBig      = 1009
	closeNoStatus    = 1005 // never on the wire
)

// AppendText appends line, its newline left out, as a text message.
func AppendText(dst, line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	return append(appendHeader(dst, opText, len(line)), line...)
}

// AppendPong appends the answer to a ping.
func AppendPong(dst, payload []byte) []byte {
	return append(appendHeader(dst, opPong, len(payload)), payload...)
}

// AppendClose appends the frame that ends a conversation. Of reason goes in
// what fits.
func AppendClose(dst []byte, code int, reason string) []byte {
	for len(reason) > maxControl-2 || !utf8.ValidString(reason) {
		reason = reason[:min(len(reason)-1, maxControl-2)]
	}
	dst = appendHeader(dst, opClose, 2+len(reason))
	return append(binary.BigEndian.AppendUint16(dst, uint16(code)), reason...)
}

func appendHeader(dst []byte, op byte, n int) []byte {
	dst = append(dst, fin|op)
	switch {
	case n <= maxControl:
		return append(dst, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
}

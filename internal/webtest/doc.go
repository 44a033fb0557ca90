// Package webtest drives the web client as people do: the real binary, headless
// Chromium, two or three people at once, each with a browser profile of their
// own. Its tests read like transcripts:
//
//	ana.Send("hi")
//	bob.Expect("hi")
//
// They need chromium and a built page (`make web`, which needs Node.js 20.19,
// 22.12, or 24 and newer). Where one of them is missing
// they skip and say so; with CI=true they fail. They wait for what is to be seen
// on the page, never for time to pass.
package webtest

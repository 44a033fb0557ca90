package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	texttemplate "text/template"
)

// The pages say what this is and how to go on by hand. They are plain text in
// nature; a browser gets the same in a little HTML, without scripts, where the
// web client was not built.

const pageStyle = `body{max-width:46rem;margin:3rem auto;padding:0 1rem;font:1rem/1.5 system-ui,sans-serif}pre{padding:1rem;overflow:auto;border:1px solid;border-radius:.4rem}`

// contentPolicy lets a page have its own style and nothing else.
var contentPolicy = func() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

type pageText struct {
	title, lead string
	steps       []struct{ say, do string }
}

var indexPage = pageText{
	"Grima", "This is a chat server. People and programs talk to it with one line of JSON at a time, over TCP, TLS or HTTP, on this one port.",
	[]struct{ say, do string }{
		{"Make an account. Where the server asks for an invite, put \"invite\":\"the code\" in as well:", `curl -s {{.URL}}/v1/users -H 'Content-Type: application/json' -d '{"username":"ana","password":"a good long one"}'`},
		{"Log in. The answer has a token:", `T=$(curl -s {{.URL}}/v1/sessions -H 'Content-Type: application/json' -d '{"mechanism":"PLAIN","username":"ana","password":"a good long one"}' | jq -r .token)`},
		{"Make a group, say something, read it:", `C=$(curl -s {{.URL}}/v1/chats -H "Authorization: Bearer $T" -H 'Content-Type: application/json' -d '{"kind":"group","title":"Port"}' | jq -r .chat.chat_id)
curl -s {{.URL}}/v1/chats/$C/messages -H "Authorization: Bearer $T" -H 'Content-Type: application/json' -d '{"content":"hello"}'
curl -s {{.URL}}/v1/chats/$C/messages -H "Authorization: Bearer $T"`},
		{"See what is said as it is said: connect, and type or paste lines:", `{{.Connect}}
{"type":"SessionRequest","op":"session.start","params":{"mechanism":"TOKEN","token":"gt_..."}}`},
		{"Every route, parameter and answer, for programs:", `curl -s {{.URL}}/v1/openapi.json`},
	},
}

var joinPage = pageText{
	"Join", "Somebody invited you to this chat server. The invite's code is what stands behind the # in the address of this page; it was not sent to the server.",
	[]struct{ say, do string }{
		{"Make your account with it:", `curl -s {{.URL}}/v1/users -H 'Content-Type: application/json' -d '{"username":"your-name","password":"a good long one","invite":"the code"}'`},
		{"Then go on as the first page says:", `curl -s {{.URL}}/`},
	},
}

var (
	htmlPage = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Title}}</title><style>` + pageStyle + `</style>
<h1>{{.Title}}</h1>
<p>{{.Lead}}</p>
{{range .Steps}}<p>{{.Say}}</p>
<pre>{{.Do}}</pre>
{{end}}<p>{{.Software}}</p>
</html>
`))
	textPage = texttemplate.Must(texttemplate.New("page").Parse(`{{.Title}}

{{.Lead}}
{{range .Steps}}
{{.Say}}

{{.Do}}
{{end}}
{{.Software}}
`))
)

// plainHost is what a Host header may be to be shown in commands that people
// paste.
var plainHost = regexp.MustCompile(`^[A-Za-z0-9.:\[\]-]+$`)

// page is the handler of a page: HTML for who asks for HTML, else text.
func (h *handler) page(p pageText) http.HandlerFunc {
	type step struct{ Say, Do string }
	return func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if !plainHost.MatchString(host) {
			host = "localhost"
		}
		scheme, port := "http", "80"
		// The header changes only what is shown to whoever sent it.
		secure := r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
		if secure {
			scheme, port = "https", "443"
		}
		name := host
		if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
			name, port = host[:i], host[i+1:]
		}
		connect := "nc " + strings.Trim(name, "[]") + " " + port
		if secure {
			connect = "openssl s_client -quiet -connect " + name + ":" + port
		}
		fill := strings.NewReplacer("{{.URL}}", scheme+"://"+host, "{{.Connect}}", connect)
		var steps []step
		if h.client[indexFile] == nil {
			steps = append(steps, step{"There is no web client in this build. One with it is made, where the source is, by:", "make build"})
		}
		for _, s := range p.steps {
			steps = append(steps, step{s.say, fill.Replace(s.do)})
		}
		content := struct {
			Title, Lead, Software string
			Steps                 []step
		}{p.title, p.lead, h.Software, steps}
		var (
			out   bytes.Buffer
			media = "text/plain; charset=utf-8"
			err   error
		)
		if acceptsHTML(r) {
			media = "text/html; charset=utf-8"
			err = htmlPage.Execute(&out, content)
		} else {
			err = textPage.Execute(&out, content)
		}
		if err != nil {
			panic(err) // the templates are ours, and so is what they are filled with
		}
		w.Header().Set("Content-Type", media)
		w.Header().Set("Content-Length", strconv.Itoa(out.Len()))
		w.Header().Add("Vary", "Accept")
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(out.Bytes())
	}
}

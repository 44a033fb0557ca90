package httpapi

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"net/http"
	"strings"
	"testing"

	"github.com/grima-chat/grima/protocol"
)

func pictureOf(t *testing.T, w, h int, c color.Color) (asPNG, asJPEG []byte) {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		m.Set(i%w, i/w, c)
	}
	var p, j bytes.Buffer
	if err := png.Encode(&p, m); err != nil {
		t.Fatal(err)
	}
	if err := jpeg.Encode(&j, m, nil); err != nil {
		t.Fatal(err)
	}
	return p.Bytes(), j.Bytes()
}

func TestAvatars(t *testing.T) {
	s := populated(t)
	check := &checkedTransport{t: t, next: s.Client().Transport, described: map[string]bool{}}
	put := func(status int, who, media string, body []byte) string {
		t.Helper()
		r := s.request(who, "PUT /v1/users/me/avatar", string(body))
		r.Header.Set("Content-Type", media)
		_, answer := s.expectOf(status, r)
		return answer
	}
	red, redJPEG := pictureOf(t, 64, 64, color.NRGBA{255, 0, 0, 255})
	blue, _ := pictureOf(t, 64, 64, color.NRGBA{0, 0, 255, 255})
	hash := between(put(200, "ana", "image/png", red), `"avatar":"`, `"`)
	if len(hash) != 32 {
		t.Fatalf("the hash is %q", hash)
	}
	if again := between(put(200, "ana", "image/png", append(bytes.Clone(red), "behind its end"...)), `"avatar":"`, `"`); again != hash {
		t.Errorf("the same picture is %s, then %s", hash, again)
	}
	// Others see it, in the rows where they see the name, and strangers do not.
	for _, route := range []string{"GET /v1/users/u_1", "GET /v1/users?user_ids=u_1"} {
		if _, body := s.expect(200, "bob", route, ""); !strings.Contains(body, `"avatar":"`+hash+`"`) {
			t.Errorf("%s: %s", route, body)
		}
	}
	if _, body := s.expect(200, "ana", "GET /v1/chats/c_1/participants", ""); !strings.Contains(body, `"avatar":"`+hash+`"`) {
		t.Errorf("%s", body)
	}
	res, body := s.expect(200, "bob", "GET /v1/avatars/"+hash, "")
	if m, format, err := image.Decode(strings.NewReader(body)); err != nil || format != "png" || m.Bounds().Dx() != 64 {
		t.Errorf("%s, %v", format, err)
	}
	for name, want := range map[string]string{
		"Content-Type": "image/png", "Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	s.expect(401, "", "GET /v1/avatars/"+hash, "")
	s.expect(404, "bob", "GET /v1/avatars/none", "")

	// One takes the place of the other, and the old one is gone.
	if other := between(put(200, "ana", "image/jpeg", redJPEG), `"avatar":"`, `"`); other == hash {
		t.Error("a JPEG is the PNG")
	}
	s.expect(404, "bob", "GET /v1/avatars/"+hash, "")
	put(200, "ana", "image/png", blue)
	client := &http.Client{Transport: check}
	r := s.request("ana", "DELETE /v1/users/me/avatar", "")
	res2, err := client.Do(r)
	if err != nil || res2.StatusCode != 200 {
		t.Fatal(res2, err)
	}
	res2.Body.Close()
	if _, body := s.expect(200, "ana", "GET /v1/users/me", ""); strings.Contains(body, "avatar") {
		t.Errorf("%s", body)
	}

	// What is refused changes nothing.
	hash = between(put(200, "ana", "image/png", red), `"avatar":"`, `"`)
	wide, _ := pictureOf(t, protocol.MaxAvatarSide+1, 1, color.Black)
	for _, c := range []struct {
		status      int
		media, want string
		body        []byte
	}{
		{415, "image/svg+xml", "Content-Type", []byte("<svg onload=alert(1)>")},
		{415, "image/gif", "Content-Type", []byte("GIF89a")},
		{415, "text/html", "Content-Type", red},
		{415, "", "Content-Type", red},
		{400, "image/png", "no image/png", []byte("<script>alert(1)</script>")},
		{400, "image/png", "no image/png", redJPEG},
		{400, "image/png", "no image/png", nil},
		{400, "image/png", "513 by 1", wide},
		{400, "image/png", "whole", red[:len(red)-20]},
		{413, "image/png", "frame_too_large", append(bytes.Clone(red), make([]byte, protocol.MaxAvatar)...)},
	} {
		if answer := put(c.status, "ana", c.media, c.body); !strings.Contains(answer, c.want) {
			t.Errorf("%s: %s", c.media, answer)
		}
	}
	put(401, "", "image/png", red)
	s.expect(400, "ana", "PUT /v1/users/me/avatar?user_id=u_2", "x")
	s.expect(200, "bob", "GET /v1/avatars/"+hash, "")
}

// A panic kept the one place for drawing, and no picture could be set any more.
func TestPanicWhileDrawing(t *testing.T) {
	h := &handler{drawing: make(chan struct{}, 1)}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		h.draw(t.Context(), func() { panic("a bad picture") })
	}()
	over, cancel := context.WithCancel(t.Context())
	drew := h.draw(t.Context(), func() {
		cancel()
		if h.draw(over, func() { t.Error("two at a time") }) {
			t.Error("there was a second place")
		}
	})
	if !drew {
		t.Error("the place is gone")
	}
}

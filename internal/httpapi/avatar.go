package httpapi

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/picture"
	"github.com/grima-chat/grima/protocol"
)

// Where pictures of people are (docs/protocol.md#avatars).
const (
	ownAvatar = "/v1/users/me/avatar"
	avatars   = "/v1/avatars/{hash}"
)

// forever is for what never changes under its name, for its reader alone.
const forever = "private, max-age=31536000, immutable"

// putAvatar is the handler of a new picture. One is drawn at a time: it is the
// most work that a request can make.
func (h *handler) putAvatar(w http.ResponseWriter, r *http.Request) {
	c, err := h.account(r)
	if err != nil {
		WriteProblem(w, err)
		return
	}
	file, format, status, err := readPicture(w, r)
	if err != nil {
		writeProblem(w, status, err)
		return
	}
	var (
		clean   []byte
		media   string
		failure error
	)
	if !h.draw(r.Context(), func() {
		clean, media, failure = picture.Clean(file, format, protocol.MaxAvatarSide, protocol.MaxAvatar)
	}) {
		WriteProblem(w, protocol.NewError(protocol.CodeTimeout, "it took too long; nothing was changed"))
		return
	}
	if failure != nil {
		WriteProblem(w, protocol.NewError(protocol.CodeInvalidRequest, failure.Error()))
		return
	}
	h.setAvatar(w, r, c, media, clean)
}

// draw has do run when nobody else's does, unless ctx ends first, which it says. A
// picture that has its decoder panic costs its request and not the place.
func (h *handler) draw(ctx context.Context, do func()) bool {
	select {
	case h.drawing <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-h.drawing }()
	do()
	return true
}

func (h *handler) deleteAvatar(w http.ResponseWriter, r *http.Request) {
	c, err := h.account(r)
	if err == nil {
		_, _, err = readBody(w, r, false)
	}
	if err != nil {
		WriteProblem(w, err)
		return
	}
	h.setAvatar(w, r, c, "", nil)
}

func (h *handler) setAvatar(w http.ResponseWriter, r *http.Request, c api.Caller, media string, clean []byte) {
	result, err := h.API.SetAvatar(r.Context(), c, media, clean)
	if err != nil {
		WriteProblem(w, err)
		return
	}
	body, failure := json.Marshal(result)
	if failure != nil {
		panic(failure) // what the store has is UTF-8
	}
	writeJSON(w, http.StatusOK, body)
}

// account is who wants to change their picture, before its bytes are read.
func (h *handler) account(r *http.Request) (api.Caller, *protocol.Error) {
	if err := h.admit(r, api.Write); err != nil {
		return api.Caller{}, err
	}
	query, err := parseQuery(r.URL.RawQuery)
	if err == nil && len(query) > 0 {
		err = protocol.NewError(protocol.CodeInvalidRequest, "this route takes nothing in the query")
	}
	if err != nil {
		return api.Caller{}, err
	}
	c, err := h.caller(r, api.Write)
	if err == nil && c.Actor.User == 0 {
		err = protocol.NewError(protocol.CodeUnauthenticated, "log in first")
	}
	return c, err
}

// readPicture reads a body that should be a picture. An error comes with its
// status.
func readPicture(w http.ResponseWriter, r *http.Request) (file []byte, format string, status int, err *protocol.Error) {
	format, _, failure := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if failure != nil || format != picture.PNG && format != picture.JPEG {
		return nil, "", http.StatusUnsupportedMediaType,
			protocol.NewError(protocol.CodeInvalidRequest, "the Content-Type must be "+picture.PNG+" or "+picture.JPEG)
	}
	file, failure = io.ReadAll(http.MaxBytesReader(w, r.Body, protocol.MaxAvatar))
	if _, large := errors.AsType[*http.MaxBytesError](failure); large {
		w.Header().Set("Connection", "close") // rather than read the rest of it
		return nil, "", http.StatusRequestEntityTooLarge,
			protocol.NewError(protocol.CodeFrameTooLarge, "a picture has at most "+strconv.Itoa(protocol.MaxAvatar)+" bytes")
	}
	if failure != nil {
		return nil, "", http.StatusBadRequest, protocol.NewError(protocol.CodeInvalidRequest, "the body did not arrive whole")
	}
	return file, format, 0, nil
}

// getAvatar shows a picture to everybody with an account.
func (h *handler) getAvatar(w http.ResponseWriter, r *http.Request) {
	err := h.admit(r, api.Light)
	var c api.Caller
	if err == nil {
		c, err = h.caller(r, api.Light)
	}
	if err != nil {
		WriteProblem(w, err)
		return
	}
	v, err := h.API.Avatar(r.Context(), c, r.PathValue("hash"))
	if err != nil {
		WriteProblem(w, err)
		return
	}
	w.Header().Set("Cache-Control", forever)
	w.Header().Set("Content-Type", v.Type)
	w.Header().Set("Content-Length", strconv.Itoa(len(v.Bytes)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(v.Bytes)
}

package httpapi

import (
	"net/http"

	"github.com/grima-chat/grima/protocol"
)

// frames is the handler of /v1/data and /v1/broadcast: the body is a frame of
// the type, and so is the answer, with the status of its error. What cannot be
// told to be a request is answered with an Error frame, as on a connection.
func (h *handler) frames(path string, takes protocol.Type) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		query, err := parseQuery(r.URL.RawQuery)
		if err == nil && len(query) > 0 {
			err = protocol.NewError(protocol.CodeInvalidRequest, "everything goes in the frame, nothing in the query")
		}
		if err != nil {
			h.writeFrame(w, err.Code.Info().Status, protocol.Refuse(protocol.Request{}, err), err)
			return
		}
		body, status, err := readBody(w, r, true)
		if err != nil {
			h.writeFrame(w, status, protocol.Refuse(protocol.Request{}, err), err)
			return
		}
		req, err := protocol.DecodeRequest(body)
		if err == nil && req.Type != takes {
			err = protocol.NewError(protocol.CodeInvalidRequest, path+" takes a "+string(takes)+", not a "+string(req.Type))
		}
		if err != nil {
			h.writeFrame(w, err.Code.Info().Status, protocol.Refuse(req, err), err)
			return
		}
		c, err := h.caller(r)
		if err != nil {
			h.writeFrame(w, err.Code.Info().Status, protocol.Refuse(req, err), err)
			return
		}
		answer := h.do(r.Context(), c, req)
		status = http.StatusOK
		if answer.Error != nil {
			status = answer.Error.Code.Info().Status
		}
		h.writeFrame(w, status, answer, answer.Error)
	}
}

func (h *handler) writeFrame(w http.ResponseWriter, status int, frame any, err *protocol.Error) {
	line, failure := protocol.AppendFrame(nil, frame)
	if failure != nil {
		h.Log.Error("encoding an answer", "err", failure)
		writeProblem(w, http.StatusInternalServerError, protocol.NewError(protocol.CodeInternal, "the answer could not be encoded"))
		return
	}
	if err != nil {
		setErrorHeaders(w, status, err)
	}
	writeJSON(w, status, line)
}

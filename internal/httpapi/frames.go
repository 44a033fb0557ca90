package httpapi

import (
	"net/http"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/protocol"
)

// frames is the handler of /v1/data and /v1/broadcast: the body is a frame of
// the type, and so is the answer, with the status of its error. What cannot be
// told to be a request is answered with an Error frame, as on a connection.
func (h *handler) frames(path string, takes protocol.Type) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		req, status, err := readFrame(w, r)
		// What it costs stands in the frame.
		if no := h.admit(r, api.CostOf(req)); no != nil {
			status, err = no.Code.Info().Status, no
		}
		if err == nil && req.Type != takes {
			err = protocol.NewError(protocol.CodeInvalidRequest, path+" takes a "+string(takes)+", not a "+string(req.Type))
			status = err.Code.Info().Status
		}
		if err != nil {
			h.writeFrame(w, status, protocol.Refuse(req, err), err)
			return
		}
		c, err := h.caller(r, api.CostOf(req))
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

// readFrame reads the request that is the body of r.
func readFrame(w http.ResponseWriter, r *http.Request) (req protocol.Request, status int, err *protocol.Error) {
	query, err := parseQuery(r.URL.RawQuery)
	if err == nil && len(query) > 0 {
		err = protocol.NewError(protocol.CodeInvalidRequest, "everything goes in the frame, nothing in the query")
	}
	if err != nil {
		return req, err.Code.Info().Status, err
	}
	body, status, err := readBody(w, r, true)
	if err != nil {
		return req, status, err
	}
	if req, err = protocol.DecodeRequest(body); err != nil {
		return req, err.Code.Info().Status, err
	}
	return req, http.StatusOK, nil
}

func (h *handler) writeFrame(w http.ResponseWriter, status int, frame any, err *protocol.Error) {
	line, failure := protocol.AppendFrame(nil, frame)
	if failure != nil {
		h.Log.Error("encoding an answer", "error", failure)
		writeProblem(w, http.StatusInternalServerError, protocol.NewError(protocol.CodeInternal, "the answer could not be encoded"))
		return
	}
	if err != nil {
		setErrorHeaders(w, status, err)
	}
	writeJSON(w, status, line)
}

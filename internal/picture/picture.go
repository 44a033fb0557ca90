// Package picture makes pictures that people upload fit to be shown to others:
// what comes out was drawn by us, pixel by pixel, and holds nothing of the file
// that came in: no metadata, no second meaning, no bytes behind its end.
package picture

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"image/png"
)

// The formats that come in and go out.
const (
	PNG  = "image/png"
	JPEG = "image/jpeg"
)

// mostScans is in how many passes a JPEG may be drawn. Ten are usual, and each
// costs a look at all of the picture, however few bytes it has: 64 KiB of them
// would take seconds.
const mostScans = 64

// startOfScan stands nowhere else in what is drawn.
var startOfScan = []byte{0xff, 0xda}

// ErrTooLarge is of a picture that does not fit, whichever way it is encoded.
var ErrTooLarge = errors.New("the picture does not fit into the bytes there are for it; make it smaller or simpler")

// Clean decodes a picture of the given format, of at most side pixels in width
// and in height, and encodes it anew in at most most bytes. What is lossless
// stays so if it fits; what cannot be seen through is else a JPEG. Errors say
// what is wrong with the picture, for whoever sent it.
func Clean(file []byte, format string, side, most int) (clean []byte, media string, err error) {
	config, decode := png.DecodeConfig, png.Decode
	if format == JPEG {
		config, decode = jpeg.DecodeConfig, jpeg.Decode
	}
	// Its size first: a small file may promise a very large picture.
	c, err := config(bytes.NewReader(file))
	if err != nil {
		return nil, "", fmt.Errorf("this is no %s: %w", format, err)
	}
	if c.Width < 1 || c.Height < 1 || c.Width > side || c.Height > side {
		return nil, "", fmt.Errorf("the picture has %d by %d pixels; at most %d by %d are taken", c.Width, c.Height, side, side)
	}
	if format == JPEG && bytes.Count(file, startOfScan) > mostScans {
		return nil, "", fmt.Errorf("the picture is drawn in more than %d passes", mostScans)
	}
	in, err := decode(bytes.NewReader(file))
	if err != nil {
		return nil, "", fmt.Errorf("this is no whole %s: %w", format, err)
	}
	drawn := image.NewNRGBA(image.Rect(0, 0, in.Bounds().Dx(), in.Bounds().Dy()))
	draw.Draw(drawn, drawn.Bounds(), in, in.Bounds().Min, draw.Src)
	var out bytes.Buffer
	if !drawn.Opaque() || format == PNG {
		if err := png.Encode(&out, drawn); err != nil {
			return nil, "", fmt.Errorf("encoding the picture: %w", err)
		}
		if out.Len() <= most {
			return out.Bytes(), PNG, nil
		}
	}
	if drawn.Opaque() {
		for _, quality := range []int{92, 80, 65} {
			out.Reset()
			if err := jpeg.Encode(&out, drawn, &jpeg.Options{Quality: quality}); err != nil {
				return nil, "", fmt.Errorf("encoding the picture: %w", err)
			}
			if out.Len() <= most {
				return out.Bytes(), JPEG, nil
			}
		}
	}
	return nil, "", ErrTooLarge
}

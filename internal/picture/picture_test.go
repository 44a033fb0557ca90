package picture

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

const (
	side = 512
	most = 64 << 10
)

// gradient is a picture that compresses well; noise one that does not.
func gradient(w, h int, alpha uint8) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, color.NRGBA{uint8(x), uint8(y), 99, alpha})
		}
	}
	return m
}

func noise(w, h int, alpha uint8) *image.NRGBA {
	r := rand.New(rand.NewPCG(1, 2))
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = uint8(r.Uint32())
		if i%4 == 3 {
			m.Pix[i] = alpha
		}
	}
	return m
}

func asPNG(t testing.TB, m image.Image) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func asJPEG(t testing.TB, m image.Image) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCleanKeepsWhatIsSeen(t *testing.T) {
	for name, c := range map[string]struct {
		file []byte
		in   string
		out  string
		m    image.Image
	}{
		"a PNG stays one":                {asPNG(t, gradient(200, 100, 255)), PNG, PNG, gradient(200, 100, 255)},
		"one that is seen through too":   {asPNG(t, gradient(32, 32, 7)), PNG, PNG, gradient(32, 32, 7)},
		"a JPEG stays one":               {asJPEG(t, gradient(200, 100, 255)), JPEG, JPEG, nil},
		"a single pixel":                 {asPNG(t, gradient(1, 1, 255)), PNG, PNG, gradient(1, 1, 255)},
		"a PNG that is too large":        {asPNG(t, noise(200, 200, 255)), PNG, JPEG, nil},
		"as large as a picture may be":   {asPNG(t, gradient(side, side, 255)), PNG, PNG, gradient(side, side, 255)},
		"whose corner is somewhere else": {asPNG(t, gradient(300, 300, 255).SubImage(image.Rect(10, 20, 40, 50))), PNG, PNG, nil},
	} {
		out, media, err := Clean(c.file, c.in, side, most)
		if err != nil || media != c.out || len(out) > most {
			t.Errorf("%s: %s of %d bytes, %v", name, media, len(out), err)
			continue
		}
		back, format, err := image.Decode(bytes.NewReader(out))
		if err != nil || "image/"+format != media {
			t.Errorf("%s: it is a %s, %v", name, format, err)
			continue
		}
		if c.m == nil {
			continue
		}
		for y := range back.Bounds().Dy() {
			for x := range back.Bounds().Dx() {
				if got, want := color.NRGBAModel.Convert(back.At(x, y)), c.m.At(x, y); got != want {
					t.Fatalf("%s: the pixel (%d, %d) is %v, not %v", name, x, y, got, want)
				}
			}
		}
	}
}

// Nothing of a file comes through but what it shows.
func TestCleanDropsTheRest(t *testing.T) {
	const secret = "<script>alert(1)</script> GPS 38.7"
	withText := asPNG(t, gradient(20, 20, 255))
	withText = append(withText, secret...) // behind its end
	segment := append([]byte{0xff, 0xe1, 0, byte(len(secret) + 2)}, secret...)
	plain := asJPEG(t, gradient(20, 20, 255))
	withExif := append(append(bytes.Clone(plain[:2]), segment...), plain[2:]...)
	for format, file := range map[string][]byte{PNG: withText, JPEG: withExif} {
		if !bytes.Contains(file, []byte(secret)) {
			t.Fatal("it is not in there")
		}
		out, _, err := Clean(file, format, side, most)
		if err != nil || bytes.Contains(out, []byte("script")) || bytes.Contains(out, []byte("GPS")) {
			t.Errorf("%s: %v, %q", format, err, out)
		}
	}
}

func TestCleanRefuses(t *testing.T) {
	good := asPNG(t, gradient(20, 20, 255))
	for name, c := range map[string]struct {
		file   []byte
		format string
		say    string
	}{
		"nothing":           {nil, PNG, "no image/png"},
		"text":              {[]byte("<svg onload=alert(1)>"), PNG, "no image/png"},
		"another format":    {asJPEG(t, gradient(20, 20, 255)), PNG, "no image/png"},
		"and the other way": {good, JPEG, "no image/jpeg"},
		"half of one":       {good[:len(good)/2], PNG, "no whole image/png"},
		"too wide":          {asPNG(t, gradient(side+1, 1, 255)), PNG, "513 by 1"},
		"too high":          {asJPEG(t, gradient(1, side+1, 255)), JPEG, "1 by 513"},
	} {
		if _, _, err := Clean(c.file, c.format, side, most); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := Clean(asPNG(t, noise(400, 400, 100)), PNG, side, most); !errors.Is(err, ErrTooLarge) {
		t.Errorf("noise that is seen through: %v", err)
	}
	// A bomb: a header that promises much more than is taken.
	bomb := bytes.Clone(good)
	bomb[16], bomb[17] = 0x7f, 0xff
	if _, _, err := Clean(bomb, PNG, side, most); err == nil {
		t.Error("a bomb is taken")
	}
}

func FuzzClean(f *testing.F) {
	f.Add(asPNG(f, gradient(3, 3, 255)), true)
	f.Add(asJPEG(f, gradient(3, 3, 255)), false)
	f.Fuzz(func(t *testing.T, file []byte, isPNG bool) {
		format := JPEG
		if isPNG {
			format = PNG
		}
		out, media, err := Clean(file, format, side, most)
		if err != nil {
			return
		}
		if len(out) > most {
			t.Errorf("%d bytes", len(out))
		}
		if _, _, err := Clean(out, media, side, most+most); err != nil {
			t.Errorf("what came out does not go in: %v", err)
		}
	})
}

// A JPEG may be drawn in passes, each of them some bytes that change nothing in
// the whole picture: 5,400 fit into a file, and took over two seconds.
func TestManyPasses(t *testing.T) {
	segment := func(marker byte, b ...byte) []byte {
		return append([]byte{0xff, marker, 0, byte(len(b) + 2)}, b...)
	}
	table := func(id, symbol byte) []byte { // of one code, which has one bit
		return segment(0xc4, append(append([]byte{id, 1}, make([]byte, 15)...), symbol)...)
	}
	head := slices.Concat(
		[]byte{0xff, 0xd8},
		segment(0xdb, append([]byte{0}, bytes.Repeat([]byte{1}, 64)...)...),
		segment(0xc2, 8, side>>8, side&0xff, side>>8, side&0xff, 1, 1, 0x11, 0), // progressive, grey
		table(0, 0), table(0x10, 0xe0),
		segment(0xda, 1, 1, 0, 0, 0, 0), make([]byte, side/8*side/8/8), // all blocks grey
	)
	pass := append(segment(0xda, 1, 1, 0, 1, 63, 0x10), 0x7f, 0xfc) // of 16,384 blocks, nothing
	with := func(passes int) []byte { return slices.Concat(head, bytes.Repeat(pass, passes), []byte{0xff, 0xd9}) }
	if _, media, err := Clean(with(mostScans-1), JPEG, side, most); err != nil || media != JPEG {
		t.Errorf("%d passes: %s, %v", mostScans, media, err)
	}
	if _, _, err := Clean(with((most-len(head))/len(pass)), JPEG, side, most); err == nil || !strings.Contains(err.Error(), "passes") {
		t.Errorf("a file full of passes: %v", err)
	}
}

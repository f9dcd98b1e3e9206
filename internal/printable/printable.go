// Package printable keeps what clients choose from doing anything to whoever looks at a log.
package printable

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/rs/zerolog"
)

// JSON returns a line of JSON, as encoding/json or zerolog make one, in which what cannot be
// printed is escaped: those leave DEL, the control characters beyond ASCII, and what turns the
// direction of a text. It is the line itself if there is nothing of that in it.
func JSON(line []byte) []byte {
	at := 0
	for at < len(line) && (line[at] < utf8.RuneSelf && line[at] != 0x7f) {
		at++
	}

	if at == len(line) {
		return line
	}

	out := append(make([]byte, 0, len(line)+32), line[:at]...)

	for at < len(line) {
		r, size := utf8.DecodeRune(line[at:])

		switch {
		case r < 0x20, unicode.IsPrint(r) && (r != utf8.RuneError || size > 1): // JSON has none of the first but the line's end
			out = append(out, line[at:at+size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}

		at += size
	}

	return out
}

// Shorten returns at most the first bytes of a text, and says with dots that there was more.
func Shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}

	return strings.ToValidUTF8(text[:most], "") + "..."
}

// Writer is a zerolog.LevelWriter that applies JSON to each line.
type Writer struct{ io.Writer }

// Write writes a line.
func (w Writer) Write(p []byte) (int, error) { return written(p, w.Writer.Write) }

// WriteLevel tells the level to who wants to know it.
func (w Writer) WriteLevel(level zerolog.Level, p []byte) (int, error) {
	leveled, ok := w.Writer.(zerolog.LevelWriter)
	if !ok {
		return w.Write(p)
	}

	return written(p, func(line []byte) (int, error) { return leveled.WriteLevel(level, line) })
}

// written counts the bytes that came, not those that were made of them.
func written(p []byte, write func([]byte) (int, error)) (int, error) {
	if _, err := write(JSON(p)); err != nil {
		return 0, err
	}

	return len(p), nil
}

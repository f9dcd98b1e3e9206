package local

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"zotregistry.io/zot/pkg/storage"
)

// A journal is lines. Each is a frame, which names the one before it:
//
//	<sum> <sum of the line before> <payload>\n
//
// A sum is half of a SHA-256, in hex, of all that follows it in its line. It finds
// torn writes, as a CRC would; and since it also covers the sum before, it names a
// batch and all that came before it, for which a CRC would be too short.
const (
	sumBytes = 16
	sumLen   = 2 * sumBytes
	frameLen = sumLen + 1 + sumLen + 1 // without payload
)

// noSum stands for the line before the first one.
var noSum = strings.Repeat("0", sumLen)

// The first line of a journal is a frame, too, behind words that stay readable if a
// later version changes what a frame is:
//
//	zot-journal <version> <frame>\n
const (
	journalMagic   = "zot-journal"
	journalVersion = 1
)

// header is the payload of the first line. Its frame names the last batch that
// counts in the journal before.
type header struct {
	Before string `json:"before"` // file name of the journal before, "" = none
}

// frame is a line that is whole.
type frame struct {
	sum     string
	before  string
	payload []byte
}

// newFrame makes the line of a payload, which has no newline in it.
func newFrame(before string, payload []byte) (line []byte, sum string) {
	line = make([]byte, sumLen+1, frameLen+len(payload)+1)
	line[sumLen] = ' '
	line = append(line, before...)
	line = append(line, ' ')
	line = append(line, payload...)
	sum = sumOf(line[sumLen+1:])
	copy(line, sum)

	return append(line, '\n'), sum
}

func sumOf(p []byte) string {
	sum := sha256.Sum256(p)

	return hex.EncodeToString(sum[:sumBytes])
}

// parseFrame reads a line without its newline, and says whether it is whole.
func parseFrame(line []byte) (frame, bool) {
	if len(line) < frameLen || line[sumLen] != ' ' || line[frameLen-1] != ' ' {
		return frame{}, false
	}

	sum := string(line[:sumLen])
	if sum != sumOf(line[sumLen+1:]) {
		return frame{}, false
	}

	return frame{sum: sum, before: string(line[sumLen+1 : frameLen-1]), payload: line[frameLen:]}, true
}

// newHeader makes the first line of a journal that goes on behind a batch.
func newHeader(after place) (line []byte, sum string, err error) {
	payload, err := json.Marshal(header{Before: after.file})
	if err != nil {
		return nil, "", fmt.Errorf("encode journal header: %w", err)
	}

	line, sum = newFrame(after.sum, payload)

	return append([]byte(journalMagic+" "+strconv.Itoa(journalVersion)+" "), line...), sum, nil
}

// parseHeader reads the first line of a journal, and says whether it is whole.
//
// Errors: storage.ErrFormat.
func parseHeader(line []byte) (frame, header, bool, error) {
	rest, ok := bytes.CutPrefix(line, []byte(journalMagic+" "))
	if !ok {
		return frame{}, header{}, false, nil
	}

	word, rest, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		return frame{}, header{}, false, nil
	}

	version, err := strconv.Atoi(string(word))
	if err != nil {
		return frame{}, header{}, false, nil //nolint:nilerr // a line that is not whole is no error
	}

	if version != journalVersion {
		return frame{}, header{}, false, fmt.Errorf("%w: journal version %d, this zot knows %d",
			storage.ErrFormat, version, journalVersion)
	}

	f, ok := parseFrame(rest)
	if !ok {
		return frame{}, header{}, false, nil
	}

	var head header

	err = json.Unmarshal(f.payload, &head)

	return f, head, err == nil, nil
}

package local

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/google/uuid"
)

// noteSuffix is what the name of an upload's note has behind that of the upload.
const noteSuffix = ".note"

// noteFormat is the first line of a note: version, boot, size of the upload when it
// was saved, and a checksum of these and of the note, which follows.
const noteFormat = "zot-note 1 %s %d %s\n"

func noteFile(upload string) string { return upload + noteSuffix }

// processID stands for the boot where the system does not name one: notes then
// count in this process only.
func processID() string { return "process-" + uuid.NewString() }

func (r *Root) writeNote(upload string, size int64, note []byte) error {
	body := append(noteHead(r.boot, size, note), note...)

	temp, err := r.writeTemp(whole(body))
	if err != nil {
		return err
	}

	return r.place(temp, noteFile(upload))
}

func noteHead(boot string, size int64, note []byte) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %s", boot, size, note))

	return fmt.Appendf(nil, noteFormat, boot, size, hex.EncodeToString(sum[:]))
}

// readNote returns the note of an upload that is size bytes long. It is nil if there
// is none, or if the bytes that it speaks of may not be those in the file: after a
// power cut they may be lost, though the file has its length.
func (r *Root) readNote(upload string, size int64) ([]byte, error) {
	body, err := readRegular(noteFile(upload))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}

	if err != nil {
		return nil, err
	}

	note, ok := parseNote(body, r.boot, size)
	if !ok {
		return nil, nil
	}

	return note, nil
}

// parseNote returns the note in body, and says whether it can be trusted.
func parseNote(body []byte, boot string, size int64) ([]byte, bool) {
	head, note, _ := bytes.Cut(body, []byte("\n"))

	var (
		savedBoot, sum string
		saved          int64
	)

	_, err := fmt.Sscanf(string(head)+"\n", noteFormat, &savedBoot, &saved, &sum)
	if err != nil || savedBoot != boot || saved < 0 || saved > size {
		return nil, false
	}

	return note, bytes.HasPrefix(body, noteHead(boot, saved, note))
}

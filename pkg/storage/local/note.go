package local

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/google/uuid"
)

// noteSuffix is what the name of an upload's note has behind that of the upload.
const noteSuffix = ".note"

// noteFormat is the first line of a note: version, boot, size of the upload when it
// was saved, and checksum of the note. The note follows.
const noteFormat = "zot-note 1 %s %d %s\n"

func noteFile(upload string) string { return upload + noteSuffix }

// processID stands for the boot where the system does not name one: notes then
// count in this process only.
func processID() string { return "process-" + uuid.NewString() }

func (r *Root) writeNote(upload string, size int64, note []byte) error {
	body := fmt.Appendf(nil, noteFormat, r.boot, size, noteSum(note))

	temp, err := r.writeTemp(whole(append(body, note...)))
	if err != nil {
		return err
	}

	return r.place(temp, noteFile(upload))
}

func noteSum(note []byte) string {
	sum := sha256.Sum256(note)

	return hex.EncodeToString(sum[:])
}

// readNote returns the note of an upload that is size bytes long. It is nil if there
// is none, or if the bytes that it speaks of may not be those in the file: after a
// power cut they may be lost, though the file has its length.
func (r *Root) readNote(upload string, size int64) ([]byte, error) {
	body, err := os.ReadFile(noteFile(upload))
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

func parseNote(body []byte, boot string, size int64) ([]byte, bool) {
	line, note, found := bytes.Cut(body, []byte("\n"))

	var (
		savedBoot, sum string
		saved          int64
	)

	_, err := fmt.Sscanf(string(line)+"\n", noteFormat, &savedBoot, &saved, &sum)
	ok := found && err == nil && savedBoot == boot && saved >= 0 && saved <= size && sum == noteSum(note)

	return note, ok
}

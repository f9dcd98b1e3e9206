package api

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"

	"golang.org/x/sync/semaphore"

	"zotregistry.io/zot/pkg/storage"
)

// manifestMemory bounds how many bytes of manifests are pushed at once. More wait.
type manifestMemory struct {
	small *semaphore.Weighted // of those that have at most smallManifest bytes
	large *semaphore.Weighted // of those that have more, or do not say how many
	read  *semaphore.Weighted // of those of them that are here whole: to parse one takes ten times its size
}

// Four clients that are slow can hold all memory for large manifests, for as long as they take
// for 8 MiB each. That of small ones, which nearly all are, takes 512 to hold, and for no longer
// than a client may take for 32 KiB.
const (
	smallManifest  = 32 << 10
	smallManifests = 16 << 20
	largeManifests = 32 << 20
	readManifests  = storage.MaxManifest
)

func newManifestMemory() manifestMemory {
	return manifestMemory{
		small: semaphore.NewWeighted(smallManifests), large: semaphore.NewWeighted(largeManifests),
		read: semaphore.NewWeighted(readManifests),
	}
}

// reserve waits for the memory that a body takes; what is too large does not wait.
//
// Errors: errTooLarge.
func (m manifestMemory) reserve(r *http.Request) (release func(), err error) {
	size, memory := r.ContentLength, m.large

	switch {
	case size > storage.MaxManifest:
		return nil, fmt.Errorf("%w: %d bytes, at most %d are taken", errTooLarge, size, storage.MaxManifest)
	case size < 0:
		size = storage.MaxManifest
	case size <= smallManifest:
		memory = m.small
	}

	if err := memory.Acquire(r.Context(), size); err != nil {
		return nil, fmt.Errorf("put manifest: %w", err)
	}

	return func() { memory.Release(size) }, nil
}

// turn waits until a body that was read may be parsed. For that it waits for no client.
func (m manifestMemory) turn(r *http.Request, body []byte) (release func(), err error) {
	size := int64(len(body))
	if size <= smallManifest {
		return func() {}, nil
	}

	if err := m.read.Acquire(r.Context(), size); err != nil {
		return nil, fmt.Errorf("put manifest: %w", err)
	}

	return func() { m.read.Release(size) }, nil
}

// readManifest reads a body of at most storage.MaxManifest bytes, for which memory is reserved.
//
// Errors: errTooLarge, *bodyError.
func readManifest(r *http.Request) ([]byte, error) {
	data := make([]byte, cmp.Or(max(r.ContentLength, 0), smallManifest))

	n, err := io.ReadFull(r.Body, data)
	if err == nil && r.ContentLength < 0 { // it may go on: no buffer grows by being copied
		data = append(make([]byte, 0, storage.MaxManifest+1), data...)[:storage.MaxManifest+1]

		var more int

		more, err = io.ReadFull(r.Body, data[n:])
		n += more
	}

	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && !as[*bodyError](err) {
		err = nil // the body's own end; one that is cut off is a *bodyError
	}

	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}

	if n > storage.MaxManifest {
		return nil, fmt.Errorf("%w: at most %d bytes are taken", errTooLarge, storage.MaxManifest)
	}

	return data[:n], nil
}

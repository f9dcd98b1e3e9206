package api

import (
	"fmt"
	"net/http"

	"golang.org/x/sync/semaphore"

	"zotregistry.io/zot/pkg/storage"
)

// manifestMemory bounds how many bytes of manifests are pushed at once. More wait.
type manifestMemory struct {
	small *semaphore.Weighted // of those that have at most smallManifest bytes
	large *semaphore.Weighted // of those that have more, or do not say how many
}

// Eight clients that are slow can hold all memory for large manifests, for as long as they take
// for 8 MiB each. That of small ones, which nearly all are, takes 512 to hold, and for no longer
// than a client may take for 32 KiB.
const (
	smallManifest  = 32 << 10
	smallManifests = 16 << 20
	largeManifests = 64 << 20
)

func newManifestMemory() manifestMemory {
	return manifestMemory{small: semaphore.NewWeighted(smallManifests), large: semaphore.NewWeighted(largeManifests)}
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

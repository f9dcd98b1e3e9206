package storage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// marks are the places in a bucket whose bytes are damaged, as checks of any replica have
// found: an empty object each, which all replicas list from time to time.
type marks struct {
	mu    sync.RWMutex // guards spots
	spots map[digest.Digest][]spot
}

// spot is a place of a repository, or one that all share.
type spot struct {
	repo  RepoName // "" = all
	place string
}

// marksEvery is how often replicas look which blobs others have marked.
const marksEvery = 10 * time.Second

func markKey(dgst digest.Digest, at spot) string {
	key := damagedPrefix + dgst.Algorithm().String() + "/" + dgst.Encoded() + "/"
	if at.repo != "" {
		key += strings.ReplaceAll(string(at.repo), "/", ":") + "/"
	}

	return key + at.place
}

func splitMarkKey(key string) (dgst digest.Digest, at spot, ok bool) {
	parts := strings.Split(strings.TrimPrefix(key, damagedPrefix), "/")
	if len(parts) < 3 || len(parts) > 4 {
		return "", spot{}, false
	}

	if at.place = parts[len(parts)-1]; len(parts) == 4 {
		at.repo = RepoName(strings.ReplaceAll(parts[2], ":", "/"))
	}

	dgst, err := ParseDigest(parts[0] + ":" + parts[1])

	return dgst, at, err == nil
}

// of returns what is marked of a digest for a repository.
func (m *marks) of(repo RepoName, dgst digest.Digest) []spot {
	m.mu.RLock()
	defer m.mu.RUnlock()

	if len(m.spots) == 0 { // nearly always
		return nil
	}

	return slices.DeleteFunc(slices.Clone(m.spots[dgst]), func(s spot) bool { return s.repo != "" && s.repo != repo })
}

func (m *marks) has(dgst digest.Digest, at spot) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()

	return slices.Contains(m.spots[dgst], at)
}

func (m *marks) add(dgst digest.Digest, at spot) {
	m.mu.Lock()
	defer m.mu.Unlock()

	if m.spots == nil {
		m.spots = map[digest.Digest][]spot{}
	}

	m.spots[dgst] = append(slices.Clone(m.spots[dgst]), at)
}

func (m *marks) remove(dgst digest.Digest, at spot) {
	m.mu.Lock()
	defer m.mu.Unlock()

	m.spots[dgst] = slices.DeleteFunc(slices.Clone(m.spots[dgst]), func(s spot) bool { return s == at })
	if len(m.spots[dgst]) == 0 {
		delete(m.spots, dgst)
	}
}

func (m *marks) replace(spots map[digest.Digest][]spot) {
	m.mu.Lock()
	defer m.mu.Unlock()

	m.spots = spots
}

// readMarks reads what all replicas have marked.
func (d *durability) readMarks(ctx context.Context) error {
	spots := map[digest.Digest][]spot{}

	for info, err := range d.driver.List(ctx, damagedPrefix, "") {
		if err != nil {
			return fmt.Errorf("list damaged blobs: %w", err)
		}

		if dgst, at, ok := splitMarkKey(info.Key); ok {
			spots[dgst] = append(spots[dgst], at)
		}
	}

	d.marks.replace(spots)

	return nil
}

// keepMarks looks for what other replicas have marked.
func (s *Store) keepMarks(ctx context.Context) {
	every(ctx, marksEvery, func() { s.report("look for damaged blobs", s.durability.readMarks(ctx)) })
}

// mark has all replicas serve a place no more.
func (d *durability) mark(ctx context.Context, dgst digest.Digest, at spot) error {
	if d.marks.has(dgst, at) {
		return nil
	}

	d.marks.add(dgst, at)
	d.log.Error().Str("blob", dgst.String()).Str("place", at.place).Msg("blob is damaged; a push of the same digest heals it")

	if _, err := d.driver.Put(ctx, markKey(dgst, at), nil); err != nil {
		return fmt.Errorf("mark %s as damaged: %w", dgst, err)
	}

	return nil
}

// unmark says that a place has the right bytes.
func (d *durability) unmark(ctx context.Context, dgst digest.Digest, at spot) error {
	if !d.marks.has(dgst, at) {
		return nil
	}

	if err := d.driver.Delete(ctx, markKey(dgst, at)); err != nil {
		return fmt.Errorf("forget that %s was damaged: %w", dgst, err)
	}

	d.marks.remove(dgst, at)

	return nil
}

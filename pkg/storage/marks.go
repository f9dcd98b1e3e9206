package storage

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// marks are the places in a bucket whose bytes are damaged, as checks of any replica have
// found: an empty object each, which all replicas list from time to time.
type marks struct {
	mu      sync.RWMutex // guards what follows
	spots   map[digest.Digest][]spot
	changed []markChange // since the last listing of them began
	putting []markChange // marks whose objects are being written: a listing may not see them
}

// markChange is that a mark came or went.
type markChange struct {
	digest digest.Digest
	at     spot
	marked bool
}

// spot is a place of a repository, or one that all share.
type spot struct {
	repo  RepoName // "" = all
	place string
}

// key is the engine's key of a place. Any repository's leads to those that are shared.
func (at spot) key(dgst digest.Digest) string {
	return placedKey(cmp.Or(at.repo, "any"), dgst, at.place)
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

// hit says whether a place of a blob is marked; "" = any.
func (m *marks) hit(key, place string) bool {
	m.mu.RLock()
	none := len(m.spots) == 0
	m.mu.RUnlock()

	if none {
		return false
	}

	repo, dgst, ok := SplitBlobKey(key)

	return ok && slices.ContainsFunc(m.of(repo, dgst), func(s spot) bool { return place == "" || s.place == place })
}

func (m *marks) has(dgst digest.Digest, at spot) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()

	return slices.Contains(m.spots[dgst], at)
}

// all returns a copy.
func (m *marks) all() map[digest.Digest][]spot {
	m.mu.RLock()
	defer m.mu.RUnlock()

	return maps.Clone(m.spots)
}

// add adds a mark whose object is about to be written.
func (m *marks) add(dgst digest.Digest, at spot) {
	m.mu.Lock()
	defer m.mu.Unlock()

	c := markChange{dgst, at, true}
	m.putting = append(m.putting, c)
	m.change(c)
}

// written says that the object of a mark was written, or could not be.
func (m *marks) written(dgst digest.Digest, at spot) {
	m.mu.Lock()
	defer m.mu.Unlock()

	m.putting = slices.DeleteFunc(m.putting, func(c markChange) bool { return c.digest == dgst && c.at == at })
}

func (m *marks) remove(dgst digest.Digest, at spot) {
	m.written(dgst, at)

	m.mu.Lock()
	defer m.mu.Unlock()

	m.change(markChange{dgst, at, false})
}

func (m *marks) change(c markChange) {
	m.changed = append(m.changed, c)
	m.apply(c)
}

func (m *marks) apply(c markChange) {
	if m.spots == nil {
		m.spots = map[digest.Digest][]spot{}
	}

	spots := slices.DeleteFunc(slices.Clone(m.spots[c.digest]), func(s spot) bool { return s == c.at })
	if c.marked {
		spots = append(spots, c.at)
	}

	if m.spots[c.digest] = spots; len(spots) == 0 {
		delete(m.spots, c.digest)
	}
}

// listing says that a listing begins, which may not see what changes from now on.
func (m *marks) listing() {
	m.mu.Lock()
	defer m.mu.Unlock()

	m.changed = slices.Clone(m.putting)
}

// replace takes a listing.
func (m *marks) replace(spots map[digest.Digest][]spot) {
	m.mu.Lock()
	defer m.mu.Unlock()

	m.spots = spots

	for _, c := range m.changed {
		m.apply(c)
	}
}

// readMarks reads what all replicas have marked.
func (d *durability) readMarks(ctx context.Context) error {
	spots := map[digest.Digest][]spot{}

	d.marks.listing()

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

	_, err := d.driver.Put(ctx, markKey(dgst, at), nil)
	d.marks.written(dgst, at)

	if err != nil {
		return fmt.Errorf("mark %s as damaged: %w", dgst, err)
	}

	if !d.marks.has(dgst, at) { // it was healed meanwhile
		return d.unmark(ctx, dgst, at)
	}

	return nil
}

// unmark says that a place has the right bytes.
func (d *durability) unmark(ctx context.Context, dgst digest.Digest, at spot) error {
	if err := d.driver.Delete(ctx, markKey(dgst, at)); err != nil {
		return fmt.Errorf("forget that %s was damaged: %w", dgst, err)
	}

	d.marks.remove(dgst, at)

	return nil
}

// unmarkGone forgets the marks of a digest that nobody holds, where nothing is any more.
func (d *durability) unmarkGone(ctx context.Context, dgst digest.Digest) error {
	for _, at := range d.marks.all()[dgst] {
		if gone, err := d.isGone(ctx, dgst, at); err != nil {
			return err
		} else if gone {
			if err := d.unmark(ctx, dgst, at); err != nil {
				return err
			}
		}
	}

	return nil
}

// isGone says whether nothing is at a place.
func (d *durability) isGone(ctx context.Context, dgst digest.Digest, at spot) (bool, error) {
	_, err := d.driver.Stat(ctx, at.key(dgst))
	if err != nil && !isNotExist(err) {
		return false, fmt.Errorf("look at a damaged blob: %w", err)
	}

	return err != nil, nil
}

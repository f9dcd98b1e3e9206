package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// repoCopy copies one repository: first what is missing of blobs and manifests, children
// before the indexes that name them, then the tags.
type repoCopy struct {
	*transfer

	from, to *Store
	src, dst *repository

	st *state // of the source, at one moment

	mu     sync.Mutex
	there  map[digest.Digest]bool  // blobs that the target has
	failed map[digest.Digest]error // why a blob or manifest cannot be read
}

// maxTakes is how often the state of the source is taken again because some of what it names
// has gone meanwhile.
const maxTakes = 5

func (c *repoCopy) run(ctx context.Context) error {
	for range maxTakes {
		c.st = c.src.visible.Load()
		c.there, c.failed = map[digest.Digest]bool{}, map[digest.Digest]error{}

		if err := c.copyManifests(ctx); err != nil {
			return err
		}

		if len(c.failed) == 0 {
			break
		}

		if err := c.src.look(ctx, c.from.repos.now()); err != nil {
			return err
		}

		if !c.isGone(c.src.visible.Load()) {
			break
		}
	}

	if err := c.copyTags(ctx); err != nil {
		return err
	}

	return c.failure()
}

// isGone says whether something that cannot be copied is not wanted any more.
func (c *repoCopy) isGone(now *state) bool {
	for dgst := range c.failed {
		if !now.inUse(dgst) {
			return true
		}
	}

	return false
}

// failure says what could not be copied.
func (c *repoCopy) failure() error {
	failed := make([]error, 0, len(c.failed))
	for _, err := range c.failed {
		failed = append(failed, err)
	}

	return errors.Join(failed...)
}

// A batch of manifests is one commit. It names at most so many blobs and manifests, or is a
// single manifest.
const copyBatch = 500

// copyManifests copies all manifests, and before each what it names.
//
// Errors: those of the target. What the source cannot give is noted.
func (c *repoCopy) copyManifests(ctx context.Context) error {
	for _, level := range c.levels() {
		for len(level) > 0 {
			n, named := 0, 0
			for n < len(level) && (n == 0 || named+level[n].count() <= copyBatch) {
				named += level[n].count()
				n++
			}

			if err := c.copyBatch(ctx, level[:n]); err != nil {
				return err
			}

			level = level[n:]
		}
	}

	return nil
}

// count is how many digests a manifest names, with its own.
func (m *ManifestRecord) count() int { return 1 + len(m.Blobs) + len(m.Manifests) }

// levels are the manifests of the source: first those that name no others, then those that
// name only such, and so on.
func (c *repoCopy) levels() [][]*ManifestRecord {
	var (
		levels  [][]*ManifestRecord
		levelOf = map[digest.Digest]int{} // + 1
		visit   func(dgst digest.Digest) int
	)

	visit = func(dgst digest.Digest) int {
		record, ok := c.st.manifests.Get(dgst)
		if !ok || levelOf[dgst] > 0 {
			return levelOf[dgst]
		}

		level := 0
		for _, child := range record.Manifests {
			level = max(level, visit(child.Digest))
		}

		if level == len(levels) {
			levels = append(levels, nil)
		}

		levels[level] = append(levels[level], record)
		levelOf[dgst] = level + 1

		return level + 1
	}

	for _, dgst := range c.st.manifests.Keys() {
		visit(dgst)
	}

	return levels
}

// copyBatch copies manifests whose children the target has.
func (c *repoCopy) copyBatch(ctx context.Context, batch []*ManifestRecord) error {
	if err := c.copyBlobs(ctx, batch); err != nil {
		return err
	}

	var puts []*copiedManifest

	for _, m := range batch {
		if c.isWhole(ctx, m) {
			continue
		}

		put, err := c.prepare(ctx, m)
		if err != nil {
			c.fail(m.Digest, err)

			continue
		}

		puts = append(puts, put)
	}

	return c.put(ctx, puts)
}

// isWhole says whether the target has a manifest as the source has it.
func (c *repoCopy) isWhole(ctx context.Context, m *ManifestRecord) bool {
	had, ok := c.dst.visible.Load().manifests.Get(m.Digest)
	if !ok || c.opts.Exact && (!had.Pushed.Equal(m.Pushed) || had.Who != m.Who) {
		return false
	}

	_, err := c.to.stat(ctx, c.dst, m.Digest)

	return err == nil
}

// copyBlobs copies the blobs that manifests name.
func (c *repoCopy) copyBlobs(ctx context.Context, batch []*ManifestRecord) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(copyBlobsAtOnce)

	for _, m := range batch {
		for _, blob := range m.Blobs {
			if c.there[blob.Digest] {
				continue
			}

			c.there[blob.Digest] = true

			group.Go(func() error { return c.copyBlob(ctx, blob.Digest) })
		}
	}

	return group.Wait()
}

// copyBlob copies a blob, unless the target has it. One that nobody has ever seen, which a
// sparse store allows, is copied if it came later.
func (c *repoCopy) copyBlob(ctx context.Context, dgst digest.Digest) error {
	size, at, known := c.st.lookup(dgst)

	if info, err := c.to.stat(ctx, c.dst, dgst); err == nil && (!known || info.Size == size) {
		return nil
	}

	if !known {
		info, err := c.from.stat(ctx, c.src, dgst)
		if err != nil {
			return nil //nolint:nilerr // the source does not have it either
		}

		size, at = info.Size, placeOf(BlobKey(c.src.name, dgst), info.Key)
	}

	if c.share(ctx, dgst) {
		c.note(func(done *Copied) { done.Shared++ })

		return nil
	}

	err := c.send(ctx, dgst, size, at)

	var unreadable *sourceError
	if errors.As(err, &unreadable) {
		c.fail(dgst, err)

		return nil
	}

	if err == nil {
		c.note(func(done *Copied) { done.Blobs++ })
	}

	return err
}

// share has the target take a blob from another repository of its own.
func (c *repoCopy) share(ctx context.Context, dgst digest.Digest) bool {
	for _, other := range c.to.FindBlob(ctx, c.dst.name, dgst) {
		if other != c.dst.name && c.to.MountBlob(ctx, c.dst.name, dgst, other, c.opts.Who) == nil {
			return true
		}
	}

	return false
}

// sourceError is what the source cannot give.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// send pushes the bytes of a blob to the target, which verifies them.
//
// Errors: *sourceError if it is the source that has not got them.
func (c *repoCopy) send(ctx context.Context, dgst digest.Digest, size int64, at string) (err error) {
	object, err := c.from.driver.Open(ctx, placedKey(c.src.name, dgst, at), Whole)
	if err != nil {
		return &sourceError{unreadable(dgst, err)}
	}
	defer func() { err = errors.Join(err, object.Close()) }()

	if object.Size != size {
		return &sourceError{fmt.Errorf("%w: blob %s is %d bytes long, not %d", ErrDamaged, dgst, object.Size, size)}
	}

	status, err := c.to.StartUpload(ctx, c.dst.name, dgst.Algorithm())
	if err != nil {
		return err
	}

	body := &copiedBody{from: object.Body, of: c.transfer}

	_, err = c.to.FinishUpload(ctx, c.dst.name, status.ID, Chunk{Body: body, Length: size}, dgst, c.opts.Who)
	if err == nil {
		return nil
	}

	if body.err != nil || errors.Is(err, ErrDigestMismatch) || errors.Is(err, ErrSize) {
		err = &sourceError{fmt.Errorf("%w: blob %s: %w", ErrDamaged, dgst, errors.Join(err, body.err))}
	}

	cancel := c.to.CancelUpload(context.WithoutCancel(ctx), c.dst.name, status.ID)
	if errors.Is(cancel, ErrUploadUnknown) { // it is over
		cancel = nil
	}

	return errors.Join(err, cancel)
}

// unreadable says of an error that something is missing that has to be there.
func unreadable(dgst digest.Digest, err error) error {
	if isNotExist(err) {
		return fmt.Errorf("%w: %s is missing", ErrDamaged, dgst)
	}

	return fmt.Errorf("read %s: %w", dgst, err)
}

// copiedBody counts the bytes that pass, and remembers why no more came.
type copiedBody struct {
	from io.Reader
	of   *transfer
	err  error
}

func (b *copiedBody) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if n > 0 {
		b.of.note(func(done *Copied) { done.Bytes += int64(n) })
	}

	if err != nil && err != io.EOF {
		b.err = err
	}

	return n, err
}

// fail notes that something cannot be copied.
func (c *repoCopy) fail(dgst digest.Digest, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.failed[dgst] = err
}

// lacks returns what keeps a manifest from being copied: that it names something that
// cannot be.
func (c *repoCopy) lacks(m *ManifestRecord) error {
	c.mu.Lock()
	defer c.mu.Unlock()

	for dgst := range m.names() {
		if err := c.failed[dgst]; err != nil {
			return fmt.Errorf("%w: manifest %s lacks %s", ErrDamaged, m.Digest, dgst)
		}
	}

	return nil
}

// stays says whether a manifest is one that cannot be copied.
func (c *repoCopy) stays(dgst digest.Digest) bool {
	return c.failed[dgst] != nil
}

// copiedManifest is a manifest about to be put into the target.
type copiedManifest struct {
	source *ManifestRecord
	record *ManifestRecord // what the target is to know of it
	body   []byte
	kept   bool   // the target had its bytes
	wrote  uint64 // the number of the state when they were written

	checked *ManifestRecord // record, with what was found in the target
}

// prepare reads a manifest.
func (c *repoCopy) prepare(ctx context.Context, m *ManifestRecord) (*copiedManifest, error) {
	if err := c.lacks(m); err != nil {
		return nil, err
	}

	body, err := readObject(ctx, c.from.driver, placedKey(c.src.name, m.Digest, m.At), MaxManifest)
	if err != nil {
		return nil, unreadable(m.Digest, err)
	}

	if got := m.Digest.Algorithm().FromBytes(body); got != m.Digest {
		return nil, fmt.Errorf("%w: the content of manifest %s is %s", ErrDamaged, m.Digest, got)
	}

	record, err := parseManifest(body, m.Digest, m.MediaType)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", m.Digest, err)
	}

	// What the source lives without, the target does, too.
	allow := func(refs, had []Ref) {
		for i := range refs {
			refs[i].elsewhere = refs[i].elsewhere || slices.ContainsFunc(had, func(ref Ref) bool {
				return ref.Digest == refs[i].Digest && ref.Size < 0
			})
		}
	}
	allow(record.Blobs, m.Blobs)
	allow(record.Manifests, m.Manifests)

	record.Extra, record.Loose = m.Extra, m.Loose

	return &copiedManifest{source: m, record: record, body: body}, nil
}

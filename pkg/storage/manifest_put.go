package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/internal/printable"
)

// PutManifest implements Manifests.
//
// The bytes of all that the manifest names are on disk before its record is written:
// one flush is shared by all commits under way for the bytes, and one for the
// records. In a single flush the kernel may persist the record first.
func (s *Store) PutManifest(ctx context.Context, put ManifestPut) (Descriptor, error) {
	parsed, err := checkPut(&put)
	if err != nil {
		return Descriptor{}, err
	}

	if err := s.quotas.ready(ctx, put.Repo); err != nil {
		return Descriptor{}, err
	}

	err = s.repos.known(ctx, put.Repo, func(r *repository) error {
		record := parsed.clone() // each look finds its own sizes and places
		names := slices.Collect(record.names())
		pins := s.pin(r, names...)

		err := s.putManifest(ctx, r, record, &put)

		pins.end(afterPut(err, names, r.visible.Load()))

		return err
	})

	return parsed.descriptor(), err
}

// afterPut says what becomes of the leases of what a push has named, the manifest first.
func afterPut(err error, names []digest.Digest, st *state) func(n int) after {
	gone := map[digest.Digest]bool{}

	var missing *MissingError
	if errors.As(err, &missing) {
		for _, dgst := range missing.Digests {
			gone[dgst] = true
		}
	}

	return func(n int) after {
		switch {
		case err != nil && (n == 0 || gone[names[n]]):
			return afterGone
		case err == nil && st.holds(names[n]):
			return afterHeld
		}

		return afterThere
	}
}

// putManifest is called with all pinned that the record names.
func (s *Store) putManifest(ctx context.Context, r *repository, record *ManifestRecord, put *ManifestPut) error {
	if err := s.checkNamed(ctx, r, record); err != nil {
		return err
	}

	wrote := r.visible.Load().seq

	kept, err := s.writeManifest(ctx, r, record, put.Body)
	if err != nil {
		return err
	}

	if err := s.durability.settle(ctx); err != nil {
		return err
	}

	return r.commitBounded(put.Who, func(pending *state) ([]Op, error) {
		if err := s.recheckOwn(pending, record, kept, wrote); err != nil {
			return nil, err
		}

		return s.decidePut(r, pending, record, put)
	})
}

// clone copies what a look at what is named fills in.
func (m *ManifestRecord) clone() *ManifestRecord {
	next := *m
	next.Blobs, next.Manifests = slices.Clone(m.Blobs), slices.Clone(m.Manifests)

	return &next
}

// checkPut parses the manifest and completes put.
func checkPut(put *ManifestPut) (*ManifestRecord, error) {
	if len(put.Body) > MaxManifest {
		return nil, &ManifestError{Reason: fmt.Sprintf("it is longer than %d bytes", MaxManifest)}
	}

	alg := digest.Canonical
	if put.Digest != "" {
		alg = put.Digest.Algorithm()
	}

	got := alg.FromBytes(put.Body)
	if put.Digest == "" {
		put.Digest = got
	}

	if got != put.Digest {
		return nil, fmt.Errorf("%w: the content is %s, not %s", ErrDigestMismatch, got, put.Digest)
	}

	record, err := parsePushed(put.Body, put.Digest, put.MediaType)

	var invalid *ManifestError
	if errors.As(err, &invalid) {
		return nil, &ManifestError{Field: invalid.Field, Reason: printable.Shorten(invalid.Reason, maxReason)}
	}

	return record, err
}

// maxReason bounds what a client is told of a manifest, in bytes: it may repeat a part of it.
const maxReason = 300

// mostMissing is after how many blobs that are not there no other is looked for: each may be a
// request, and a manifest has room for tens of thousands.
const mostMissing = 100

// checkNamed says whether r holds all that the manifest names, with the sizes that it
// says. Sizes of what is not there, where that is allowed, count for nothing.
//
// Errors: *MissingError, *ManifestError.
func (s *Store) checkNamed(ctx context.Context, r *repository, record *ManifestRecord) error {
	var (
		st     = r.visible.Load()
		absent atomic.Int64
	)

	err := s.each(len(record.Blobs), func(i int) error {
		named := &record.Blobs[i]
		if absent.Load() >= mostMissing && !s.opts.Sparse {
			return nil
		}

		err := s.checkRef(ctx, r, named)
		if named.Size < 0 && !named.elsewhere {
			absent.Add(1)
		}

		return err
	})
	if err != nil {
		return err
	}

	err = s.each(len(record.Manifests), func(i int) error {
		child := &record.Manifests[i]
		if _, ok := st.manifests.Get(child.Digest); !ok {
			child.Size = -1

			return nil
		}

		return s.checkRef(ctx, r, child)
	})
	if err != nil {
		return err
	}

	missing := &MissingError{}

	for _, named := range slices.Concat(record.Blobs, record.Manifests) {
		if named.Size < 0 && !named.elsewhere {
			missing.Digests = append(missing.Digests, named.Digest)
		}
	}

	if len(missing.Digests) > 0 && !s.opts.Sparse {
		return missing
	}

	return nil
}

// lookupsAtOnce is how many requests one manifest may have under way at once.
const lookupsAtOnce = 8

// each calls work with 0 to n-1, concurrently where it waits for a network.
func (s *Store) each(n int, work func(i int) error) error {
	var group errgroup.Group

	group.SetLimit(lookupsAtOnce)

	for i := range n {
		if s.remote && n > 1 {
			group.Go(func() error { return work(i) })
		} else if err := work(i); err != nil {
			return err
		}
	}

	return group.Wait()
}

// checkRef says where named is and whether it has the size that the manifest says; -1
// is set if it is not there.
func (s *Store) checkRef(ctx context.Context, r *repository, named *Ref) error {
	st := r.visible.Load() // before it is looked at
	named.seen = st.seq
	named.hidden, _ = st.hidden.Get(named.Digest)

	info, err := s.stat(ctx, r, named.Digest)
	if err == nil && info.Size != named.Size {
		err = s.verify(ctx, r, named.Digest) // which of the two is wrong?
	}

	switch {
	case errors.Is(err, ErrBlobUnknown) || errors.Is(err, ErrDamaged):
		named.Size = -1

		return nil
	case err != nil:
		return err
	case info.Size != named.Size:
		return &ManifestError{Reason: fmt.Sprintf(
			"it says that %s is %d bytes long, but it is %d", named.Digest, named.Size, info.Size)}
	}

	named.At = placeOf(BlobKey(r.name, named.Digest), info.Key)

	return nil
}

// writeManifest brings the manifest's bytes to their key. What is there already is
// compared, not trusted: pushing a manifest again heals it. kept says that it was there:
// in a bucket it stays as long as the state names it there.
func (s *Store) writeManifest(ctx context.Context, r *repository, record *ManifestRecord, body []byte) (kept bool, err error) {
	key := BlobKey(r.name, record.Digest)

	if !s.remote { // a check may be putting aside what was there
		defer s.placing.lock(record.Digest)()
	}

	if at, ok := s.hasManifest(ctx, r, record, body); ok {
		record.At = at

		return true, nil
	}

	begun := s.durability.writing(key)

	placed, err := s.driver.Put(ctx, key, body)
	if err != nil {
		return false, fmt.Errorf("write manifest %s: %w", record.Digest, err)
	}

	record.At = placeOf(key, placed)
	s.bodies.put(record.Digest, body)

	return false, s.durability.wrote(ctx, key, begun)
}

// hasManifest says whether the bytes of a manifest are in their place, and where that
// is. In a bucket only what the state names is looked at: nothing else is sure to stay.
func (s *Store) hasManifest(ctx context.Context, r *repository, record *ManifestRecord, body []byte) (at string, ok bool) {
	if s.remote {
		had, known := r.visible.Load().manifests.Get(record.Digest)
		if !known {
			return "", false
		}

		there, err := s.readKept(ctx, r, had.Digest)
		if err != nil || !bytes.Equal(there, body) {
			return "", false
		}

		info, err := s.driver.Stat(ctx, placedKey(r.name, had.Digest, had.At)) // memory has it longer than the bucket, perhaps

		return had.At, err == nil && info.Size == had.Size
	}

	key := BlobKey(r.name, record.Digest)
	if !s.holds(ctx, key, record.Size) {
		return "", false
	}

	there, err := readObject(ctx, s.driver, key, MaxManifest)

	return "", err == nil && bytes.Equal(there, body)
}

// decidePut decides a push against the pending state: meanwhile a blob may have been
// deleted, or a tag moved.
func (s *Store) decidePut(r *repository, pending *state, record *ManifestRecord, put *ManifestPut) ([]Op, error) {
	for _, tag := range put.Tags {
		if err := put.If.allow(pending, tag, record.Digest); err != nil {
			return nil, err
		}

		if err := put.If.check(pending, tag); err != nil {
			return nil, err
		}
	}

	if err := s.recheckNamed(r, pending, record); err != nil {
		return nil, err
	}

	ops := []Op{{Kind: OpPutManifest, Manifest: record}}
	for _, tag := range put.Tags {
		ops = append(ops, Op{Kind: OpSetTag, Tag: tag, Digest: record.Digest})
	}

	return ops, nil
}

// recheckOwn says whether the bytes of a manifest are still where writeManifest has found them
// (kept), or has put them, by a state of number wrote.
//
// Errors: *MissingError, so that the caller looks again.
func (s *Store) recheckOwn(pending *state, record *ManifestRecord, kept bool, wrote uint64) error {
	now, _ := pending.manifests.Get(record.Digest)
	moved := kept && s.remote && (now == nil || now.At != record.At)

	if moved || !kept && pending.sweptSince(record.Digest, wrote) {
		return &MissingError{Digests: []digest.Digest{record.Digest}}
	}

	return nil
}

// recheckNamed says whether what checkNamed has seen is still there.
func (s *Store) recheckNamed(r *repository, pending *state, record *ManifestRecord) error {
	if s.durability.isDamaged(placedKey(r.name, record.Digest, record.At)) {
		return fmt.Errorf("%w: manifest %s", ErrDamaged, record.Digest)
	}

	missing := &MissingError{}

	for _, blob := range record.Blobs {
		gone := pending.hiddenSince(blob) || pending.sweptSince(blob.Digest, blob.seen)
		if blob.Size >= 0 && (gone || s.durability.isDamaged(placedKey(r.name, blob.Digest, blob.At))) {
			missing.Digests = append(missing.Digests, blob.Digest)
		}
	}

	for _, child := range record.Manifests {
		if _, ok := pending.manifests.Get(child.Digest); child.Size >= 0 && !ok {
			missing.Digests = append(missing.Digests, child.Digest)
		}
	}

	if len(missing.Digests) > 0 {
		return missing
	}

	return nil
}

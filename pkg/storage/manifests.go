package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
)

// StatManifest implements Manifests.
func (s *Store) StatManifest(ctx context.Context, repo RepoName, ref Reference) (Descriptor, error) {
	var found Descriptor

	err := s.repos.with(ctx, repo, func(r *repository) error {
		record, err := r.visible.Load().resolve(ref)
		if err != nil {
			return err
		}

		found = record.descriptor()
		_, err = s.stat(ctx, r, record.Digest)

		return manifestError(ref, err)
	})

	return found, err
}

// GetManifest implements Manifests.
func (s *Store) GetManifest(ctx context.Context, repo RepoName, ref Reference) (Manifest, error) {
	var found Manifest

	err := s.repos.with(ctx, repo, func(r *repository) error {
		record, err := r.visible.Load().resolve(ref)
		if err != nil {
			return err
		}

		found.Descriptor = record.descriptor()
		found.Body, err = s.readManifest(ctx, r, record)

		return manifestError(ref, err)
	})

	return found, err
}

// manifestError says what it means that the bytes of a manifest that was committed
// cannot be read.
func manifestError(ref Reference, err error) error {
	if errors.Is(err, ErrBlobUnknown) {
		return fmt.Errorf("%w: the bytes of manifest %s are missing", ErrDamaged, ref)
	}

	return err
}

func (s *Store) readManifest(ctx context.Context, r *repository, record *ManifestRecord) (body []byte, err error) {
	object, err := s.open(ctx, r, record.Digest, Whole)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, object.Close()) }()

	var buf bytes.Buffer

	buf.Grow(int(object.Size) + bytes.MinRead) // so that ReadFrom need not grow it to see the end

	if _, err := buf.ReadFrom(object.Body); err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", record.Digest, err)
	}

	return buf.Bytes(), nil
}

func (m *ManifestRecord) descriptor() Descriptor {
	return Descriptor{
		MediaType: m.MediaType, Digest: m.Digest, Size: m.Size, ArtifactType: m.ArtifactType, Subject: m.Subject,
	}
}

// PutManifest implements Manifests.
//
// The bytes of all that the manifest names are on disk before its record is written:
// one flush is shared by all commits under way for the bytes, and one for the
// records. In a single flush the kernel may persist the record first.
func (s *Store) PutManifest(ctx context.Context, put ManifestPut) (Descriptor, error) {
	record, err := checkPut(&put)
	if err != nil {
		return Descriptor{}, err
	}

	err = s.repos.with(ctx, put.Repo, func(r *repository) error {
		if err := s.checkNamed(ctx, r, record); err != nil {
			return err
		}

		if err := s.writeManifest(ctx, r, record, put.Body); err != nil {
			return err
		}

		if err := s.durability.settle(ctx); err != nil {
			return err
		}

		return r.commit(put.Who, func(pending *state) ([]Op, error) {
			return s.decidePut(r, pending, record, &put)
		})
	})

	return record.descriptor(), err
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

	return parseManifest(put.Body, put.Digest, put.MediaType)
}

// checkNamed says whether r holds all that the manifest names, with the sizes that it
// says. Sizes of what is not there, where that is allowed, count for nothing.
//
// Errors: *MissingError, *ManifestError.
func (s *Store) checkNamed(ctx context.Context, r *repository, record *ManifestRecord) error {
	missing := &MissingError{}

	for i := range record.Blobs {
		if err := s.checkRef(ctx, r, &record.Blobs[i], missing); err != nil {
			return err
		}
	}

	st := r.visible.Load()

	for i := range record.Manifests {
		child := &record.Manifests[i]
		if _, ok := st.manifests.Get(child.Digest); !ok {
			missing.Digests = append(missing.Digests, child.Digest)
			child.Size = -1

			continue
		}

		if err := s.checkRef(ctx, r, child, missing); err != nil {
			return err
		}
	}

	if len(missing.Digests) > 0 && !s.opts.Sparse {
		return missing
	}

	return nil
}

func (s *Store) checkRef(ctx context.Context, r *repository, named *Ref, missing *MissingError) error {
	size, err := s.stat(ctx, r, named.Digest)
	if err == nil && size != named.Size {
		err = s.verify(ctx, r, named.Digest) // which of the two is wrong?
	}

	switch {
	case errors.Is(err, ErrBlobUnknown) || errors.Is(err, ErrDamaged):
		named.Size = -1
		if !named.elsewhere {
			missing.Digests = append(missing.Digests, named.Digest)
		}

		return nil
	case err != nil:
		return err
	case size != named.Size:
		return &ManifestError{Reason: fmt.Sprintf(
			"it says that %s is %d bytes long, but it is %d", named.Digest, named.Size, size)}
	}

	return nil
}

// writeManifest brings the manifest's bytes to their key. What is there already is
// compared, not trusted: pushing a manifest again heals it.
func (s *Store) writeManifest(ctx context.Context, r *repository, record *ManifestRecord, body []byte) error {
	key := BlobKey(r.name, record.Digest)

	if s.holds(ctx, key, record.Size) {
		there, err := readObject(ctx, s.driver, key, MaxManifest)
		if err == nil && bytes.Equal(there, body) {
			return nil
		}
	}

	begun := s.durability.writing(key)
	if err := s.driver.Put(ctx, key, body); err != nil {
		return fmt.Errorf("write manifest %s: %w", record.Digest, err)
	}

	return s.durability.wrote(ctx, key, begun)
}

// decidePut decides a push against the pending state: meanwhile a blob may have been
// deleted, or a tag moved.
func (s *Store) decidePut(r *repository, pending *state, record *ManifestRecord, put *ManifestPut) ([]Op, error) {
	for _, tag := range put.Tags {
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

// recheckNamed says whether what checkNamed has seen is still there.
func (s *Store) recheckNamed(r *repository, pending *state, record *ManifestRecord) error {
	if s.durability.isDamaged(BlobKey(r.name, record.Digest)) {
		return fmt.Errorf("%w: manifest %s", ErrDamaged, record.Digest)
	}

	missing := &MissingError{}

	for _, blob := range record.Blobs {
		if blob.Size >= 0 && (pending.isHidden(blob.Digest) || s.durability.isDamaged(BlobKey(r.name, blob.Digest))) {
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

// DeleteManifest implements Manifests.
func (s *Store) DeleteManifest(ctx context.Context, repo RepoName, ref Reference, cond Precondition, who string) error {
	return s.repos.with(ctx, repo, func(r *repository) error {
		if !r.visible.Load().exists() {
			return ErrRepoUnknown
		}

		return r.commit(who, func(pending *state) ([]Op, error) { return decideDelete(pending, ref, cond) })
	})
}

func decideDelete(pending *state, ref Reference, cond Precondition) ([]Op, error) {
	if ref.Tag != "" {
		if err := cond.check(pending, ref.Tag); err != nil {
			return nil, err
		}
	}

	record, err := pending.resolve(ref)
	if err != nil {
		return nil, err
	}

	if ref.Tag != "" {
		return []Op{{Kind: OpDeleteTag, Tag: ref.Tag}}, nil
	}

	if pending.inIndex(record.Digest) {
		return nil, fmt.Errorf("%w: an index names manifest %s", ErrInUse, ref)
	}

	return []Op{{Kind: OpDeleteManifest, Digest: record.Digest}}, nil
}

// check says whether a precondition on tag holds.
//
// Errors: ErrPrecondition.
func (p *Precondition) check(st *state, tag Tag) error {
	entry, exists := st.tags.Get(tag)

	switch {
	case p.MatchAny && !exists:
		return fmt.Errorf("%w: tag %s does not exist", ErrPrecondition, tag)
	case p.NoneAny && exists:
		return fmt.Errorf("%w: tag %s exists", ErrPrecondition, tag)
	case len(p.Match) > 0 && !(exists && slices.Contains(p.Match, entry.Digest)):
		return fmt.Errorf("%w: tag %s does not point to what If-Match names", ErrPrecondition, tag)
	case exists && slices.Contains(p.NoneMatch, entry.Digest):
		return fmt.Errorf("%w: tag %s points to what If-None-Match names", ErrPrecondition, tag)
	}

	return nil
}

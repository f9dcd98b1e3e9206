package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
)

// StatManifest implements Manifests.
func (s *Store) StatManifest(ctx context.Context, repo RepoName, ref Reference) (Descriptor, error) {
	var found Descriptor

	err := s.withReferenced(ctx, repo, ref, func(r *repository) error {
		return s.withManifest(ctx, r, ref, func(record *ManifestRecord) error {
			found = record.descriptor()

			return nil
		})
	})

	return found, err
}

// GetManifest implements Manifests.
func (s *Store) GetManifest(ctx context.Context, repo RepoName, ref Reference) (Manifest, error) {
	var found Manifest

	err := s.withReferenced(ctx, repo, ref, func(r *repository) error {
		err := s.withManifest(ctx, r, ref, func(record *ManifestRecord) (err error) {
			found.Descriptor = record.descriptor()
			found.Body, err = s.readKept(ctx, r, record.Digest)

			return err
		})
		if err == nil {
			s.pulls.note(r, found.Digest)
		}

		return err
	})

	return found, err
}

// withManifest calls use with the manifest that ref names, once its bytes were seen: a look at
// the file costs little, and tells what has happened to it, though use reads memory. The
// manifest is looked for again behind the lease: GC may have been removing it.
func (s *Store) withManifest(ctx context.Context, r *repository, ref Reference, use func(*ManifestRecord) error) error {
	named, err := r.visible.Load().resolve(ref)
	if err != nil {
		return err
	}

	if _, seen := r.glanced(named.Digest); seen {
		return manifestError(ref, use(named))
	}

	err = s.leased(ctx, r, named.Digest, func() error {
		record, err := r.visible.Load().resolve(Reference{Digest: named.Digest})
		if err != nil {
			return err
		}

		if _, err := s.glance(ctx, r, record.Digest); err != nil {
			return err
		}

		return use(record)
	})

	return manifestError(ref, err)
}

// withReferenced calls use with the repository as ref asks for: what a tag points to may
// change at any moment, what a digest names may not.
func (s *Store) withReferenced(ctx context.Context, repo RepoName, ref Reference, use func(*repository) error) error {
	if ref.Tag != "" {
		return s.repos.with(ctx, repo, s.repos.now(), use)
	}

	return s.repos.known(ctx, repo, use)
}

// manifestError says what it means that the bytes of a manifest that was committed
// cannot be read.
func manifestError(ref Reference, err error) error {
	if errors.Is(err, ErrBlobUnknown) {
		return fmt.Errorf("%w: the bytes of manifest %s are missing", ErrDamaged, ref)
	}

	return err
}

func (m *ManifestRecord) descriptor() Descriptor {
	return Descriptor{
		MediaType: m.MediaType, Digest: m.Digest, Size: m.Size, ArtifactType: m.ArtifactType, Subject: m.Subject,
	}
}

// DeleteManifest implements Manifests.
func (s *Store) DeleteManifest(ctx context.Context, repo RepoName, ref Reference, cond Precondition, who string) error {
	return s.repos.with(ctx, repo, s.repos.now(), func(r *repository) error {
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

	if tags := len(pending.tagsOf(record.Digest)); cond.OneTag && tags > 1 {
		return nil, fmt.Errorf("%w: %d tags point to manifest %s", ErrManyTags, tags, ref)
	}

	return deleteOps(pending, record.Digest), nil
}

// deleteOps deletes a manifest. That its tags go follows from it, and is said all the same,
// for those who read what has happened to one tag.
func deleteOps(pending *state, dgst digest.Digest) []Op {
	ops := []Op{{Kind: OpDeleteManifest, Digest: dgst}}
	for _, tag := range pending.tagsOf(dgst) {
		ops = append(ops, Op{Kind: OpDeleteTag, Tag: tag})
	}

	return ops
}

// allow says whether a tag may be set to dgst.
//
// Errors: ErrTagChange.
func (p *Precondition) allow(st *state, tag Tag, dgst digest.Digest) error {
	entry, exists := st.tags.Get(tag)

	switch {
	case p.NoNew && !exists:
		return fmt.Errorf("%w: there is no tag %s, and none may be made", ErrTagChange, tag)
	case p.NoMove && exists && entry.Digest != dgst:
		return fmt.Errorf("%w: tag %s exists, and may not be moved", ErrTagChange, tag)
	}

	return nil
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

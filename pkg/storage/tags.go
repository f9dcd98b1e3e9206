package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/opencontainers/go-digest"
	"github.com/tidwall/btree"
)

// ListTags implements Tags.
func (s *Store) ListTags(ctx context.Context, repo RepoName, after Tag, n int) ([]Tag, bool, error) {
	var (
		tags []Tag
		more bool
	)

	err := s.repos.with(ctx, repo, s.repos.now(), func(r *repository) error {
		st := r.visible.Load()
		if !st.exists() {
			return ErrRepoUnknown
		}

		tags, more = page(st.tags.tree, after, n)

		return nil
	})

	return tags, more, err
}

// page returns up to n keys of an ordered map behind after; n < 0 = all.
func page[K ~string, V any](m *btree.Map[K, V], after K, n int) (keys []K, more bool) {
	m.Ascend(after, func(key K, _ V) bool {
		if key == after {
			return true
		}

		if n >= 0 && len(keys) == n {
			more = true

			return false
		}

		keys = append(keys, key)

		return true
	})

	return keys, more
}

// ListReferrers implements Referrers.
func (s *Store) ListReferrers(ctx context.Context, repo RepoName, query ReferrerQuery) ([]Descriptor, bool, error) {
	var (
		found []Descriptor
		more  bool
	)

	err := s.repos.with(ctx, repo, s.repos.now(), func(r *repository) (err error) {
		found, more, err = s.referrersPage(ctx, r, query)

		return err
	})

	return found, more, err
}

func (s *Store) referrersPage(ctx context.Context, r *repository, query ReferrerQuery) ([]Descriptor, bool, error) {
	var found []Descriptor

	size := 0

	for record := range r.visible.Load().referrersOf(query) {
		descriptor, err := s.describe(ctx, r, record)
		if err != nil {
			return nil, false, err
		}

		encoded, err := json.Marshal(descriptor)
		if err != nil {
			return nil, false, fmt.Errorf("encode referrer: %w", err)
		}

		size += len(encoded) + 1
		if len(found) > 0 && size > query.MaxBytes {
			return found, true, nil
		}

		found = append(found, descriptor)
	}

	return found, false, nil
}

// referrersOf yields the manifests that query selects, in order of their digests.
func (s *state) referrersOf(query ReferrerQuery) iter.Seq[*ManifestRecord] {
	first := referrerPair{subject: query.Subject, manifest: &ManifestRecord{Digest: query.After}}

	return func(yield func(*ManifestRecord) bool) {
		s.referrers.Ascend(first, func(pair referrerPair) bool {
			if pair.subject != query.Subject {
				return false
			}

			wanted := query.ArtifactType == "" || pair.manifest.ArtifactType == query.ArtifactType
			if !wanted || pair.manifest.Digest == query.After {
				return true
			}

			return yield(pair.manifest)
		})
	}
}

// describe returns the descriptor of a referrer. Its annotations are read from the
// manifest; one that cannot be read is listed without, so that it can be deleted.
func (s *Store) describe(ctx context.Context, r *repository, record *ManifestRecord) (Descriptor, error) {
	descriptor := record.descriptor()

	_, err := s.glance(ctx, r, record.Digest)

	var body []byte
	if err == nil {
		body, err = s.readKept(ctx, r, record.Digest)
	}

	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrBlobUnknown) {
		return descriptor, nil
	}

	if err != nil {
		return descriptor, err
	}

	parsed, err := decodeManifest(body)
	if err != nil {
		return descriptor, nil //nolint:nilerr // flipped bytes; as above
	}

	descriptor.Annotations = parsed.Annotations

	return descriptor, nil
}

// isTagged says whether a tag points to dgst.
func (s *state) isTagged(dgst digest.Digest) bool {
	found := false

	s.tagged.Ascend(tagPair{digest: dgst}, func(pair tagPair) bool {
		found = pair.digest == dgst

		return false
	})

	return found
}

package storage

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// checkPlaced looks whether what the state of a repository in a bucket needs is where it
// says. The driver looks elsewhere, too.
func (c *check) checkPlaced(ctx context.Context, name RepoName, st *state) error {
	var needed []digest.Digest

	st.manifests.Scan(func(dgst digest.Digest, _ *ManifestRecord) bool {
		needed = append(needed, dgst)

		return true
	})
	st.refs.Scan(func(dgst digest.Digest, named ref) bool {
		if _, isManifest := st.manifests.Get(dgst); named.size >= 0 && !isManifest {
			needed = append(needed, dgst)
		}

		return true
	})

	missing := make([]bool, len(needed))

	err := c.store.each(len(needed), func(i int) (err error) {
		missing[i], err = c.isMissing(ctx, name, st, needed[i])

		return err
	})
	if err != nil {
		return err
	}

	for i, dgst := range needed {
		if missing[i] {
			if err := c.confirmMissing(ctx, name, st, dgst); err != nil {
				return err
			}
		}
	}

	return nil
}

// isMissing says whether the bytes of a blob are not there, or are too short or long.
func (c *check) isMissing(ctx context.Context, name RepoName, st *state, dgst digest.Digest) (bool, error) {
	size, at, _ := st.lookup(dgst)

	info, err := c.store.driver.Stat(ctx, placedKey(name, dgst, at))
	if isNotExist(err) && at != "" {
		info, err = c.store.driver.Stat(ctx, BlobKey(name, dgst))
	}

	if isNotExist(err) {
		return true, nil
	}

	return err == nil && size >= 0 && info.Size != size, err
}

// confirmMissing looks again, between two looks at the state: what is needed at the same
// place before and after was needed meanwhile, since no place is used twice.
func (c *check) confirmMissing(ctx context.Context, name RepoName, before *state, dgst digest.Digest) error {
	for range maxLooks {
		var now *state

		err := c.store.repos.with(ctx, name, c.store.repos.now(), func(r *repository) error {
			now = r.visible.Load()

			return nil
		})
		if err != nil {
			return err
		}

		_, was, _ := before.lookup(dgst)

		_, at, known := now.lookup(dgst)
		if !known {
			return nil
		}

		gone, err := c.isMissing(ctx, name, now, dgst) // it may have been healed where it was
		if err != nil || !gone {
			return err
		}

		if at == was {
			c.report(Finding{
				Severity: Problem, Kind: kindBlobMissing, Repo: name, Key: BlobKey(name, dgst), Digest: dgst,
				Text: fmt.Sprintf("%s@%s is not there, or not whole", name, dgst), Remedy: "a push of the same digest heals it",
			})

			if at == "" { // it is looked for each time
				return nil
			}

			return c.store.durability.mark(ctx, dgst, c.store.spotOf(name, dgst, at))
		}

		before = now
	}

	return nil
}

// spotOf says whether a place is a repository's own.
func (s *Store) spotOf(name RepoName, dgst digest.Digest, at string) spot {
	if pool, ok := s.driver.(Pool); ok {
		if _, own := pool.Number(placedKey(name, dgst, at)); !own {
			name = ""
		}
	}

	return spot{name, at}
}

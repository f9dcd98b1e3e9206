package storage

import (
	"context"

	"github.com/opencontainers/go-digest"
)

// dropMarks forgets marks of places where nothing is any more, and that no repository names.
func (run *bucketRun) dropMarks(ctx context.Context) error {
	for dgst, spots := range run.store.durability.marks.all() {
		for _, at := range spots {
			gone, err := run.store.durability.isGone(ctx, dgst, at)
			if err == nil && gone {
				gone, err = run.isUnnamed(ctx, dgst, at)
			}

			if err == nil && gone {
				err = run.store.durability.unmark(ctx, dgst, at)
			}

			if err != nil {
				return err
			}
		}
	}

	return nil
}

// isUnnamed says whether no repository that could have a blob at a place says that it has.
func (run *bucketRun) isUnnamed(ctx context.Context, dgst digest.Digest, at spot) (unnamed bool, err error) {
	repos := []RepoName{at.repo}

	if at.repo == "" {
		repos, err = run.store.holding(ctx, dgst)
		if err != nil || len(repos) == 0 && run.needed.hasDigest(dgst) {
			return false, err
		}
	}

	unnamed = true

	for _, name := range repos {
		err := run.store.repos.with(ctx, name, run.store.repos.recent(), func(r *repository) error {
			_, named, _ := r.visible.Load().lookup(dgst)
			unnamed = unnamed && named != at.place

			return nil
		})
		if err != nil {
			return false, err
		}
	}

	return unnamed, nil
}

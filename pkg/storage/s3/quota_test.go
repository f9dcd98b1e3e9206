//go:build remote

package s3_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// TestQuotaOfReplicas: two replicas that are pushed to at once take no more than the quota and
// what the other has acknowledged since the last look, which is all that it has taken here.
func TestQuotaOfReplicas(t *testing.T) {
	const limit = 5

	opts := newBench(t).options()

	worlds := make([]*storagetest.World, 2)
	for i := range worlds {
		worlds[i] = storagetest.OpenOn(t, open(t, opts), storagetest.NewMapCache(), storage.Options{
			Log: zerolog.Nop(), Quotas: []storage.Quota{{Prefix: "a", Repositories: limit}},
		})
	}

	var (
		group errgroup.Group
		taken [2]int
	)

	for i, w := range worlds {
		group.Go(func() error {
			for n := range 2 * limit {
				_, err := w.TryPush(storage.RepoName(fmt.Sprintf("a/%d-%d", i, n)), "v1", "layer")
				if err == nil {
					taken[i]++
				} else if !errors.As(err, new(*storage.QuotaError)) {
					return err
				}
			}

			return nil
		})
	}

	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}

	if all := taken[0] + taken[1]; max(taken[0], taken[1]) > limit || all < limit {
		t.Errorf("%v were taken, want no more than %d by each, and no fewer by both", taken, limit)
	}

	third := storagetest.OpenOn(t, open(t, opts), storagetest.NewMapCache(), storage.Options{
		Log: zerolog.Nop(), Quotas: []storage.Quota{{Prefix: "a", Repositories: limit}},
	})

	if _, err := third.TryPush("a/late", "v1", "layer"); !errors.As(err, new(*storage.QuotaError)) {
		t.Errorf("a replica that has looked: %v", err)
	}

	third.Equal(third.Store.Stats().Quotas[0].UsedRepositories, int64(taken[0]+taken[1]), "used")
}

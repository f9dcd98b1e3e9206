package churn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/internal/wire"
)

// goes says whether retention removes a manifest sooner or later: no tag names it, and it has no
// subject. No index names one here.
func (w *worker) goes(dgst digest.Digest) bool {
	_, loose := w.model.loose[dgst]

	return w.thinned && w.opts.Lease > 0 && loose && !w.stock.referrers[dgst]
}

// mayGo says whether retention may have removed it by now.
func (w *worker) mayGo(dgst digest.Digest) bool {
	return w.goes(dgst) && time.Since(w.model.loose[dgst]) >= w.opts.Lease
}

// pullUntagged pulls, by its digest, a manifest that has lost its last tag.
func (w *worker) pullUntagged(ctx context.Context) error {
	dgst, err := oneOf(w, slices.Sorted(maps.Keys(w.model.loose)))
	if err != nil {
		return err
	}

	return w.pullDigest(ctx, w.client(), dgst)
}

// pullDigest pulls what is there, unless retention may have removed it. An answer about the
// manifest holds it, and its blobs, for as long as it takes to pull them.
func (w *worker) pullDigest(ctx context.Context, c *wire.Client, dgst digest.Digest) error {
	_, _, err := c.Manifest(ctx, w.repo, dgst.String())
	if errors.Is(err, wire.ErrNotFound) && w.mayGo(dgst) {
		w.retired(dgst)

		return nil
	}

	if err == nil {
		_, err = c.PullImage(ctx, w.repo, dgst.String())
	}

	if err != nil {
		return fmt.Errorf("pull %s: %w", dgst, err)
	}

	return nil
}

// retired notes that retention has removed a manifest.
func (w *worker) retired(dgst digest.Digest) {
	w.model.apply(change{digest: dgst})
	w.noteDeleted(dgst)

	w.done["found removed by retention"]++
}

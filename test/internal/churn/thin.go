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

// goesFrom says whether retention removes a manifest sooner or later, and from when on it may: no
// tag names it, it has no subject, and all indexes that name it go, too.
func (w *worker) goesFrom(dgst digest.Digest) (from time.Time, goes bool) {
	since, loose := w.model.loose[dgst]
	if !w.thinned || w.opts.Lease == 0 || !loose || w.stock.referrers[dgst] {
		return time.Time{}, false
	}

	for _, index := range w.parents(dgst) {
		gone, goes := w.goesFrom(index)
		if !goes {
			return time.Time{}, false
		}

		if gone.After(since) {
			since = gone
		}
	}

	return since.Add(w.opts.Lease), true
}

func (w *worker) goes(dgst digest.Digest) bool {
	_, goes := w.goesFrom(dgst)

	return goes
}

// mayGo says whether retention may have removed it by now.
func (w *worker) mayGo(dgst digest.Digest) bool {
	from, goes := w.goesFrom(dgst)

	return goes && !time.Now().Before(from)
}

// pullUntagged pulls, by its digest, a manifest that has no tag.
func (w *worker) pullUntagged(ctx context.Context) error {
	dgst, err := oneOf(w, slices.Sorted(maps.Keys(w.model.loose)))
	if err != nil {
		return err
	}

	return w.pullDigest(ctx, w.client(), dgst)
}

// pullDigest pulls what is there, unless retention may have removed it. An answer about the
// manifest holds it, and all that it names, for as long as it takes to pull that.
func (w *worker) pullDigest(ctx context.Context, c *wire.Client, dgst digest.Digest) error {
	begun := time.Now()

	_, _, err := c.Manifest(ctx, w.repo, dgst.String())
	if errors.Is(err, wire.ErrNotFound) && w.mayGo(dgst) {
		w.retired(dgst)

		return nil
	}

	if err == nil {
		_, err = w.pullWhole(ctx, c, dgst.String(), dgst)
	}

	if errors.Is(err, wire.ErrNotFound) && w.mayGo(dgst) && time.Since(begun) >= w.opts.Lease {
		w.done["pulled too slowly"]++

		return nil
	}

	if err != nil {
		return fmt.Errorf("pull %s: %w", dgst, err)
	}

	return nil
}

// retired notes that retention has removed a manifest, and all indexes that named it before:
// each of them when it could, at the soonest.
func (w *worker) retired(dgst digest.Digest) {
	from, _ := w.goesFrom(dgst)

	for _, index := range w.parents(dgst) {
		w.retired(index)
	}

	w.model.apply(change{digest: dgst, sent: from})
	w.noteDeleted(dgst)

	if len(w.stock.children[dgst]) > 0 {
		w.done["indexes found removed by retention"]++
	} else {
		w.done["found removed by retention"]++
	}
}

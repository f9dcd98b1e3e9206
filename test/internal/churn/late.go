package churn

import (
	"context"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/internal/wire"
)

// promised is an image whose blobs are all there, as the registry has said. It is pushed late,
// but not too late.
type promised struct {
	img   *wire.Image
	asked time.Time
	wait  time.Duration
}

// promisesEach is how many of them a client has at once.
const promisesEach = 10

// pushLate pushes the manifest of an image whose blobs it asked for earlier, when it is time, or
// asks for those of another one: most often one that was deleted of late. Then nothing but
// the answers holds the blobs.
func (w *worker) pushLate(ctx context.Context) error {
	if w.opts.Lease == 0 {
		return errNothing
	}

	for n, p := range w.promised {
		if time.Since(p.asked) >= p.wait {
			w.promised = slices.Delete(w.promised, n, n+1)

			return w.keep(ctx, p)
		}
	}

	if len(w.promised) >= promisesEach {
		return errNothing
	}

	if len(w.deleted) > 0 && w.rng.IntN(4) > 0 {
		return w.ask(ctx, w.stock.byDigest[w.deleted[w.rng.IntN(len(w.deleted))]])
	}

	if w.rng.IntN(2) == 0 {
		return w.ask(ctx, w.stock.indexes[w.pickIndex()])
	}

	return w.ask(ctx, w.stock.images[w.pick()])
}

func (w *worker) ask(ctx context.Context, img *wire.Image) error {
	asked := time.Now()

	for _, blob := range img.Blobs {
		dgst := digest.FromBytes(blob)

		there, err := w.client().BlobExists(ctx, w.repo, dgst)
		if err != nil {
			return err
		}

		if !there || w.model.gone[dgst] {
			return errNothing
		}
	}

	for _, child := range w.stock.children[img.Digest] {
		there, err := w.finds(ctx, child)
		if err != nil {
			return err
		}

		if !there {
			return errNothing
		}
	}

	wait := time.Duration(w.rng.Float64() * float64(w.opts.Lease))
	w.promised = append(w.promised, &promised{img, asked, wait})

	return nil
}

// keep pushes the manifest, unless this client has deleted since what it names.
func (w *worker) keep(ctx context.Context, p *promised) error {
	for _, blob := range p.img.Blobs {
		if w.model.gone[digest.FromBytes(blob)] {
			return errNothing
		}
	}

	for _, child := range w.stock.children[p.img.Digest] {
		if !w.model.manifests[child] {
			return errNothing
		}
	}

	_, tag := w.image()

	err := w.put(ctx, p.img, tag)
	if isMissing(err) && w.excused(p.asked) {
		return errNothing
	}

	return err
}

// noteDeleted remembers the last manifests that were deleted.
func (w *worker) noteDeleted(dgst digest.Digest) {
	w.deleted = append(w.deleted, dgst)
	w.deleted = w.deleted[max(0, len(w.deleted)-2*promisesEach):]
}

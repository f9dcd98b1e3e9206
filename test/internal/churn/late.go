package churn

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/test/internal/wire"
)

// promised is an image whose blobs are all there, as the registry has said. It is pushed late,
// but not too late.
type promised struct {
	img   *wire.Image
	asked time.Time
	wait  time.Duration
}

// pushLate asks for the blobs of an image, or pushes the manifest of the one that it asked for
// last, when it is time. Nothing but the answers holds the blobs meanwhile.
func (w *worker) pushLate(ctx context.Context) error {
	switch p := w.promised; {
	case w.opts.Lease == 0:
		return errNothing
	case p == nil:
		return w.ask(ctx, w.stock.images[w.pick()])
	case time.Since(p.asked) < p.wait:
		return errNothing
	default:
		w.promised = nil

		return w.keep(ctx, p)
	}
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

	w.promised = &promised{img: img, asked: asked, wait: time.Duration(w.rng.Float64() * float64(w.opts.Lease))}

	return nil
}

// keep pushes the manifest, unless this client has deleted a blob of it since.
func (w *worker) keep(ctx context.Context, p *promised) error {
	for _, blob := range p.img.Blobs {
		if w.model.gone[digest.FromBytes(blob)] {
			return errNothing
		}
	}

	_, tag := w.image()

	err := w.put(ctx, p.img, tag)
	if isMissing(err) && time.Since(p.asked) > w.opts.Lease {
		w.done["manifests that were too late"]++

		return nil
	}

	return err
}

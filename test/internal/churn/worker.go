package churn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/internal/wire"
)

// worker is one client. It shares its repository, and many layers, with others; tags and
// manifests are its own. One goroutine at a time uses it.
type worker struct {
	opts    Options
	name    string
	repo    string
	other   string // from which it mounts
	thinned bool   // retention removes what has no tag
	clients []*wire.Client
	rng     *rand.Rand
	stock   *stock
	model   *model
	doubt   *change // sent, and never answered
	held    *held   // an upload that is under way
	done    map[string]int

	promised []*promised     // images that are to be pushed late
	deleted  []digest.Digest // the last manifests that were deleted
}

// operations are what a client does, and how often.
var operations = []struct {
	name  string
	often int
	do    func(*worker, context.Context) error
}{
	{"push", 12, (*worker).push},
	{"push of what is missing", 24, (*worker).pushMissing},
	{"push long after the blobs were found", 16, (*worker).pushLate},
	{"push with mounts", 8, (*worker).pushMounting},
	{"tag again", 8, (*worker).retag},
	{"attach", 6, (*worker).attach},
	{"pull", 16, (*worker).pull},
	{"pull what has no tag", 4, (*worker).pullUntagged},
	{"push an index", 12, (*worker).pushIndex},
	{"pull through an index", 6, (*worker).pullIndex},
	{"delete what an index names", 4, (*worker).deleteChild},
	{"list", 3, (*worker).list},
	{"delete a tag", 8, (*worker).deleteTag},
	{"delete a manifest", 12, (*worker).deleteManifest},
	{"delete a blob", 5, (*worker).deleteBlob},
	{"upload in pieces", 8, (*worker).goOn},
}

// errNothing says that there was nothing that an operation could have been done to.
var errNothing = errors.New("nothing to do it to")

// run does one thing after the other.
func (w *worker) run(ctx context.Context, enough, stop <-chan struct{}) error {
	total := 0
	for _, op := range operations {
		total += op.often
	}

	for {
		select {
		case <-enough:
			return nil
		case <-stop:
			return nil
		default:
		}

		if err := w.once(ctx, w.rng.IntN(total)); err != nil {
			return err
		}
	}
}

func (w *worker) once(ctx context.Context, n int) error {
	for _, op := range operations {
		if n -= op.often; n >= 0 {
			continue
		}

		err := op.do(w, ctx)
		if errors.Is(err, errNothing) {
			return nil
		}

		if err != nil {
			return fmt.Errorf("%s: %w", op.name, err)
		}

		w.done[op.name]++

		return nil
	}

	return nil
}

// client is any of the replicas.
func (w *worker) client() *wire.Client { return w.clients[w.rng.IntN(len(w.clients))] }

// change sends a request, and notes what it did once it is acknowledged. One that was
// refused with a 4xx has done nothing.
func (w *worker) change(c change, send func() error) error {
	c.sent = time.Now()
	w.doubt = &c

	err := send()
	if err == nil {
		w.model.apply(c)
	}

	var status *wire.StatusError
	if err == nil || errors.As(err, &status) && status.Status < http.StatusInternalServerError {
		w.doubt = nil
	}

	return err
}

// oneOf picks one of all.
func oneOf[T any](w *worker, all []T) (one T, err error) {
	if len(all) == 0 {
		return one, errNothing
	}

	return all[w.rng.IntN(len(all))], nil
}

// pick picks one of the images.
func (w *worker) pick() int { return skewed(w.rng, w.opts.Images) }

// image picks an image, and a tag for it.
func (w *worker) image() (img *wire.Image, tag string) {
	return w.stock.images[w.pick()], fmt.Sprintf("%s-%d", w.name, w.rng.IntN(w.opts.Images))
}

func (w *worker) deleteTag(ctx context.Context) error {
	tag, err := oneOf(w, w.model.names())
	if err != nil {
		return err
	}

	return w.change(change{tag: tag}, func() error { return w.client().DeleteManifest(ctx, w.repo, tag) })
}

func (w *worker) deleteManifest(ctx context.Context) error {
	dgst, err := oneOf(w, w.model.there())
	if err != nil {
		return err
	}

	return w.delete(ctx, dgst)
}

// delete deletes a manifest, unless retention has been faster, or an index names it.
func (w *worker) delete(ctx context.Context, dgst digest.Digest) error {
	err := w.change(change{digest: dgst}, func() error { return w.client().DeleteManifest(ctx, w.repo, dgst.String()) })

	switch {
	case err == nil:
		w.noteDeleted(dgst)

		return w.noteUnnamed(dgst)
	case errors.Is(err, wire.ErrNotFound) && w.mayGo(dgst):
		w.retired(dgst)

		return nil
	case isInUse(err) && len(w.parents(dgst)) > 0:
		w.done["kept since an index names it"]++

		return nil
	default:
		return err
	}
}

// deleteAll deletes the indexes first: what they name cannot be deleted before.
func (w *worker) deleteAll(ctx context.Context) error {
	all := w.model.there()
	slices.SortStableFunc(all, func(a, b digest.Digest) int {
		return len(w.stock.children[b]) - len(w.stock.children[a])
	})

	for _, dgst := range all {
		if !w.model.manifests[dgst] { // it was found removed meanwhile
			continue
		}

		if err := w.delete(ctx, dgst); err != nil {
			return err
		}
	}

	return nil
}

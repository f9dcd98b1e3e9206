package churn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/internal/wire"
)

// pull pulls by a tag, which must be what was pushed last.
func (w *worker) pull(ctx context.Context) error {
	tag, err := oneOf(w, w.model.names())
	if err != nil {
		return err
	}

	return w.pullTag(ctx, w.client(), tag)
}

func (w *worker) pullTag(ctx context.Context, c *wire.Client, tag string) error {
	want := w.model.tags[tag]

	body, err := w.pullWhole(ctx, c, tag, want)
	if err != nil {
		return fmt.Errorf("pull tag %s, which is %s: %w", tag, want, err)
	}

	if got := digest.FromBytes(body); got != want {
		return fmt.Errorf("tag %s is %s, acknowledged was %s", tag, got, want)
	}

	return nil
}

func (w *worker) list(ctx context.Context) error { return w.verifyTags(ctx, w.client()) }

// verify looks at everything that was acknowledged, by way of each replica.
func (w *worker) verify(ctx context.Context) error {
	w.promised = nil // by a process that has ended

	if err := w.settle(ctx); err != nil {
		return err
	}

	var failed []error

	for _, c := range w.clients {
		failed = append(failed, w.verifyTags(ctx, c), w.verifyManifests(ctx, c), w.verifyReferrers(ctx, c))

		for _, tag := range w.model.names() {
			failed = append(failed, w.pullTag(ctx, c, tag))
		}
	}

	return errors.Join(append(failed, w.verifyGone(ctx))...)
}

// settle finds out whether a request has happened that was never answered.
func (w *worker) settle(ctx context.Context) error {
	if w.doubt == nil {
		return nil
	}

	ref := w.doubt.tag
	if ref == "" {
		ref = w.doubt.digest.String()
	}

	_, dgst, err := w.client().Manifest(ctx, w.repo, ref)
	if err != nil && !errors.Is(err, wire.ErrNotFound) {
		return fmt.Errorf("has it happened? %w", err)
	}

	if there := err == nil; w.doubt.put && there && dgst == w.doubt.digest || !w.doubt.put && !there {
		w.happened(*w.doubt)
	}

	w.doubt = nil

	return nil
}

// happened notes a change that was not acknowledged. When it happened is not known: retention may
// have removed before what the client wanted to delete, and what was there was perhaps not
// pushed again.
func (w *worker) happened(c change) {
	before, loose := w.model.loose[c.digest]

	if from, goes := w.goesFrom(c.digest); goes && !c.put && c.tag == "" && from.Before(c.sent) {
		c.sent = from
	}

	w.model.apply(c)

	if loose && c.put && c.tag == "" {
		w.model.loose[c.digest] = before
	}
}

// verifyTags: of the client's own, the list has those that were acknowledged and no others.
func (w *worker) verifyTags(ctx context.Context, c *wire.Client) error {
	all, err := c.Tags(ctx, w.repo)
	if err != nil {
		return err
	}

	listed := slices.DeleteFunc(all, func(tag string) bool { return !strings.HasPrefix(tag, w.name+"-") })
	slices.Sort(listed)

	if want := w.model.names(); !slices.Equal(listed, want) {
		return fmt.Errorf("tags are %q, acknowledged were %q", listed, want)
	}

	return nil
}

// verifyManifests: what is there pulls by its digest, what was deleted does not.
func (w *worker) verifyManifests(ctx context.Context, c *wire.Client) error {
	for dgst, there := range w.model.manifests {
		if there {
			if err := w.pullDigest(ctx, c, dgst); err != nil {
				return err
			}

			continue
		}

		err := w.await(ctx, func() error {
			_, _, err := c.Manifest(ctx, w.repo, dgst.String())

			return isGone(err, "manifest "+dgst.String())
		})
		if err != nil {
			return err
		}
	}

	return nil
}

// verifyReferrers: an image's artifact is listed if it is there, and only then.
func (w *worker) verifyReferrers(ctx context.Context, c *wire.Client) error {
	for n, img := range w.stock.images {
		artifact := w.stock.artifacts[n].Digest
		want := w.model.manifests[artifact]

		if !w.model.manifests[img.Digest] {
			continue
		}

		err := w.await(ctx, func() error {
			listed, err := c.Referrers(ctx, w.repo, img.Digest)
			if err == nil && slices.Contains(listed, artifact) != want {
				err = fmt.Errorf("%s is listed as referrer: %t, want %t", artifact, !want, want)
			}

			return err
		})
		if err != nil {
			return err
		}
	}

	return nil
}

func (w *worker) verifyGone(ctx context.Context) error {
	for dgst := range w.model.gone {
		err := w.await(ctx, func() error {
			_, err := w.client().Blob(ctx, w.repo, dgst)

			return isGone(err, "blob "+dgst.String())
		})
		if err != nil {
			return err
		}
	}

	return nil
}

// isGone makes of a 404 no error, and of no error one.
func isGone(err error, what string) error {
	switch {
	case errors.Is(err, wire.ErrNotFound):
		return nil
	case err == nil:
		return fmt.Errorf("%s was deleted, and is served", what)
	default:
		return err
	}
}

// await asks until all is well, for as long as a replica may not have noticed a change.
func (w *worker) await(ctx context.Context, ask func() error) error {
	limit := time.Now().Add(w.opts.Stale)

	for {
		err := ask()
		if err == nil || time.Now().After(limit) {
			return err
		}

		timer := time.NewTimer(100 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()

			return errors.Join(err, ctx.Err())
		}
	}
}

// addNeeded adds what has to be there.
func (w *worker) addNeeded(needed map[string]bool) {
	add := func(dgst digest.Digest) {
		needed[w.repo+"/blobs/"+dgst.Algorithm().String()+"/"+dgst.Encoded()] = true
	}

	for _, dgst := range w.model.there() {
		if w.goes(dgst) {
			continue
		}

		add(dgst)

		for _, blob := range w.stock.byDigest[dgst].Blobs {
			add(digest.FromBytes(blob))
		}
	}
}

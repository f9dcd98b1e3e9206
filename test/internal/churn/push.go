package churn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/internal/wire"
)

// bring makes that the repository has a blob.
type bring func(ctx context.Context, blob []byte) error

func (w *worker) push(ctx context.Context) error {
	img, tag := w.image()

	return w.pushImage(ctx, img, tag, w.send)
}

// pushMissing does as most clients do: what HEAD finds is not sent.
func (w *worker) pushMissing(ctx context.Context) error {
	img, tag := w.image()

	return w.pushImage(ctx, img, tag, w.sendMissing)
}

func (w *worker) pushMounting(ctx context.Context) error {
	img, tag := w.image()

	return w.pushImage(ctx, img, tag, w.mount)
}

// attach pushes an artifact whose subject is an image that may be there, or not.
func (w *worker) attach(ctx context.Context) error {
	return w.pushImage(ctx, w.stock.artifacts[w.pick()], "", w.sendMissing)
}

// pushImage pushes an image whose blobs are brought. Where that took longer than the answers
// count for, a blob may have gone, and all are sent.
func (w *worker) pushImage(ctx context.Context, img *wire.Image, tag string, bring bring) error {
	for range 5 {
		begun := time.Now()

		err := w.tryImage(ctx, img, tag, bring)
		if !isMissing(err) || !w.excused(begun) {
			return err
		}

		bring = w.send
	}

	return errors.New("five times in a row a blob was missing, and it took longer than answers count for")
}

// excused says whether a blob may be missing of which an answer at asked said that it is there:
// it was too long ago.
func (w *worker) excused(asked time.Time) bool {
	late := w.opts.Lease > 0 && time.Since(asked) >= w.opts.Lease
	if late {
		w.done["pushed too late"]++
	}

	return late
}

func (w *worker) tryImage(ctx context.Context, img *wire.Image, tag string, bring bring) error {
	for n, blob := range img.Blobs {
		if err := bring(ctx, blob); err != nil {
			return fmt.Errorf("blob %d of %s: %w", n, img.Digest, err)
		}
	}

	return w.put(ctx, img, tag)
}

// put pushes the manifest, without a tag by its digest.
func (w *worker) put(ctx context.Context, img *wire.Image, tag string) error {
	ref := tag
	if ref == "" {
		ref = img.Digest.String()
	}

	return w.change(change{put: true, tag: tag, digest: img.Digest}, func() error {
		return w.client().PutManifest(ctx, w.repo, ref, w.stock.mediaType(img), img.Manifest)
	})
}

func isMissing(err error) bool {
	var status *wire.StatusError

	return errors.As(err, &status) && status.Status == http.StatusBadRequest &&
		strings.Contains(status.Body, "MANIFEST_BLOB_UNKNOWN")
}

var waysToPush = []wire.PushBlob{(*wire.Client).PushMonolithic, (*wire.Client).PushChunked, (*wire.Client).PushStreamed}

func (w *worker) send(ctx context.Context, blob []byte) error {
	delete(w.model.gone, digest.FromBytes(blob))

	return waysToPush[w.rng.IntN(len(waysToPush))](w.client(), ctx, w.repo, blob)
}

// sendMissing asks first. A blob that was deleted is not asked for: another replica may not
// have noticed yet.
func (w *worker) sendMissing(ctx context.Context, blob []byte) error {
	dgst := digest.FromBytes(blob)
	if w.model.gone[dgst] {
		return w.send(ctx, blob)
	}

	there, err := w.client().BlobExists(ctx, w.repo, dgst)
	if err != nil || there {
		return err
	}

	return w.send(ctx, blob)
}

// mount asks for the blob of another repository, which may have it.
func (w *worker) mount(ctx context.Context, blob []byte) error {
	dgst := digest.FromBytes(blob)
	delete(w.model.gone, dgst)

	up, err := w.client().MountOrStart(ctx, w.repo, dgst, w.other)
	if err != nil {
		return err
	}

	if up == nil {
		w.done["mounted blobs"]++

		return nil
	}

	return up.Finish(ctx, dgst, blob)
}

// retag gives a manifest that is there one more tag.
func (w *worker) retag(ctx context.Context) error {
	dgst, err := oneOf(w, w.model.there())
	if err != nil {
		return err
	}

	_, tag := w.image()

	err = w.put(ctx, w.stock.byDigest[dgst], tag)
	if isMissing(err) && w.mayGo(dgst) {
		w.retired(dgst)

		return errNothing
	}

	return err
}

// deleteBlob deletes a layer that no other client uses, if no image of it is there.
func (w *worker) deleteBlob(ctx context.Context) error {
	n := w.pick()
	dgst := digest.FromBytes(w.stock.own[n])

	if w.model.manifests[w.stock.images[n].Digest] || w.model.gone[dgst] {
		return errNothing
	}

	err := w.client().DeleteBlob(ctx, w.repo, dgst)
	if errors.Is(err, wire.ErrNotFound) {
		return errNothing
	}

	if err == nil {
		w.model.gone[dgst] = true
	}

	return err
}

// held is an upload that goes on now and then.
type held struct {
	up   *wire.Upload
	img  int
	sent int64 // bytes that were acknowledged
	torn bool  // it may be shorter, or gone, or not what was sent
}

// pieces is in how many an upload is sent.
const pieces = 4

// goOn sends one piece of a layer. With the last one the image is pushed.
func (w *worker) goOn(ctx context.Context) error {
	if w.held == nil {
		up, err := w.client().StartUpload(ctx, w.repo)
		if err != nil {
			return err
		}

		w.held = &held{up: up, img: w.pick()}

		return nil
	}

	err := w.sendPiece(ctx, w.held)

	var status *wire.StatusError
	if w.held != nil && w.held.torn && errors.As(err, &status) && status.Status < http.StatusInternalServerError {
		w.held = nil // nothing was promised

		return nil
	}

	return err
}

func (w *worker) sendPiece(ctx context.Context, h *held) error {
	blob := w.stock.own[h.img]

	h.up = h.up.At(w.client())

	have, err := h.up.Offset(ctx)
	if err != nil {
		return err
	}

	if have < h.sent && !h.torn {
		return fmt.Errorf("the upload has %d bytes, %d were acknowledged", have, h.sent)
	}

	if end := min(have+int64(len(blob)/pieces)+2, int64(len(blob))); end < int64(len(blob)) {
		if err := h.up.Append(ctx, have, blob[have:end]); err != nil {
			return err
		}

		h.sent = end

		return nil
	}

	return w.finish(ctx, h, blob[min(have, int64(len(blob))):])
}

// finish sends the last piece, and what the image has beside it.
func (w *worker) finish(ctx context.Context, h *held, rest []byte) error {
	dgst := digest.FromBytes(w.stock.own[h.img])
	delete(w.model.gone, dgst)

	if err := h.up.Finish(ctx, dgst, rest); err != nil {
		h.torn = h.torn || Disconnected(err) // it may be over

		return err
	}

	w.held = nil
	_, tag := w.image()

	return w.pushImage(ctx, w.stock.images[h.img], tag, func(ctx context.Context, blob []byte) error {
		if slices.Equal(blob, w.stock.own[h.img]) {
			return nil
		}

		return w.sendMissing(ctx, blob)
	})
}

// tidy ends the upload that is under way.
func (w *worker) tidy(ctx context.Context) error {
	if w.held == nil {
		return nil
	}

	err := w.held.up.Cancel(ctx)
	w.held = nil

	return err
}

func (w *worker) powerFailed() {
	if w.held != nil {
		w.held.torn = true
	}
}

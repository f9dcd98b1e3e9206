package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"zotregistry.io/zot/pkg/storage"
)

// blobHandlers answer /v2/<repo>/blobs/<digest>.
type blobHandlers struct{ blobs storage.Blobs }

// head says how large a blob is. A Range has no meaning here (RFC 9110, 14.2).
func (h blobHandlers) head(w *response, r *request) error {
	size, err := h.blobs.StatBlob(r.Context(), r.repo, r.digest)
	if err != nil {
		return fmt.Errorf("get blob: %w", err)
	}

	return h.describe(w, r, size)
}

// describe sends the headers of a whole blob.
func (h blobHandlers) describe(w *response, r *request, size int64) error {
	same, err := notModified(r.Header, r.digest)
	if err != nil {
		return err
	}

	setDigest(w, r.digest)

	if same {
		w.WriteHeader(http.StatusNotModified)

		return nil
	}

	setBlob(w, size)
	w.WriteHeader(http.StatusOK)

	return nil
}

// get sends a blob, or one range of it.
func (h blobHandlers) get(w *response, r *request) error {
	same, err := notModified(r.Header, r.digest)
	if err != nil {
		return err
	}

	if same {
		return h.head(w, r)
	}

	if sent, err := h.redirect(w, r); sent || err != nil {
		return err
	}

	if wantsRange(r.Header, r.digest) {
		return h.part(w, r)
	}

	return h.whole(w, r)
}

// redirect sends the client to where the bytes are, if that may be. It asks there for
// the range, too.
func (h blobHandlers) redirect(w *response, r *request) (sent bool, err error) {
	url, err := h.blobs.BlobURL(r.Context(), r.repo, r.digest)
	if errors.Is(err, storage.ErrBlobUnknown) {
		return false, nil // get finds out what is wrong with it
	}

	if err != nil || url == "" {
		return false, err
	}

	setDigest(w, r.digest)
	w.Header().Set("Location", url)
	w.Header().Set("Cache-Control", "no-store") // the URL ends
	w.WriteHeader(http.StatusTemporaryRedirect)

	return true, nil
}

func (h blobHandlers) whole(w *response, r *request) (err error) {
	object, err := h.blobs.OpenBlob(r.Context(), r.repo, r.digest, storage.Whole)
	if err != nil {
		return fmt.Errorf("get blob: %w", err)
	}

	defer closeObject(object, &err)

	setDigest(w, r.digest)
	setBlob(w, object.Size)
	w.WriteHeader(http.StatusOK)

	return sendBytes(w, object.Body, object.Size)
}

// part sends a range. The size has to be known before the range can be.
func (h blobHandlers) part(w *response, r *request) (err error) {
	size, err := h.blobs.StatBlob(r.Context(), r.repo, r.digest)
	if errors.Is(err, storage.ErrBlobUnknown) {
		return h.whole(w, r) // which tells one that is damaged from one that is not there
	}

	if err != nil {
		return fmt.Errorf("get blob: %w", err)
	}

	rng, err := parseRange(r.Header.Get("Range"), size)
	if err != nil {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", size))

		return fmt.Errorf("get blob: %w", err)
	}

	if rng == storage.Whole {
		return h.whole(w, r)
	}

	object, err := h.blobs.OpenBlob(r.Context(), r.repo, r.digest, rng)
	if err != nil {
		return fmt.Errorf("get blob: %w", err)
	}

	defer closeObject(object, &err)

	setDigest(w, r.digest)
	setBlob(w, rng.Length)
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", rng.Offset, rng.Offset+rng.Length-1, size))
	w.WriteHeader(http.StatusPartialContent)

	return sendBytes(w, object.Body, rng.Length)
}

// setBlob sets the headers of a body of blob bytes.
func setBlob(w *response, length int64) {
	w.set("Accept-Ranges", "bytes")
	w.set("Content-Type", "application/octet-stream")
	w.set("Content-Length", strconv.FormatInt(length, 10))
}

// sendBytes sends exactly length bytes of body. The limit stands directly over body,
// or takes the place of the one that is there: net/http looks through one for a file.
func sendBytes(w *response, body io.Reader, length int64) error {
	limited := &io.LimitedReader{R: body, N: length}
	if inner, ok := body.(*io.LimitedReader); ok {
		limited.R, limited.N = inner.R, min(inner.N, length)
	}

	sent, err := w.ReadFrom(limited)
	if err != nil {
		return fmt.Errorf("send blob, %d of %d bytes are sent: %w", sent, length, err)
	}

	if sent != length {
		return fmt.Errorf("%w: blob ended after %d of %d bytes", storage.ErrDamaged, sent, length)
	}

	return nil
}

// closeObject closes what was read. All bytes are sent, but an error of S3 may come
// only now.
func closeObject(object *storage.Object, err *error) {
	if closed := object.Close(); closed != nil && *err == nil {
		*err = fmt.Errorf("close blob: %w", closed)
	}
}

// delete deletes a blob that no manifest names.
func (h blobHandlers) delete(w *response, r *request) error {
	if err := h.blobs.DeleteBlob(r.Context(), r.repo, r.digest, r.user.Name); err != nil {
		return fmt.Errorf("delete blob: %w", err)
	}

	setDigest(w, r.digest)
	w.WriteHeader(http.StatusAccepted)

	return nil
}

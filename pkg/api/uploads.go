package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// uploadHandlers answer /v2/<repo>/blobs/uploads/ and what is below it.
type uploadHandlers struct {
	uploads storage.Uploads
	blobs   storage.Blobs
	urls    urls
}

// post begins an upload, takes a whole blob, or mounts one.
func (h uploadHandlers) post(w *response, r *request) error {
	switch {
	case r.query.Has("mount"):
		return h.mount(w, r)
	case r.query.Has("digest"):
		return h.monolithic(w, r)
	}

	return h.start(w, r, digest.Algorithm(r.query.Get("digest-algorithm")))
}

// start begins an upload; "" is sha256.
func (h uploadHandlers) start(w *response, r *request, alg digest.Algorithm) error {
	if alg != "" {
		if err := storage.CheckAlgorithm(alg); err != nil {
			return fmt.Errorf("start upload: %w", err)
		}
	}

	place, err := r.doors.places.take(r)
	if err != nil {
		return fmt.Errorf("start upload: %w", err)
	}

	defer place.free()

	status, err := h.uploads.StartUpload(r.Context(), r.repo, alg)
	if err != nil {
		return fmt.Errorf("start upload: %w", err)
	}

	place.keep(status.ID)
	h.setStatus(w, r, status)
	w.WriteHeader(http.StatusAccepted)

	return nil
}

// monolithic takes a whole blob in one request. A client that fails has no id to go
// on with, so nothing is kept for it.
func (h uploadHandlers) monolithic(w *response, r *request) error {
	dgst, err := storage.ParseDigest(r.query.Get("digest"))
	if err != nil {
		return fmt.Errorf("push blob: %w", err)
	}

	chunk, err := parseChunk(r)
	if err != nil {
		return err
	}

	place, err := r.doors.places.take(r)
	if err != nil {
		return fmt.Errorf("push blob: %w", err)
	}

	defer place.free()

	status, err := h.uploads.StartUpload(r.Context(), r.repo, dgst.Algorithm())
	if err != nil {
		return fmt.Errorf("push blob: %w", err)
	}

	chunk.Offset, chunk.Seen = 0, 0

	if err := h.finish(w, r, status.ID, chunk, dgst); err != nil {
		return errors.Join(fmt.Errorf("push blob %s: %w", dgst, err), h.drop(r, status.ID))
	}

	h.created(w, r, dgst)

	return nil
}

// drop ends a failed upload, also for a client that is gone.
func (h uploadHandlers) drop(r *request, id string) error {
	err := h.uploads.CancelUpload(context.WithoutCancel(r.Context()), r.repo, id)
	if err == nil || errors.Is(err, storage.ErrUploadUnknown) {
		return nil
	}

	return fmt.Errorf("cancel upload: %w", err)
}

// mount makes a blob of another repository visible in this one. If it cannot, an
// upload begins; the client sends the bytes.
func (h uploadHandlers) mount(w *response, r *request) error {
	dgst, err := storage.ParseDigest(r.query.Get("mount"))
	if err != nil {
		return fmt.Errorf("mount: %w", err)
	}

	sources, err := h.sources(r, dgst)
	if err != nil {
		return err
	}

	for _, from := range sources {
		if !r.mayRead(from) || !r.user.Scope.Allows(repositoryAccess(from, "pull")) {
			continue
		}

		err := h.blobs.MountBlob(r.Context(), r.repo, dgst, from, r.user.Name)
		if err == nil {
			h.created(w, r, dgst)

			return nil
		}

		if !errors.Is(err, storage.ErrBlobUnknown) && !errors.Is(err, storage.ErrRepoUnknown) {
			return fmt.Errorf("mount %s from %s: %w", dgst, from, err)
		}
	}

	return h.start(w, r, dgst.Algorithm())
}

// sources are the repositories to mount from: the one that the client names, or
// those that the cache knows. No scan is made.
func (h uploadHandlers) sources(r *request, dgst digest.Digest) ([]storage.RepoName, error) {
	if from := r.query.Get("from"); from != "" {
		repo, err := storage.ParseRepoName(from)
		if err != nil {
			return nil, fmt.Errorf("mount: from: %w", err)
		}

		return []storage.RepoName{repo}, nil
	}

	return h.blobs.FindBlob(r.Context(), r.repo, dgst), nil
}

// patch adds a chunk.
func (h uploadHandlers) patch(w *response, r *request) error {
	chunk, err := parseChunk(r)
	if err != nil {
		return err
	}

	defer r.doors.places.touch(r.upload)()

	status, err := h.uploads.AppendUpload(r.Context(), r.repo, r.upload, chunk)
	if err != nil {
		h.setOffset(w, r, err)

		return fmt.Errorf("append to upload %s: %w", r.upload, err)
	}

	h.setStatus(w, r, status)
	w.WriteHeader(http.StatusAccepted)

	return nil
}

// put adds the last chunk, if there is one, and ends the upload.
func (h uploadHandlers) put(w *response, r *request) error {
	dgst, err := storage.ParseDigest(r.query.Get("digest"))
	if err != nil {
		return fmt.Errorf("finish upload: %w", err)
	}

	chunk, err := parseChunk(r)
	if err != nil {
		return err
	}

	defer r.doors.places.touch(r.upload)()

	err = h.finish(w, r, r.upload, chunk, dgst)
	if h.over(r, err) {
		r.doors.places.end(r.upload)
	}

	if err != nil {
		h.setOffset(w, r, err)

		return fmt.Errorf("finish upload %s: %w", r.upload, err)
	}

	h.created(w, r, dgst)

	return nil
}

// over says whether an upload has ended, if finish has returned err.
func (h uploadHandlers) over(r *request, err error) bool {
	if errors.Is(err, storage.ErrDigestMismatch) { // then it depends on what the last chunk had
		_, err = h.uploads.StatUpload(context.WithoutCancel(r.Context()), r.repo, r.upload)

		return errors.Is(err, storage.ErrUploadUnknown)
	}

	return err == nil || errors.Is(err, storage.ErrUploadUnknown)
}

// finish ends an upload. In a bucket that may be a copy that takes minutes.
func (h uploadHandlers) finish(w *response, r *request, id string, chunk storage.Chunk, dgst digest.Digest) error {
	if chunk.Body != nil || !takesInterim(r.Request) {
		_, err := h.uploads.FinishUpload(r.Context(), r.repo, id, chunk, dgst, r.user.Name)

		return err
	}

	defer keepAlive(w, patience)()

	_, err := h.uploads.FinishUpload(r.Context(), r.repo, id, chunk, dgst, r.user.Name)

	return err
}

// status says where to go on.
func (h uploadHandlers) status(w *response, r *request) error {
	defer r.doors.places.touch(r.upload)()

	status, err := h.uploads.StatUpload(r.Context(), r.repo, r.upload)
	if err != nil {
		return fmt.Errorf("status of upload %s: %w", r.upload, err)
	}

	h.setStatus(w, r, status)
	w.WriteHeader(http.StatusNoContent)

	return nil
}

// cancel drops an upload.
func (h uploadHandlers) cancel(w *response, r *request) error {
	if err := h.uploads.CancelUpload(r.Context(), r.repo, r.upload); err != nil {
		return fmt.Errorf("cancel upload %s: %w", r.upload, err)
	}

	r.doors.places.end(r.upload)
	w.WriteHeader(http.StatusNoContent)

	return nil
}

// parseChunk reads what the headers say about a chunk.
//
// Errors: errHeader; storage.ErrSize if they contradict each other.
func parseChunk(r *request) (storage.Chunk, error) {
	chunk := storage.Chunk{Body: r.Body, Offset: -1, Length: r.ContentLength, Seen: parseKept(r)}
	if r.Body == nil || r.Body == http.NoBody {
		chunk.Body, chunk.Length = nil, 0
	}

	header := r.Header.Get("Content-Range")
	if header == "" {
		return chunk, nil
	}

	offset, length, err := parseContentRange(header)
	if err != nil {
		return storage.Chunk{}, err
	}

	if chunk.Length >= 0 && chunk.Length != length {
		return storage.Chunk{}, fmt.Errorf("%w: Content-Length is %d, Content-Range %s",
			storage.ErrSize, chunk.Length, header)
	}

	chunk.Offset, chunk.Length = offset, length

	return chunk, nil
}

// parseKept reads what urls.upload wrote, -1 if it is not there: some clients drop the
// query.
func parseKept(r *request) int64 {
	kept, err := strconv.ParseInt(r.query.Get(keptParam), 10, 64)
	if err != nil || kept < 0 {
		return -1
	}

	return kept
}

// setStatus tells where an upload stands. The spec has no way to say "nothing yet":
// like everyone else, "0-0" is said.
func (h uploadHandlers) setStatus(w *response, r *request, status storage.UploadStatus) {
	header := w.Header()
	header.Set("Location", h.urls.upload(r.repo, status))
	header.Set("Range", "0-"+strconv.FormatInt(max(0, status.Size-1), 10))
	header.Set("Docker-Upload-UUID", status.ID)
}

// setOffset tells a client whose chunk did not fit where to go on.
func (h uploadHandlers) setOffset(w *response, r *request, err error) {
	var offset *storage.OffsetError
	if errors.As(err, &offset) {
		h.setStatus(w, r, storage.UploadStatus{ID: r.upload, Size: offset.Have})
	}
}

// created says that the repository has a blob now.
func (h uploadHandlers) created(w *response, r *request, dgst digest.Digest) {
	w.Header().Set("Location", h.urls.blob(r.repo, dgst))
	setDigest(w, dgst)
	w.WriteHeader(http.StatusCreated)
}

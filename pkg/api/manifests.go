package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// maxTags is how many tags one PUT may set. The spec wants 10 at least ("Pushing
// Manifests"); the answer names each of them in a header.
const maxTags = 100

// manifestHandlers answer /v2/<repo>/manifests/<reference>.
type manifestHandlers struct {
	manifests storage.Manifests
	urls      urls
	memory    manifestMemory
}

// get sends a manifest. Accept is not looked at: there is one form of it, the one
// that was pushed.
func (h manifestHandlers) get(w *response, r *request) error {
	manifest, err := h.manifests.GetManifest(r.Context(), r.repo, r.ref)
	if err != nil {
		return fmt.Errorf("get manifest: %w", err)
	}

	sent, err := describeManifest(w, r, manifest.Descriptor)
	if err != nil || sent {
		return err
	}

	return sendJSON(w, http.StatusOK, manifest.MediaType, manifest.Body)
}

// head says what a manifest is, without reading it.
func (h manifestHandlers) head(w *response, r *request) error {
	desc, err := h.manifests.StatManifest(r.Context(), r.repo, r.ref)
	if err != nil {
		return fmt.Errorf("get manifest: %w", err)
	}

	sent, err := describeManifest(w, r, desc)
	if err != nil || sent {
		return err
	}

	w.set("Content-Type", desc.MediaType)
	w.set("Content-Length", strconv.FormatInt(desc.Size, 10))
	w.WriteHeader(http.StatusOK)

	return nil
}

// describeManifest sets the headers of GET and HEAD, and answers a client that has
// the manifest already.
func describeManifest(w *response, r *request, desc storage.Descriptor) (sent bool, err error) {
	same, err := notModified(r.Header, desc.Digest)
	if err != nil {
		return false, err
	}

	setDigest(w, desc.Digest)

	if same {
		w.WriteHeader(http.StatusNotModified)
	}

	return same, nil
}

// setDigest names what a response is about.
func setDigest(w *response, dgst digest.Digest) {
	w.set("Docker-Content-Digest", dgst.String())
	w.set("Etag", etagOf(dgst))
}

// put commits a manifest.
func (h manifestHandlers) put(w *response, r *request) error {
	put, err := parsePut(r)
	if err != nil {
		return err
	}

	if len(put.Tags) == 0 {
		if err := r.mayCreate(); err != nil {
			return err
		}

		if err := h.check(r, put.If); err != nil {
			return err
		}
	}

	release, err := h.memory.reserve(r.Request)
	if err != nil {
		return err
	}
	defer release()

	if put.Body, err = readManifest(r.Request); err != nil {
		return err
	}

	done, err := h.memory.turn(r.Request, put.Body)
	if err != nil {
		return err
	}
	defer done()

	desc, err := h.manifests.PutManifest(r.Context(), put)
	if err != nil {
		return fmt.Errorf("put manifest %s: %w", r.ref, err)
	}

	h.committed(w, r, desc, put.Tags)

	return nil
}

// committed answers a PUT.
func (h manifestHandlers) committed(w *response, r *request, desc storage.Descriptor, tags []storage.Tag) {
	setDigest(w, desc.Digest)
	w.Header().Set("Location", h.urls.manifest(r.repo, desc.Digest))

	if desc.Subject != "" {
		w.Header().Set("OCI-Subject", desc.Subject.String())
	}

	if r.ref.Tag == "" {
		for _, tag := range tags {
			w.Header().Add("OCI-Tag", string(tag))
		}
	}

	w.WriteHeader(http.StatusCreated)
}

// parsePut reads all of a PUT but its body.
func parsePut(r *request) (storage.ManifestPut, error) {
	mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	put := storage.ManifestPut{
		Repo: r.repo, Digest: r.ref.Digest, MediaType: strings.TrimSpace(mediaType), Who: r.user.Name,
	}

	var err error
	if put.If, err = parsePrecondition(r.Header); err != nil {
		return put, err
	}

	r.limit(&put.If)

	if r.ref.Tag != "" {
		put.Tags = []storage.Tag{r.ref.Tag}

		return put, nil
	}

	put.Tags, err = parseTags(r.query["tag"])

	return put, err
}

// parseTags reads the tags that a manifest pushed by digest is to have. Naming one
// twice sets it once.
func parseTags(names []string) ([]storage.Tag, error) {
	if len(names) > maxTags {
		return nil, fmt.Errorf("%w: %d, at most %d are taken", errTooManyTags, len(names), maxTags)
	}

	var tags []storage.Tag

	for _, name := range names {
		tag, err := storage.ParseTag(name)
		if err != nil {
			return nil, fmt.Errorf("%w: %q", errTagName, name)
		}

		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}

	return tags, nil
}

// tagName says that a tag cannot be pushed under its name. To other methods a tag
// that cannot be is one that is not.
func tagName(r *request, err error) error {
	if r.endpoint == endpointManifest && r.Method == http.MethodPut && errors.Is(err, storage.ErrTagInvalid) {
		return fmt.Errorf("%w: %w", errTagName, err)
	}

	return err
}

// delete deletes a tag, or a manifest with its tags.
func (h manifestHandlers) delete(w *response, r *request) error {
	cond, err := parsePrecondition(r.Header)
	if err != nil {
		return err
	}

	if r.ref.Tag == "" {
		if err := h.check(r, cond); err != nil {
			return err
		}

		cond = storage.Precondition{}
	}

	r.limit(&cond)

	if err := h.manifests.DeleteManifest(r.Context(), r.repo, r.ref, cond, r.user.Name); err != nil {
		return fmt.Errorf("delete manifest %s: %w", r.ref, err)
	}

	w.WriteHeader(http.StatusAccepted)

	return nil
}

// check evaluates a precondition where no tag is named: is the manifest there? That
// need not be one step with what follows, since a digest never names anything else.
func (h manifestHandlers) check(r *request, cond storage.Precondition) error {
	if unconditional(cond) {
		return nil
	}

	_, err := h.manifests.StatManifest(r.Context(), r.repo, r.ref)

	there := err == nil
	if !there && !errors.Is(err, storage.ErrManifestUnknown) && !errors.Is(err, storage.ErrRepoUnknown) {
		return fmt.Errorf("check manifest: %w", err)
	}

	if !holds(cond, r.ref.Digest, there) {
		return fmt.Errorf("%w for %s", storage.ErrPrecondition, r.ref)
	}

	return nil
}

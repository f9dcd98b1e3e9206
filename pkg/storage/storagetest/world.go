package storagetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
)

const (
	mediaTypeManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaTypeIndex    = "application/vnd.oci.image.index.v1+json"
	mediaTypeConfig   = "application/vnd.oci.image.config.v1+json"
	mediaTypeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

// World is a store with what tests of it say again and again. A method whose name
// has no error among its results fails the test.
type World struct {
	T      *testing.T
	Driver storage.Driver
	Store  *storage.Store

	again func() storage.Driver // opens the root of a test of restarts; nil elsewhere
}

// Image is what was pushed.
type Image struct {
	Digest digest.Digest
	Body   []byte
	Blobs  []digest.Digest // config, then layers
}

// Open opens a store; the test closes it at its end.
func Open(t *testing.T, open Opener) *World {
	t.Helper()

	driver, cache := open(t)

	return OpenOn(t, driver, cache, storage.Options{Log: zerolog.Nop(), LookAfter: time.Hour})
}

// OpenOn opens a store over a driver; the test closes it at its end.
func OpenOn(t *testing.T, driver storage.Driver, cache storage.Cache, opts storage.Options) *World {
	t.Helper()

	store, err := storage.Open(t.Context(), driver, cache, opts)
	if err != nil {
		t.Fatalf("open store: %v", err)
	}

	t.Cleanup(func() {
		if err := store.Close(context.Background()); err != nil {
			t.Errorf("close store: %v", err)
		}
	})

	return &World{T: t, Driver: driver, Store: store}
}

// Equal, True, NoError and Is check, and say what they checked when it fails.
func (w *World) Equal(got, want any, what string) {
	w.T.Helper()

	if got != want {
		w.T.Errorf("%s: got %s, want %s", what, shown(got), shown(want))
	}
}

// shown is a value in a message, cut if it is long.
func shown(v any) string { return fmt.Sprintf("%.200s", fmt.Sprint(v)) }

// Overwrite replaces the stored bytes of a blob behind the store's back.
func (w *World) Overwrite(repo storage.RepoName, dgst digest.Digest, content string) {
	w.T.Helper()

	info, err := w.Driver.Stat(w.T.Context(), storage.BlobKey(repo, dgst))
	w.NoError(err, "look for the blob")

	_, err = w.Driver.Put(w.T.Context(), info.Key, []byte(content))
	w.NoError(err, "overwrite the blob")
}

func (w *World) NotEqual(got, not any, what string) {
	w.T.Helper()

	if got == not {
		w.T.Errorf("%s: got %s", what, shown(got))
	}
}

func (w *World) True(ok bool, what string, context ...any) {
	w.T.Helper()

	if !ok {
		w.T.Errorf("%s: no (%v)", what, context)
	}
}

func (w *World) NoError(err error, what string) {
	w.T.Helper()

	if err != nil {
		w.T.Fatalf("%s: %v", what, err)
	}
}

func (w *World) Is(err, want error, what string) {
	w.T.Helper()

	if !errors.Is(err, want) {
		w.T.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

func (w *World) IsManifestError(err error, what string) {
	w.T.Helper()

	var invalid *storage.ManifestError

	w.True(errors.As(err, &invalid), what, err)
}

// Blob pushes a blob.
func (w *World) Blob(repo storage.RepoName, content string) digest.Digest {
	w.T.Helper()

	dgst, err := w.TryBlob(repo, content)
	w.NoError(err, "push a blob")

	return dgst
}

func (w *World) TryBlob(repo storage.RepoName, content string) (digest.Digest, error) {
	ctx := w.T.Context()
	dgst := digest.FromString(content)

	status, err := w.Store.StartUpload(ctx, repo, "")
	if err != nil {
		return dgst, err
	}

	chunk := storage.Chunk{Body: strings.NewReader(content), Offset: -1, Length: int64(len(content))}
	_, err = w.Store.FinishUpload(ctx, repo, status.ID, chunk, dgst, "")

	return dgst, err
}

// Push pushes an image: a config, the layers, and a manifest under a tag.
func (w *World) Push(repo storage.RepoName, tag string, layers ...string) Image {
	w.T.Helper()

	image, err := w.TryPush(repo, tag, layers...)
	w.NoError(err, "push "+string(repo)+":"+tag)

	return image
}

func (w *World) TryPush(repo storage.RepoName, tag string, layers ...string) (Image, error) {
	var blobs []digest.Digest

	for _, content := range append([]string{"{}"}, layers...) {
		dgst, err := w.TryBlob(repo, content)
		if err != nil {
			return Image{}, err
		}

		blobs = append(blobs, dgst)
	}

	body := manifestBody(blobs, append([]string{"{}"}, layers...), "", "", nil)
	descriptor, err := w.Put(storage.ManifestPut{Repo: repo, Tags: []storage.Tag{storage.Tag(tag)}, Body: body})

	return Image{Digest: descriptor.Digest, Body: body, Blobs: blobs}, err
}

// ImageBody makes a manifest of blobs that may not be there.
func (w *World) ImageBody(blobs ...digest.Digest) ([]byte, digest.Digest) {
	body := manifestBody(blobs, make([]string, len(blobs)), "", "", nil)

	return body, digest.FromBytes(body)
}

func manifestBody(
	blobs []digest.Digest, contents []string, artifactType string, subject digest.Digest, notes map[string]string,
) []byte {
	layers := []map[string]any{}
	for i, blob := range blobs[1:] {
		layers = append(layers, map[string]any{"mediaType": mediaTypeLayer, "digest": blob, "size": len(contents[i+1])})
	}

	manifest := map[string]any{
		"schemaVersion": 2, "mediaType": mediaTypeManifest, "layers": layers, "annotations": notes,
		"config": map[string]any{"mediaType": mediaTypeConfig, "digest": blobs[0], "size": len(contents[0])},
	}

	if subject != "" {
		manifest["artifactType"] = artifactType
		manifest["subject"] = map[string]any{"mediaType": mediaTypeManifest, "digest": subject, "size": 1}
	}

	return encode(manifest)
}

func encode(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}

	return body
}

func (w *World) Put(put storage.ManifestPut) (storage.Descriptor, error) {
	return w.Store.PutManifest(w.T.Context(), put)
}

// Tag gives an image one more tag.
func (w *World) Tag(repo storage.RepoName, image Image, tag string) {
	w.T.Helper()

	_, err := w.Put(storage.ManifestPut{Repo: repo, Tags: []storage.Tag{storage.Tag(tag)}, Body: image.Body})
	w.NoError(err, "tag "+tag)
}

// PutIndex pushes an index of manifests that the repository has.
func (w *World) PutIndex(repo storage.RepoName, tag string, children ...digest.Digest) digest.Digest {
	w.T.Helper()

	list := []storage.Descriptor{}
	for _, child := range children {
		list = append(list, w.MustGet(repo, child.String()).Descriptor)
	}

	body := encode(map[string]any{"schemaVersion": 2, "mediaType": mediaTypeIndex, "manifests": list})
	put := storage.ManifestPut{Repo: repo, Body: body}

	if tag != "" {
		put.Tags = []storage.Tag{storage.Tag(tag)}
	}

	descriptor, err := w.Put(put)
	w.NoError(err, "push an index")

	return descriptor.Digest
}

// Attach pushes a manifest with a subject.
func (w *World) Attach(repo storage.RepoName, subject digest.Digest, artifactType, note string) digest.Digest {
	w.T.Helper()

	config := w.Blob(repo, "{}")
	body := manifestBody([]digest.Digest{config}, []string{"{}"}, artifactType, subject, map[string]string{"note": note})
	descriptor, err := w.Put(storage.ManifestPut{Repo: repo, Digest: digest.FromBytes(body), Body: body})
	w.NoError(err, "attach")
	w.Equal(descriptor.Subject, subject, "the subject is noticed")

	return descriptor.Digest
}

// Get pulls a manifest, and says only whether that works.
func (w *World) Get(repo storage.RepoName, reference string) error {
	_, err := w.get(repo, reference)

	return err
}

func (w *World) MustGet(repo storage.RepoName, reference string) storage.Manifest {
	w.T.Helper()

	manifest, err := w.get(repo, reference)
	w.NoError(err, "pull "+reference)

	return manifest
}

func (w *World) get(repo storage.RepoName, reference string) (storage.Manifest, error) {
	ref, err := storage.ParseReference(reference)
	if err != nil {
		return storage.Manifest{}, err
	}

	manifest, err := w.Store.GetManifest(w.T.Context(), repo, ref)
	stat, statErr := w.Store.StatManifest(w.T.Context(), repo, ref)

	if err != nil && statErr == nil { // a push whose flush has failed may come to light at any moment
		manifest, err = w.Store.GetManifest(w.T.Context(), repo, ref)
	}

	if (err == nil) != (statErr == nil) || err == nil && stat.Digest != manifest.Digest {
		w.T.Errorf("GetManifest and StatManifest of %s differ: %v, %v", reference, err, statErr)
	}

	return manifest, err
}

// Pull reads a blob.
func (w *World) Pull(repo storage.RepoName, dgst digest.Digest) string {
	w.T.Helper()

	object, err := w.Store.OpenBlob(w.T.Context(), repo, dgst, storage.Whole)
	w.NoError(err, "pull "+dgst.String())

	return w.Read(object)
}

func (w *World) Read(object *storage.Object) string {
	w.T.Helper()

	data, err := io.ReadAll(object.Body)
	w.NoError(errors.Join(err, object.Close()), "read")

	return string(data)
}

func (w *World) Stat(repo storage.RepoName, dgst digest.Digest) error {
	_, err := w.Store.StatBlob(w.T.Context(), repo, dgst)

	return err
}

func (w *World) Delete(repo storage.RepoName, reference string, cond storage.Precondition) error {
	ref, err := storage.ParseReference(reference)
	if err != nil {
		return err
	}

	return w.Store.DeleteManifest(w.T.Context(), repo, ref, cond, "")
}

func (w *World) DeleteBlob(repo storage.RepoName, dgst digest.Digest) error {
	return w.Store.DeleteBlob(w.T.Context(), repo, dgst, "")
}

// Tags lists tags as one string; "..." at its end means that there are more.
func (w *World) Tags(repo storage.RepoName, after storage.Tag, n int) string {
	w.T.Helper()

	tags, more, err := w.Store.ListTags(w.T.Context(), repo, after, n)
	w.NoError(err, "list tags")

	return joined(tags, more)
}

func (w *World) Repos(after storage.RepoName, n int) string {
	w.T.Helper()

	repos, more, err := w.Store.ListRepos(w.T.Context(), after, n)
	w.NoError(err, "list repositories")

	return joined(repos, more)
}

func joined[S ~string](list []S, more bool) string {
	words := make([]string, 0, len(list))
	for _, word := range list {
		words = append(words, string(word))
	}

	if more {
		return strings.Join(words, " ") + " ..."
	}

	return strings.Join(words, " ")
}

// Referrers lists the digests of referrers.
func (w *World) Referrers(repo storage.RepoName, query storage.ReferrerQuery) string {
	w.T.Helper()

	if query.MaxBytes == 0 {
		query.MaxBytes = 4 << 20
	}

	page, more, err := w.Store.ListReferrers(w.T.Context(), repo, query)
	w.NoError(err, "list referrers")

	digests := []digest.Digest{}
	for _, descriptor := range page {
		digests = append(digests, descriptor.Digest)
	}

	return joined(digests, more)
}

func (w *World) Start(repo storage.RepoName) string {
	w.T.Helper()

	status, err := w.Store.StartUpload(w.T.Context(), repo, "")
	w.NoError(err, "start an upload")

	return status.ID
}

func (w *World) Append(repo storage.RepoName, id string, offset int64, content string) {
	w.T.Helper()

	chunk := storage.Chunk{Body: strings.NewReader(content), Offset: offset, Length: int64(len(content))}
	_, err := w.Store.AppendUpload(w.T.Context(), repo, id, chunk)
	w.NoError(err, "append")
}

func (w *World) Finish(repo storage.RepoName, id string, chunk storage.Chunk, dgst digest.Digest) (int64, error) {
	return w.Store.FinishUpload(w.T.Context(), repo, id, chunk, dgst, "")
}

func (w *World) SizeOf(repo storage.RepoName, id string) int64 {
	w.T.Helper()

	status, err := w.Store.StatUpload(w.T.Context(), repo, id)
	w.NoError(err, "status of an upload")

	return status.Size
}

func (w *World) IsUnknown(repo storage.RepoName, id, what string) {
	w.T.Helper()

	_, err := w.Store.StatUpload(w.T.Context(), repo, id)
	w.Is(err, storage.ErrUploadUnknown, what)
}

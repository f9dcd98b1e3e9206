package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// bare is no registry, though a client may think so: it does the least that a request takes.
// Manifests and sizes of blobs are answered from memory, blobs by http.ServeFile, and what is
// pushed is read, hashed and written. So it is a limit for registries that use net/http.
type bare struct {
	dir  string
	sync bool // flush blobs before the answer

	mu        sync.RWMutex // guards what follows
	last      int
	uploads   map[string]*bareUpload
	blobs     map[string]string // sizes, by digest
	manifests map[string]*bareManifest
}

type bareUpload struct {
	file *os.File
	hash hash.Hash
}

type bareManifest struct {
	body                    []byte
	mediaType, digest, size string
}

// serveBare serves at addr until ctx ends.
func serveBare(ctx context.Context, addr, dir string, sync bool) error {
	b := &bare{
		dir: dir, sync: sync,
		uploads: map[string]*bareUpload{}, blobs: map[string]string{}, manifests: map[string]*bareManifest{},
	}

	server := &http.Server{Addr: addr, Handler: b, ReadHeaderTimeout: time.Minute}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()

	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}

	return nil
}

func (b *bare) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, last := cutLast(r.URL.Path)

	switch _, room := cutLast(rest); {
	case r.URL.Path == "/v2/":
	case r.Method == http.MethodPost: // .../blobs/uploads/
		b.start(w, r)
	case room == "uploads":
		if err := b.upload(w, r, last); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	case room == "blobs":
		b.blob(w, r, last)
	case r.Method == http.MethodPut: // .../manifests/<reference>
		b.putManifest(w, r)
	default:
		b.manifest(w, r)
	}
}

func cutLast(path string) (before, last string) {
	slash := strings.LastIndexByte(path, '/')

	return path[:max(slash, 0)], path[slash+1:]
}

func (b *bare) start(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()

	b.last++
	id := strconv.Itoa(b.last)
	b.uploads[id] = &bareUpload{hash: sha256.New()}

	w.Header().Set("Location", strings.TrimSuffix(r.URL.Path, "/")+"/"+id)
	w.WriteHeader(http.StatusAccepted)
}

// upload takes bytes, and with PUT the last of them.
func (b *bare) upload(w http.ResponseWriter, r *http.Request, id string) (err error) {
	b.mu.RLock()
	up := b.uploads[id]
	b.mu.RUnlock()

	path := filepath.Join(b.dir, "upload-"+id)

	if up.file == nil {
		if up.file, err = os.Create(path); err != nil {
			return err
		}
	}

	if _, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(up.file, up.hash)}, r.Body, make([]byte, 1<<20)); err != nil {
		return err
	}

	if r.Method == http.MethodPatch {
		w.Header().Set("Location", r.URL.Path)
		w.WriteHeader(http.StatusAccepted)

		return nil
	}

	dgst := digest.NewDigest(digest.SHA256, up.hash).String()
	if want := r.URL.Query().Get("digest"); want != dgst {
		return fmt.Errorf("the bytes are %s, not %s", dgst, want)
	}

	return b.keep(w, up, path, dgst)
}

func (b *bare) keep(w http.ResponseWriter, up *bareUpload, path, dgst string) error {
	info, err := up.file.Stat()
	if err != nil {
		return err
	}

	if b.sync {
		err = up.file.Sync()
	}

	if err := errors.Join(err, up.file.Close(), os.Rename(path, b.path(dgst))); err != nil {
		return err
	}

	b.mu.Lock()
	defer b.mu.Unlock()

	b.blobs[dgst] = strconv.FormatInt(info.Size(), 10)

	w.WriteHeader(http.StatusCreated)

	return nil
}

func (b *bare) path(dgst string) string { return filepath.Join(b.dir, filepath.Base(dgst)) }

func (b *bare) blob(w http.ResponseWriter, r *http.Request, dgst string) {
	b.mu.RLock()
	size, ok := b.blobs[dgst]
	b.mu.RUnlock()

	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodHead:
		header := w.Header()
		header.Set("Content-Type", "application/octet-stream")
		header.Set("Content-Length", size)
		header.Set("Docker-Content-Digest", dgst)
	default:
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeFile(w, r, b.path(dgst))
	}
}

func (b *bare) putManifest(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)

		return
	}

	b.mu.Lock()
	defer b.mu.Unlock()

	b.manifests[r.URL.Path] = &bareManifest{
		body, r.Header.Get("Content-Type"), digest.FromBytes(body).String(), strconv.Itoa(len(body)),
	}

	w.WriteHeader(http.StatusCreated)
}

func (b *bare) manifest(w http.ResponseWriter, r *http.Request) {
	b.mu.RLock()
	found := b.manifests[r.URL.Path]
	b.mu.RUnlock()

	if found == nil {
		w.WriteHeader(http.StatusNotFound)

		return
	}

	header := w.Header()
	header.Set("Content-Type", found.mediaType)
	header.Set("Content-Length", found.size)
	header.Set("Docker-Content-Digest", found.digest)

	if r.Method == http.MethodGet {
		_, _ = w.Write(found.body) // the client is there, or sees it
	}
}

//go:build remote

package s3_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// TestIndexPushedElsewhere: a replica that has looked at the repository a moment ago gets
// an index of a manifest that was pushed to another one since.
func TestIndexPushedElsewhere(t *testing.T) {
	b := newBench(t)
	r := &requestRun{bench: b, opts: b.options()}
	one, two := r.replica(t), r.replica(t)

	one.Push("a", "old", "x")
	two.NoError(two.Get("a", "old"), "pull from the other")

	image := one.Push("a", "amd64", "y")

	body, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
		"manifests": []any{map[string]any{
			"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": image.Digest, "size": len(image.Body),
		}},
	})
	two.NoError(err, "encode")

	_, err = two.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"multi"}, Body: body})
	two.NoError(err, "push an index to the other")
}

// TestToldOfWhatIsSaved: a client that asks how far its upload is, while its request hangs,
// can go on at another replica from there.
func TestToldOfWhatIsSaved(t *testing.T) {
	b := newBench(t)
	r := &requestRun{bench: b, opts: b.options()}
	one, two := r.replica(t), r.replica(t)
	id := one.Start("a")

	chunk := storage.Chunk{Body: bytes.NewReader(someBytes(1, 6<<20)), Length: -1, Offset: -1, Seen: 0}
	saved, err := one.Store.AppendUpload(t.Context(), "a", id, chunk)
	one.NoError(err, "first chunk")

	hanging, client := io.Pipe()
	ended := make(chan struct{})

	go func() {
		defer close(ended)

		_, _ = one.Store.AppendUpload(t.Context(), "a", id, storage.Chunk{Body: hanging, Length: -1, Offset: -1, Seen: saved.Size})
	}()

	_, err = client.Write(someBytes(2, 1<<20))
	one.NoError(err, "send some of the second")

	told, err := one.Store.StatUpload(t.Context(), "a", id)
	one.NoError(err, "ask")

	_, err = two.Store.AppendUpload(t.Context(), "a", id, storage.Chunk{
		Body: bytes.NewReader([]byte("x")), Length: 1, Offset: told.Size, Seen: told.Size,
	})
	two.NoError(err, "go on at the other")

	one.NoError(client.Close(), "hang up")
	<-ended
}

// TestUnknownLengthOnce: a blob whose length the client does not say is kept once, too.
func TestUnknownLengthOnce(t *testing.T) {
	b := newBench(t)
	opts := b.options()
	opts.Dedupe = true
	w := (&requestRun{bench: b, opts: opts}).replica(t)

	layer := someBytes(3, 12<<20)
	dgst := digest.FromBytes(layer)

	for range 3 {
		id := w.Start("a")
		body := io.MultiReader(bytes.NewReader(layer[:1<<20]), slowly{bytes.NewReader(layer[1<<20:])})
		_, err := w.Finish("a", id, storage.Chunk{Body: body, Length: -1, Offset: -1, Seen: 0}, dgst)
		w.NoError(err, "push")
	}

	sizes, err := mustOpen(t, opts).Sizes(t.Context())
	w.NoError(err, "list the bucket")

	large := 0

	for _, size := range sizes {
		if size > 1<<20 {
			large++
		}
	}

	w.Equal(large, 1, "large objects after three pushes of one blob")
}

// slowly is a body that does not come all at once.
type slowly struct{ io.Reader }

func (s slowly) Read(p []byte) (int, error) {
	time.Sleep(time.Millisecond)

	return s.Reader.Read(p)
}

// TestResumedInLaterGeneration: an upload that another replica has begun, into a generation that
// this one has not heard of, is a blob there, and leaves what others have put there meanwhile.
func TestResumedInLaterGeneration(t *testing.T) {
	b := newBench(t)

	for name, meanwhile := range map[string]func(p *pool, layer string){
		"alone":       func(*pool, string) {},
		"another":     func(p *pool, layer string) { p.fresh().Blob("b", layer) },
		"a later one": func(p *pool, layer string) { p.write(layer, "tombstone", `{"format":1,"gen":2,"token":"deleter"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, b)
			layer := string(someBytes(4, 12<<20))
			dgst := digest.FromString(layer)
			p.write(layer, "tombstone", `{"format":1,"gen":1,"token":"deleter"}`)

			id := p.Start("a")
			broken := io.MultiReader(strings.NewReader(layer[:11<<20]), iotest.ErrReader(io.ErrUnexpectedEOF))
			_, err := p.Finish("a", id, storage.Chunk{Body: broken, Length: int64(len(layer)), Offset: -1, Seen: 0}, dgst)
			p.Is(err, io.ErrUnexpectedEOF, "a push that breaks off")

			kept := p.SizeOf("a", id)
			meanwhile(p, layer)

			other := p.fresh()
			rest := storage.Chunk{Body: strings.NewReader(layer[kept:]), Length: int64(len(layer)) - kept, Offset: kept, Seen: kept}
			_, err = other.Finish("a", id, rest, dgst)
			other.NoError(err, "the rest, at another replica")

			for _, repo := range []storage.RepoName{"a", "b"} {
				if reader := p.fresh(); repo == "a" || name == "another" {
					reader.True(reader.Pull(repo, dgst) == layer, "the blob of", repo)
				}
			}
		})
	}
}

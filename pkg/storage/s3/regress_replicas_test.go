//go:build remote

package s3_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/internal/faultproxy"
	"zotregistry.io/zot/pkg/storage"
)

func someBytes(seed uint64, n int) []byte {
	p := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = r.Read(p)

	return p
}

// TestCheckpointNamedWithoutAnswer: the head that names a checkpoint is written, the answer
// is lost, and another replica appends before the writer looks.
func TestCheckpointNamedWithoutAnswer(t *testing.T) {
	b := newBench(t)
	opts := b.proxied()
	one := open(t, opts)
	direct := opts
	direct.Endpoint = b.server.Endpoint
	two := open(t, direct)

	rec := func(seq uint64) []storage.Record {
		return []storage.Record{{Seq: seq, Time: time.Now(), Ops: []storage.Op{{Kind: storage.OpDeleteTag, Tag: "x"}}}}
	}
	must := func(err error) {
		t.Helper()

		if err != nil {
			t.Fatal(err)
		}
	}

	log, err := one.OpenLog(t.Context(), "a/")
	must(err)
	_, err = log.Load(t.Context())
	must(err)
	must(log.Append(t.Context(), rec(1)))

	other, err := two.OpenLog(t.Context(), "a/")
	must(err)
	_, err = other.Load(t.Context())
	must(err)

	var lost atomic.Bool

	cut := b.proxy.Inject(faultproxy.Rule{Kind: faultproxy.ConnReset, After: true, Times: 1, Match: func(r faultproxy.Request) bool {
		hit := r.Operation == faultproxy.PutObject && strings.HasSuffix(r.Key, ".zot/head")
		if hit {
			lost.Store(true)
		}

		return hit
	}})
	hold := b.proxy.Inject(faultproxy.Rule{Kind: faultproxy.Hold, Times: 1, Match: func(r faultproxy.Request) bool {
		return lost.Load() && r.Operation == faultproxy.GetObject && strings.HasSuffix(r.Key, ".zot/head")
	}})

	done := make(chan error, 1)
	go func() {
		done <- log.Checkpoint(t.Context(), 1, func(w io.Writer) error {
			_, err := io.WriteString(w, "state 1")

			return err
		}, nil)
	}()

	must(cut.Await(t.Context(), 1))
	must(hold.Await(t.Context(), 1))
	_, err = other.Refresh(t.Context(), 1, time.Now())
	must(err)
	must(other.Append(t.Context(), rec(2)))
	hold.Release()
	must(<-done)

	third := open(t, direct)
	again, err := third.OpenLog(t.Context(), "a/")
	must(err)

	loaded, err := again.Load(t.Context())
	if err != nil {
		t.Fatalf("the repository cannot be loaded any more: %v", err)
	}

	must(loaded.Checkpoint.Close())
}

// TestTailOfAnother: two replicas take bytes of one upload at once. The second to save its
// state is told so, and takes nothing back.
func TestTailOfAnother(t *testing.T) {
	b := newBench(t)
	r := &requestRun{bench: b, opts: b.proxied()}
	one, two := r.replica(t), r.replica(t)

	good, evil := someBytes(1, 7<<20), someBytes(2, 7<<20)
	id := one.Start("a")
	slow, send := io.Pipe()
	done := make(chan error, 1)

	go func() {
		_, err := two.Store.AppendUpload(t.Context(), "a", id, storage.Chunk{Body: slow, Length: -1, Offset: -1, Seen: 0})
		done <- err
	}()

	if _, err := send.Write(evil[:1]); err != nil {
		t.Fatal(err)
	}

	_, err := one.Store.AppendUpload(t.Context(), "a", id, storage.Chunk{Body: bytes.NewReader(good), Length: -1, Offset: -1, Seen: 0})
	one.NoError(err, "append")

	if _, err := send.Write(evil[1:]); err != nil {
		t.Fatal(err)
	}

	one.NoError(send.Close(), "end of the body")
	one.Is(<-done, storage.ErrUploadBusy, "append of the other")

	dgst := digest.FromBytes(good)
	_, err = r.replica(t).Finish("a", id, storage.Chunk{Seen: int64(len(good))}, dgst)
	one.NoError(err, "finish")

	third := r.replica(t)
	object, err := third.Store.OpenBlob(t.Context(), "a", dgst, storage.Whole)
	one.NoError(err, "open")
	defer object.Close()

	got, err := io.ReadAll(object.Body)
	one.NoError(err, "read")

	if digest.FromBytes(got) != dgst {
		t.Errorf("201 for %s, but its bytes are %s", dgst, digest.FromBytes(got))
	}
}

// TestAssembledByAnother: one replica assembles the parts with other last bytes, and is
// still reading them, when another one finishes the upload.
func TestAssembledByAnother(t *testing.T) {
	b := newBench(t)
	r := &requestRun{bench: b, opts: b.proxied()}
	one := r.replica(t)
	r2 := &requestRun{bench: b, opts: r.opts}
	r2.opts.Endpoint = b.server.Endpoint
	two := r2.replica(t)

	begin, good, evil := someBytes(1, 6<<20), someBytes(2, 100<<10), someBytes(3, 100<<10)
	id := one.Start("a")
	_, err := one.Store.AppendUpload(t.Context(), "a", id, storage.Chunk{Body: bytes.NewReader(begin), Length: -1, Offset: -1, Seen: 0})
	one.NoError(err, "append")

	hold := b.proxy.Inject(faultproxy.Rule{Kind: faultproxy.Hold, Times: 1, Match: func(r faultproxy.Request) bool {
		return r.Operation == faultproxy.GetObject && strings.HasSuffix(r.Key, ".data")
	}})
	done := make(chan error, 1)

	go func() {
		_, err := one.Store.FinishUpload(t.Context(), "a", id,
			storage.Chunk{Body: bytes.NewReader(evil), Length: int64(len(evil)), Offset: -1, Seen: int64(len(begin))},
			digest.SHA512.FromString("whatever"), "")
		done <- err
	}()

	one.NoError(hold.Await(t.Context(), 1), "wait")

	whole := append(bytes.Clone(begin), good...)
	dgst := digest.FromBytes(whole)
	_, err = two.Store.FinishUpload(t.Context(), "a", id,
		storage.Chunk{Body: bytes.NewReader(good), Length: int64(len(good)), Offset: -1, Seen: int64(len(begin))}, dgst, "")
	t.Log("finish: ", err)
	hold.Release()
	t.Log("the other: ", <-done)

	// A victim pushes the right bytes to a repository of its own.
	if _, err := two.TryBlob("victim", string(whole)); err != nil {
		t.Log("victim: ", err)
	}

	third := r2.replica(t)
	object, err := third.Store.OpenBlob(t.Context(), "victim", dgst, storage.Whole)
	if err != nil {
		t.Fatal("not there: ", err)
	}
	defer object.Close()

	got, err := io.ReadAll(object.Body)
	one.NoError(err, "read")

	if digest.FromBytes(got) != dgst {
		t.Errorf("%s has the bytes of %s, for all repositories", dgst, digest.FromBytes(got))
	}
}

// TestManifestDeletedWithItsBytes: another replica has deleted a manifest, and its bytes
// as a blob, a moment ago; a push of the manifest brings the bytes back.
func TestManifestDeletedWithItsBytes(t *testing.T) {
	b := newBench(t)
	r := &requestRun{bench: b, opts: b.options()}
	one, two := r.replica(t), r.replica(t)

	image := one.Push("a", "v1", "layer")
	two.NoError(two.Get("a", "v1"), "pull")

	one.NoError(one.Delete("a", image.Digest.String(), storage.Precondition{}), "delete manifest")
	one.NoError(one.DeleteBlob("a", image.Digest), "delete its bytes")

	_, err := two.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"v1"}, Body: image.Body})
	two.NoError(err, "push it again")

	three := r.replica(t)
	three.NoError(three.Get("a", "v1"), "pull what was pushed")
}

// TestManifestPushedAgainHeals: a replica that remembers a manifest writes it anew where the
// bucket has lost it, or has it damaged, once it is pushed again.
func TestManifestPushedAgainHeals(t *testing.T) {
	b := newBench(t)

	for name, spoil := range map[string]func(h *heap, key string){
		"lost": func(h *heap, key string) {
			_, err := b.server.Client().DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: aws.String(bucketName), Key: &key})
			h.NoError(err, "delete")
		},
		"short": func(h *heap, key string) { b.putObject(h.T, key, "{") },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHeap(t, b)
			image := h.Push("a", "t", "layer")
			spoiled := 0

			for _, key := range h.keys() {
				if strings.Contains(key, image.Digest.Encoded()+"/in/") {
					spoil(h, h.opts.Prefix+"/"+key)
					spoiled++
				}
			}

			h.Equal(spoiled, 1, "objects of the manifest")

			_, err := h.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"t"}, Body: image.Body})
			h.NoError(err, "push again")
			checkImage(h.fresh().World, "a", h.fresh().MustGet("a", "t"))
		})
	}
}

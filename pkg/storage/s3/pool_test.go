//go:build remote

package s3_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"
	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/internal/faultproxy"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/s3"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// pool is a prefix in which a test plays the deleter.
type pool struct {
	*storagetest.World

	bench *bench
	opts  s3.Options
}

func newPool(t *testing.T, b *bench) *pool {
	t.Helper()

	p := &pool{bench: b, opts: b.proxied()}
	p.World = p.replica(t, true)

	return p
}

func (p *pool) replica(t *testing.T, dedupe bool) *storagetest.World {
	t.Helper()

	opts := p.opts
	opts.Dedupe = dedupe

	bucket := mustOpen(t, opts)

	return storagetest.OpenOn(t, bucket, storage.NoCache{}, storage.Options{Log: zerolog.Nop()})
}

// fresh is a replica that knows nothing yet.
func (p *pool) fresh() *storagetest.World { return p.replica(p.T, true) }

func (p *pool) dir(content string) string {
	return p.opts.Prefix + "/_blobs/sha256/" + digest.FromString(content).Encoded()[:2] + "/" + digest.FromString(content).Encoded() + "/"
}

func (p *pool) write(content, name, body string) { p.bench.putObject(p.T, p.dir(content)+name, body) }

func (p *pool) remove(content, name string) {
	p.T.Helper()

	_, err := p.bench.server.Client().DeleteObject(p.T.Context(), &awss3.DeleteObjectInput{
		Bucket: aws.String(bucketName), Key: aws.String(p.dir(content) + name),
	})
	p.NoError(err, "delete")
}

// read returns the bytes of an object, "" if there is none.
func (p *pool) read(content, name string) string {
	p.T.Helper()

	out, err := p.bench.server.Client().GetObject(p.T.Context(), &awss3.GetObjectInput{
		Bucket: aws.String(bucketName), Key: aws.String(p.dir(content) + name),
	})
	if err != nil {
		return ""
	}
	defer out.Body.Close()

	data, err := io.ReadAll(out.Body)
	p.NoError(err, "read")

	return string(data)
}

// stone is a tombstone.
type stone struct {
	Format    int    `json:"format"`
	Gen       int    `json:"gen"`
	Condemned bool   `json:"condemned,omitempty"`
	Token     string `json:"token"`
}

func (p *pool) condemn(content string, gen int) {
	p.write(content, "tombstone", fmt.Sprintf(`{"format":1,"gen":%d,"condemned":true,"token":"deleter"}`, gen))
}

func (p *pool) stone(content string) stone {
	p.T.Helper()

	var s stone

	p.NoError(json.Unmarshal([]byte(p.read(content, "tombstone")), &s), "tombstone")

	return s
}

// bury ends the first generation of a blob, as a deleter would.
func (p *pool) bury(content string) {
	p.write(content, "tombstone", `{"format":1,"gen":1,"token":"deleter"}`)
	p.remove(content, "data.0")
}

// What is small is no part of the pool.
var (
	shared       = strings.Repeat("bytes that repositories share ", 4000)
	other        = strings.Repeat("other bytes ", 10_000)
	sharedDigest = digest.FromString(shared)
)

func TestTombstones(t *testing.T) {
	b := newBench(t)

	Convey("Of a blob that a deleter has condemned", t, func() {
		p := newPool(t, b)
		p.Blob("a", shared)
		p.condemn(shared, 0)

		live := func() {
			s := p.stone(shared)
			So(s.Condemned, ShouldBeFalse)
			So(s.Gen, ShouldEqual, 0)
			So(s.Token, ShouldNotEqual, "deleter")
			So(p.fresh().Pull("a", sharedDigest), ShouldEqual, shared)
		}

		Convey("a push to another repository makes it live", func() {
			p.fresh().Blob("b", shared)
			live()
		})

		Convey("a push to the same one does", func() {
			p.fresh().Blob("a", shared)
			live()
		})

		Convey("a mount does", func() {
			So(p.fresh().Store.MountBlob(t.Context(), "b", sharedDigest, "a", ""), ShouldBeNil)
			live()
		})

		Convey("a manifest that names it does, before its commit", func() {
			w := p.fresh()
			w.Blob("a", "{}")

			image := manifestBody(shared)
			_, err := w.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"t"}, Body: image})
			So(err, ShouldBeNil)
			live()
		})

		Convey("an answer that it is there does: it may be counted on for a while", func() {
			So(p.fresh().Stat("a", sharedDigest), ShouldBeNil)
			live()
		})

		Convey("and that changes under a writer's hands, the writer looks again", func() {
			fault := b.proxy.Inject(faultproxy.Rule{Kind: faultproxy.Hold, Times: 1, Match: func(r faultproxy.Request) bool {
				return r.Operation == faultproxy.PutObject && strings.HasSuffix(r.Key, "/tombstone")
			}})

			var group sync.WaitGroup

			w := p.fresh()

			group.Go(func() { w.Blob("b", shared) })
			So(fault.Await(t.Context(), 1), ShouldBeNil)
			p.bury(shared) // the deleter was first
			fault.Release()
			group.Wait()

			So(p.stone(shared), ShouldResemble, stone{Format: 1, Gen: 1, Token: "deleter"})
			So(p.read(shared, "data.1"), ShouldEqual, shared)
			So(p.fresh().Pull("b", sharedDigest), ShouldEqual, shared)
		})

		Convey("several writers at once make it live once", func() {
			var group sync.WaitGroup

			for i := range 6 {
				w := p.fresh()

				group.Go(func() { w.Blob(storage.RepoName(fmt.Sprint("r", i)), shared) })
			}

			group.Wait()
			live()
		})
	})

	Convey("Of a blob whose bytes were deleted once", t, func() {
		p := newPool(t, b)
		p.Push("a", "t", shared)
		p.bury(shared)

		Convey("nothing is left: a membership without bytes is no blob", func() {
			w := p.fresh()
			_, err := w.Store.OpenBlob(t.Context(), "a", sharedDigest, storage.Whole)
			So(errors.Is(err, storage.ErrBlobUnknown), ShouldBeTrue)

			p.Blob("c", other)
			p.write(other, "in/d/membership", `{"size":5}`)
			p.remove(other, "data.0")
			So(errors.Is(p.fresh().Stat("d", digest.FromString(other)), storage.ErrBlobUnknown), ShouldBeTrue)
			So(errors.Is(p.fresh().Store.MountBlob(t.Context(), "e", digest.FromString(other), "d", ""), storage.ErrBlobUnknown), ShouldBeTrue)
		})

		Convey("a push writes the next generation, and all find it", func() {
			p.fresh().Blob("b", shared)
			So(p.read(shared, "data.1"), ShouldEqual, shared)

			w := p.fresh()
			So(w.Pull("b", sharedDigest), ShouldEqual, shared)
			So(w.Pull("a", sharedDigest), ShouldEqual, shared) // the record names the first one
			So(w.Stat("a", sharedDigest), ShouldBeNil)

			Convey("also what is more than a part", func() {
				p.entomb(bigLayer)
				finished(w, "b", bigLayer)
				So(p.read(bigLayer, "data.1"), ShouldEqual, bigLayer)
				So(p.fresh().Pull("b", digest.FromString(bigLayer)), ShouldEqual, bigLayer)
			})

			Convey("a mount by a replica that has not seen it shares that", func() {
				w := p.fresh()
				So(w.Store.MountBlob(t.Context(), "m", sharedDigest, "b", ""), ShouldBeNil)
				So(p.fresh().Pull("m", sharedDigest), ShouldEqual, shared)
			})

			Convey("a mount from a manifest's record does", func() {
				p.fresh().Push("b", "t", shared)

				for _, from := range []storage.RepoName{"a", "b"} {
					So(p.fresh().Store.MountBlob(t.Context(), "m", sharedDigest, from, ""), ShouldBeNil)
					So(p.fresh().Pull("m", sharedDigest), ShouldEqual, shared)
				}
			})

			Convey("a replica without dedupe reads and mounts it", func() {
				w := p.replica(t, false)
				So(w.Pull("b", sharedDigest), ShouldEqual, shared)
				So(w.Store.MountBlob(t.Context(), "m", sharedDigest, "b", ""), ShouldBeNil)
				So(p.fresh().Pull("m", sharedDigest), ShouldEqual, shared)
			})
		})
	})

	Convey("A tombstone of a format that is not known", t, func() {
		p := newPool(t, b)
		p.Blob("a", shared)
		p.write(shared, "tombstone", `{"format":2,"gen":"new"}`)

		Convey("is refused, and nothing is made of it", func() {
			w := p.fresh()
			So(errors.Is(w.Stat("a", sharedDigest), storage.ErrFormat), ShouldBeTrue)

			_, err := w.TryBlob("b", shared)
			So(errors.Is(err, storage.ErrFormat), ShouldBeTrue)
			So(errors.Is(w.Store.MountBlob(t.Context(), "c", sharedDigest, "a", ""), storage.ErrFormat), ShouldBeTrue)
			So(p.read(shared, "tombstone"), ShouldEqual, `{"format":2,"gen":"new"}`)
		})
	})
}

// entomb says of a blob that it was deleted once.
func (p *pool) entomb(content string) {
	p.write(content, "tombstone", `{"format":1,"gen":1,"token":"deleter"}`)
}

// finished pushes a blob in one request that says how much comes.
func finished(w *storagetest.World, repo storage.RepoName, content string) {
	w.T.Helper()

	status, err := w.Store.StartUpload(w.T.Context(), repo, "")
	w.NoError(err, "start")

	chunk := storage.Chunk{Body: strings.NewReader(content), Offset: -1, Length: int64(len(content))}
	_, err = w.Store.FinishUpload(w.T.Context(), repo, status.ID, chunk, digest.FromString(content), "")
	w.NoError(err, "finish")
}

// manifestBody is a manifest of a config {} and a layer.
func manifestBody(layer string) []byte {
	body, _ := json.Marshal(map[string]any{ //nolint:errchkjson // strings
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest.FromString("{}"), "size": 2},
		"layers": []any{map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest.FromString(layer), "size": len(layer)}},
	})

	return body
}

// TestHeal damages blobs of more than a part, which are not sent like small ones.
func TestHeal(t *testing.T) {
	b := newBench(t)

	for name, damaged := range map[string]string{
		"cut":     bigLayer[:1000],
		"flipped": "!" + bigLayer[1:],
	} {
		for _, dedupe := range []bool{true, false} {
			for how, push := range map[string]func(*storagetest.World){
				"PUT":   func(w *storagetest.World) { finished(w, "a", bigLayer) },
				"PATCH": func(w *storagetest.World) { w.NoError(patches(bigLayer)(&requestRun{World: w}), "push") },
			} {
				t.Run(fmt.Sprint(name, ", dedupe ", dedupe, ", ", how), func(t *testing.T) {
					p := newPool(t, b)
					w := p.replica(t, dedupe)
					w.Push("a", "t", bigLayer)
					w.Overwrite("a", digest.FromString(bigLayer), damaged)
					notice(w, bigLayer)
					push(w)
					w.Equal(w.Pull("a", digest.FromString(bigLayer)), bigLayer, "the layer, here")

					w = p.replica(t, dedupe)
					w.Equal(w.Pull("a", digest.FromString(bigLayer)), bigLayer, "the layer, elsewhere")
				})
			}
		}
	}
}

// notice reads a damaged blob, as a client would; a flipped byte is noticed by the push
// of a manifest that gives it another size.
func notice(w *storagetest.World, content string) {
	w.T.Helper()

	object, err := w.Store.OpenBlob(w.T.Context(), "a", digest.FromString(content), storage.Whole)
	if err == nil {
		w.NoError(object.Close(), "close")

		body := strings.Replace(string(manifestBody(content)), fmt.Sprint(len(content)), fmt.Sprint(len(content)+1), 1)
		_, err = w.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"u"}, Body: []byte(body)})
	}

	if err == nil {
		w.T.Error("damage was not noticed")
	}

	w.Is(w.Stat("a", digest.FromString(content)), storage.ErrBlobUnknown, "a client is asked to push it")
}

// TestOtherAlgorithm pushes a blob whose digest is of another algorithm than its first
// bytes were hashed with.
func TestOtherAlgorithm(t *testing.T) {
	p := newPool(t, newBench(t))
	want := digest.SHA512.FromString("head" + bigLayer)

	id := p.Start("a")
	p.Append("a", id, 0, "head")

	_, err := p.Finish("a", id, storage.Chunk{Body: strings.NewReader(bigLayer), Offset: 4, Length: int64(len(bigLayer)), Seen: 4}, want)
	p.NoError(err, "finish")
	p.Equal(p.Pull("a", want), "head"+bigLayer, "the blob")
}

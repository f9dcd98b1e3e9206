//go:build remote

package s3_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/internal/faultproxy"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/s3"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// counts says how many requests of each kind there are. List, head and get are what a
// provider bills apart from put, which is all that writes.
type counts struct{ put, get, head, list, del int }

func (c counts) String() string {
	return fmt.Sprintf("%d PUT, %d GET, %d HEAD, %d LIST, %d DELETE", c.put, c.get, c.head, c.list, c.del)
}

// within says whether no kind has more than in limit.
func (c counts) within(limit counts) bool {
	return c.put <= limit.put && c.get <= limit.get && c.head <= limit.head && c.list <= limit.list && c.del <= limit.del
}

func countsOf(requests map[faultproxy.Operation]int) counts {
	var c counts

	for operation, n := range requests {
		switch operation {
		case faultproxy.GetObject:
			c.get += n
		case faultproxy.HeadObject:
			c.head += n
		case faultproxy.ListObjectsV2, faultproxy.ListMultipartUploads:
			c.list += n
		case faultproxy.DeleteObject, faultproxy.AbortMultipartUpload:
			c.del += n
		default:
			c.put += n
		}
	}

	return c
}

// countRun is a replica that is warm: it has read the head a moment ago.
type countRun struct {
	*storagetest.World

	bench *bench
	opts  s3.Options
	image storagetest.Image // at a:t
}

// countCase is something that a client does, and what that may cost.
type countCase struct {
	name   string
	before func(r *countRun) // not counted; nil = nothing
	do     func(r *countRun)
	limit  counts
	exact  bool // limit is not only a bound
}

// TestRequestCounts counts the requests of what clients do. docs/scale-out.md has the
// table.
func TestRequestCounts(t *testing.T) {
	b := newBench(t)

	for _, variant := range []struct {
		name   string
		dedupe bool
		cache  func() storage.Cache
	}{
		{"dedupe, no cache", true, func() storage.Cache { return storage.NoCache{} }},
		{"dedupe, cache", true, func() storage.Cache { return storagetest.NewMapCache() }},
		{"no dedupe", false, func() storage.Cache { return storage.NoCache{} }},
	} {
		t.Run(variant.name, func(t *testing.T) {
			for _, c := range countCases(variant.dedupe) {
				t.Run(c.name, func(t *testing.T) {
					opts := b.proxied()
					opts.Dedupe, opts.PartSize = variant.dedupe, 0
					newCountRun(t, b, opts, variant.cache()).count(c)
				})
			}
		})
	}
}

func newCountRun(t *testing.T, b *bench, opts s3.Options, cache storage.Cache) *countRun {
	t.Helper()

	bucket := mustOpen(t, opts)

	r := &countRun{bench: b, opts: opts}
	r.World = storagetest.OpenOn(t, bucket, cache, storage.Options{Log: zerolog.Nop()})
	r.image = r.Push("a", "t", "layer")

	return r
}

func (r *countRun) count(c countCase) {
	r.T.Helper()

	if c.before != nil {
		c.before(r)
	}

	r.bench.proxy.Reset()
	c.do(r)

	got := countsOf(r.bench.proxy.Counts())
	r.T.Logf("| %s | %s |", c.name, got)

	if c.exact && got != c.limit || !got.within(c.limit) {
		r.T.Errorf("got %s, want %s", got, c.limit)

		for _, entry := range r.bench.proxy.Log() {
			r.T.Logf("%s %s", entry.Operation, entry.Key)
		}
	}
}

const together = 16

// all calls do with 0 to together-1, at once.
func all(do func(i int)) {
	var group sync.WaitGroup
	for i := range together {
		group.Go(func() { do(i) })
	}

	group.Wait()
}

func (r *countRun) put(body []byte, tags ...storage.Tag) {
	_, err := r.Put(storage.ManifestPut{Repo: "a", Tags: tags, Body: body})
	r.NoError(err, "put")
}

// another is a manifest of the image's blobs that was not pushed yet.
func (r *countRun) another(i int) []byte {
	return []byte(strings.Replace(string(r.image.Body), `"annotations":null`, fmt.Sprintf(`"annotations":{"n":"%d"}`, i), 1))
}

// upload pushes a blob by chunks.
func (r *countRun) upload(repo storage.RepoName, last string, chunks ...string) {
	r.T.Helper()

	id, size := r.Start(repo), int64(0)

	for _, chunk := range chunks {
		status, err := r.Store.AppendUpload(r.T.Context(), repo, id, chunkOf(chunk, size))
		r.NoError(err, "append")

		size = status.Size
	}

	end := storage.Chunk{Offset: -1, Seen: size}
	if last != "" {
		end = storage.Chunk{Body: strings.NewReader(last), Offset: size, Length: int64(len(last)), Seen: size}
	}

	_, err := r.Finish(repo, id, end, digest.FromString(strings.Join(chunks, "")+last))
	r.NoError(err, "finish")
}

// slow has the server answer late, so that what comes together meets.
func (r *countRun) slow(operation faultproxy.Operation) {
	r.bench.proxy.Inject(faultproxy.Rule{Match: faultproxy.On(operation), Kind: faultproxy.Hold, Delay: time.Second})
}

func (r *countRun) fresh() { r.World = r.replica() }

func (r *countRun) replica() *storagetest.World {
	bucket := mustOpen(r.T, r.opts)

	return storagetest.OpenOn(r.T, bucket, storage.NoCache{}, storage.Options{Log: zerolog.Nop()})
}

// pooled is bytes that are kept once, and sent in one request.
var pooled = strings.Repeat("pooled ", 20_000)

// entomb says of a blob that it was deleted once.
func (r *countRun) entomb(content string) {
	dgst := digest.FromString(content)
	r.bench.putObject(r.T, r.opts.Prefix+"/_blobs/sha256/"+dgst.Encoded()[:2]+"/"+dgst.Encoded()+"/tombstone", `{"format":1,"gen":1,"token":"t"}`)
}

const hundredMiB = 100 << 20

// late is the look at the head before the answer to an upload that took longer than a state
// counts.
const late = 1

func countCases(dedupe bool) []countCase {
	both := func(with, without counts) counts {
		if dedupe {
			return with
		}

		return without
	}

	layer := digest.FromString("layer")
	small := counts{put: 1} // its membership has its bytes
	large := strings.Repeat("x", 1<<20)
	huge := func() string { return strings.Repeat("0123456789abcdef", hundredMiB/16) }
	warm := func(r *countRun) { r.Tags("a", "", -1) }
	open := func(r *countRun) { r.Pull("a", layer) }

	return []countCase{
		{name: "blob HEAD, named by a manifest", before: warm, do: func(r *countRun) { r.NoError(r.Stat("a", layer), "stat") }, exact: true},
		{
			name: "blob HEAD, pushed a moment ago", before: func(r *countRun) { r.Blob("a", "new") },
			do: func(r *countRun) { r.NoError(r.Stat("a", digest.FromString("new")), "stat") }, exact: true,
		},
		{
			name: "blob HEAD, pushed to another replica a moment ago", before: func(r *countRun) { r.Blob("a", "new"); r.fresh(); warm(r) },
			do: func(r *countRun) { r.NoError(r.Stat("a", digest.FromString("new")), "stat") }, limit: counts{list: 1},
		},
		{name: "blob HEAD, not there", before: warm, do: func(r *countRun) { r.Is(r.Stat("a", digest.FromString("new")), storage.ErrBlobUnknown, "stat") }, limit: counts{list: 1}},
		{name: "blob push, POST and PUT", before: warm, do: func(r *countRun) { r.upload("a", "new") }, limit: small, exact: true},
		{name: "blob push, POST, PATCH and PUT", before: warm, do: func(r *countRun) { r.upload("a", "", "new") }, limit: counts{put: 2, del: 1}, exact: true},
		{name: "blob push, 1 MiB by POST and PUT", before: warm, do: func(r *countRun) { r.upload("a", large) }, limit: both(counts{put: 2, get: 1, head: 1}, small)},
		{name: "blob push, deleted once", before: func(r *countRun) { warm(r); r.entomb(pooled) }, do: func(r *countRun) { r.upload("a", pooled) }, limit: both(counts{put: 3, get: 1}, small)},
		{name: "blob push, deleted once, by POST, PATCH and PUT", before: func(r *countRun) { warm(r); r.entomb(pooled) }, do: func(r *countRun) { r.upload("a", "", pooled) }, limit: both(counts{put: 4, get: 1, del: 1}, counts{put: 2, del: 1})},
		{name: "blob push, a manifest names it", before: warm, do: func(r *countRun) { r.upload("a", "layer") }, limit: counts{get: 1, head: 1}},
		{name: "blob push, another repository has it", before: warm, do: func(r *countRun) { r.upload("b", "layer") }, limit: counts{put: 1, get: 1}},
		{name: "blob push, 100 MiB by POST and PUT", before: warm, do: func(r *countRun) { r.upload("a", huge()) }, limit: both(counts{put: 23, get: 2 + late, head: 2}, counts{put: 22, get: late})},
		{name: "blob push, 100 MiB, there already", before: func(r *countRun) { r.upload("a", huge()) }, do: func(r *countRun) { r.upload("a", huge()) }, limit: both(counts{put: 1, get: 2 + late, head: 2}, counts{put: 22, get: late})},
		{name: "blob push, 100 MiB by POST, PATCH and PUT", before: warm, do: func(r *countRun) { r.upload("a", "", huge()) }, limit: both(counts{put: 12, get: 2 + late, head: 2, del: 2}, counts{put: 11, get: 1 + late, del: 2})},
		{name: "mount with from", before: warm, do: func(r *countRun) { r.NoError(r.Store.MountBlob(r.T.Context(), "b", layer, "a", ""), "mount") }, limit: counts{put: 1, get: 1, head: 1}},
		{name: "mount without from", before: warm, do: func(r *countRun) {
			from := r.Store.FindBlob(r.T.Context(), "b", layer)
			if len(from) > 0 {
				r.NoError(r.Store.MountBlob(r.T.Context(), "b", layer, from[0], ""), "mount")
			}
		}, limit: counts{put: 1, get: 1, head: 1, list: 2}},
		{name: "manifest push by tag", before: warm, do: func(r *countRun) { r.put(r.another(1), "new") }, limit: counts{put: 2}, exact: true},
		{name: "manifest push, the manifest is there", before: warm, do: func(r *countRun) { r.put(r.image.Body, "new") }, limit: counts{put: 1, head: 1}, exact: true},
		{
			name: "manifest push, first of a repository", before: func(r *countRun) { r.upload("b", "{}"); r.upload("b", "layer") },
			do: func(r *countRun) {
				_, err := r.Store.PutManifest(r.T.Context(), storage.ManifestPut{Repo: "b", Tags: []storage.Tag{"t"}, Body: r.image.Body})
				r.NoError(err, "put")
			}, limit: counts{put: 3},
		},
		{name: "manifest push, 10,000 blobs are not there", before: warm, do: func(r *countRun) {
			var layers strings.Builder
			for n := range 10_000 {
				fmt.Fprintf(&layers, `{"mediaType":"x/y","digest":"sha256:%064x","size":1},`, n)
			}

			_, err := r.Store.PutManifest(r.T.Context(), storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"t"}, Body: []byte(
				strings.Replace(string(r.image.Body), `"layers":[`, `"layers":[`+layers.String(), 1))})
			r.True(errors.As(err, new(*storage.MissingError)), "refused")
		}, limit: counts{get: 1, list: 220}},
		{name: "16 manifest pushes together", before: warm, do: func(r *countRun) {
			all(func(i int) { r.put(r.another(i), storage.Tag(fmt.Sprint("t", i))) })
		}, limit: counts{put: together + together/2}},
		{name: "manifest GET by digest, hot", before: func(r *countRun) { r.MustGet("a", "t") }, do: func(r *countRun) { r.NoError(r.getManifest(storage.Reference{Digest: r.image.Digest}), "get") }, exact: true},
		{name: "manifest GET by tag, hot", before: func(r *countRun) { r.MustGet("a", "t") }, do: func(r *countRun) { r.NoError(r.getManifest(storage.Reference{Tag: "t"}), "get") }, limit: counts{get: 1}, exact: true},
		{name: "16 manifest GETs by tag together", before: func(r *countRun) { r.MustGet("a", "t") }, do: func(r *countRun) {
			r.slow(faultproxy.GetObject)
			all(func(int) { r.NoError(r.getManifest(storage.Reference{Tag: "t"}), "get") })
		}, limit: counts{get: 2}}, // that of the first, and one for those that came meanwhile
		{name: "blob GET, first time", before: func(r *countRun) { r.fresh(); warm(r) }, do: open, limit: counts{get: 1}, exact: true},
		{name: "blob GET, small, again", before: open, do: open, exact: true},
		{name: "pull of an image by tag, first time", before: func(r *countRun) { r.fresh() }, do: func(r *countRun) {
			r.NoError(r.getManifest(storage.Reference{Tag: "t"}), "get")
			r.Pull("a", r.image.Blobs[0])
			open(r)
		}, limit: counts{get: 4}},
		{name: "tag list", before: warm, do: warm, limit: counts{get: 1}, exact: true},
		{name: "catalog, first time", before: warm, do: func(r *countRun) { r.Repos("", -1) }, limit: counts{list: 1}},
		{name: "catalog, again within 4 s", before: func(r *countRun) { r.Repos("", -1) }, do: func(r *countRun) { r.Repos("", -1) }, exact: true},
		{name: "delete of a tag", before: warm, do: func(r *countRun) { r.NoError(r.Delete("a", "t", storage.Precondition{}), "delete") }, limit: counts{put: 1, get: 1}},
		{name: "delete of a blob", before: func(r *countRun) { r.Blob("a", "new"); warm(r) }, do: func(r *countRun) { r.NoError(r.DeleteBlob("a", digest.FromString("new")), "delete") }, limit: counts{put: 1, get: 1, list: 1, del: 1}},
		{name: "GC of one repository, nothing to do", before: warm, do: collects, limit: counts{get: 1, head: 2, list: 7}},
		{name: "GC of one repository, a blob to condemn", before: func(r *countRun) { r.Blob("a", pooled); warm(r) }, do: collects, limit: counts{put: 1, get: 1, head: 2, list: 7}},
	}
}

func collects(r *countRun) {
	_, err := r.Store.Collect(r.T.Context())
	r.NoError(err, "collect")
}

func (r *countRun) getManifest(ref storage.Reference) error {
	_, err := r.Store.GetManifest(r.T.Context(), "a", ref)

	return err
}

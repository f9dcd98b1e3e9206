//go:build remote

package s3_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
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

// TestEachRequest lets each request of what a client does fail, one after the other:
// once, so that it is tried again, or as often as it is tried; before it has done
// anything, or after. Then the operation has happened as a whole or not at all, a retry
// succeeds, and nothing that was acknowledged is lost, here and on another replica.
func TestEachRequest(t *testing.T) {
	b := newBench(t)

	for name, step := range requestSteps() {
		t.Run(name, func(t *testing.T) {
			for _, mode := range faultModes {
				t.Run(mode.name, func(t *testing.T) { b.eachRequest(t, step, mode) })
			}
		})
	}
}

// faultMode is how a request fails.
type faultMode struct {
	name   string
	kind   faultproxy.Kind
	after  bool
	always bool // every try of it
}

var faultModes = []faultMode{
	{"not done", faultproxy.ConnReset, false, false},
	{"done but no answer", faultproxy.ConnReset, true, false},
	{"done but half an answer", faultproxy.Truncate, true, false},
	{"never done", faultproxy.ConnReset, false, true},
	{"done, never an answer", faultproxy.ConnReset, true, true},
}

func (b *bench) eachRequest(t *testing.T, step requestStep, mode faultMode) {
	t.Helper()

	for n, more := 1, true; more; n++ {
		ok := t.Run(fmt.Sprint(n), func(t *testing.T) {
			hit := newRequestRun(t, b).run(step, n, mode)
			more = hit != ""
			t.Log("failed: ", hit)
		})
		if !ok {
			return
		}
	}
}

// requestStep is something that is done while a request fails, and then again.
type requestStep struct {
	before func(r *requestRun) // nil = nothing
	do     func(r *requestRun) error
	done   func(w *storagetest.World) // checks what do promised
}

// requestRun is two replicas over one prefix.
type requestRun struct {
	*storagetest.World

	bench *bench
	opts  s3.Options

	other  *storagetest.World // the second replica, opened before requests failed
	upload string             // one that was begun, and failed; "" = none
}

func newRequestRun(t *testing.T, b *bench) *requestRun {
	t.Helper()

	r := &requestRun{bench: b, opts: b.proxied()}
	r.World = r.replica(t)

	return r
}

// replica is a process that knows nothing yet.
func (r *requestRun) replica(t *testing.T) *storagetest.World {
	t.Helper()

	bucket := mustOpen(t, r.opts)

	return storagetest.OpenOn(t, bucket, storagetest.NewMapCache(), storage.Options{Log: zerolog.Nop()})
}

// identity is what all tries of a request have in common.
func identity(r faultproxy.Request) string {
	return fmt.Sprintf("%s %s %d %s %s", r.Operation, r.Key, r.Part, r.IfMatch, r.IfNoneMatch)
}

// failAt makes the n-th request from now on fail. hit tells which that was, stop ends it.
func (r *requestRun) failAt(n int, mode faultMode) (hit func() string, stop func()) {
	var (
		mu    sync.Mutex
		count int
		name  string
	)

	fault := r.bench.proxy.Inject(faultproxy.Rule{Kind: mode.kind, After: mode.after, Match: func(q faultproxy.Request) bool {
		mu.Lock()
		defer mu.Unlock()

		key, ours := strings.CutPrefix(q.Key, r.opts.Prefix+"/")
		if opens := strings.HasPrefix(key, "_zot/"); !ours && q.Operation != faultproxy.ListObjectsV2 || opens {
			return false
		}

		if count++; count == n {
			name = identity(q)

			return true
		}

		return mode.always && name == identity(q)
	}})

	return func() string {
		mu.Lock()
		defer mu.Unlock()

		return name
	}, fault.Remove
}

// run does a step twice: while request n fails, and once more.
func (r *requestRun) run(step requestStep, n int, mode faultMode) string {
	r.T.Helper()
	r.Push("a", "old", "old layer")
	r.Blob("a", "spare")

	if step.before != nil {
		step.before(r)
	}

	r.other = r.replica(r.T)

	hit, stop := r.failAt(n, mode)
	defer stop()

	failed := step.do(r)

	stop()

	if failed != nil && !mode.always {
		r.T.Errorf("one request failed once, and so did all: %v", failed)
	}

	checkWhole(r.World)
	checkWhole(r.replica(r.T))

	if failed == nil { // then it is so, everywhere
		step.done(r.replica(r.T))
	}

	if err := step.do(r); err != nil {
		r.T.Errorf("after %q failed (%v) the retry failed: %v", hit(), failed, err)
	}

	for _, w := range []*storagetest.World{r.World, r.replica(r.T)} {
		checkWhole(w)
		step.done(w)
		w.Equal(w.Pull("a", digest.FromString("old layer")), "old layer", "what was there before")
	}

	return hit()
}

// checkWhole pulls every tag there is, with all that its manifest names.
func checkWhole(w *storagetest.World) {
	w.T.Helper()

	for _, repo := range []storage.RepoName{"a", "m", "n/e/w"} {
		tags, _, err := w.Store.ListTags(w.T.Context(), repo, "", -1)
		if errors.Is(err, storage.ErrRepoUnknown) {
			continue
		}

		w.NoError(err, "list tags")

		for _, tag := range tags {
			checkImage(w, repo, w.MustGet(repo, string(tag)))
		}
	}
}

func checkImage(w *storagetest.World, repo storage.RepoName, manifest storage.Manifest) {
	w.T.Helper()
	w.Equal(digest.FromBytes(manifest.Body), manifest.Digest, "bytes of the manifest")

	var named struct {
		Layers []storage.Descriptor `json:"layers"`
	}

	w.NoError(json.Unmarshal(manifest.Body, &named), "parse manifest")

	for _, layer := range named.Layers {
		w.Equal(digest.FromString(w.Pull(repo, layer.Digest)), layer.Digest, "bytes of a layer")
	}
}

// bigLayer is more than a part.
var bigLayer = strings.Repeat("0123456789abcdef", (5<<20+100)/16)

func requestSteps() map[string]requestStep {
	return map[string]requestStep{
		"push":                      {do: pushes("a", "new layer"), done: hasTag("a", "new", "new layer")},
		"push to a new repository":  {do: pushes("n/e/w", "new layer"), done: hasTag("n/e/w", "new", "new layer")},
		"push what another has":     {do: pushes("n/e/w", "old layer"), done: hasTag("n/e/w", "new", "old layer")},
		"push by PATCH and PUT":     {do: patches("new layer"), done: hasBlob("a", "new layer")},
		"push of parts by PUT":      {do: pushes("a", bigLayer), done: hasTag("a", "new", bigLayer)},
		"push of parts by PATCH":    {do: patches(bigLayer), done: hasBlob("a", bigLayer)},
		"mount":                     {do: mounts, done: hasBlob("m", "old layer")},
		"move a tag":                {before: func(r *requestRun) { r.Push("a", "new", "old layer") }, do: pushes("a", "spare"), done: hasTag("a", "new", "spare")},
		"delete a tag":              {do: deletesTag, done: hasNoTag("a", "old")},
		"delete a manifest":         {do: deletesManifest, done: hasNoTag("a", "old")},
		"delete a blob":             {do: deletesBlob, done: hasNoBlob("a", "spare")},
		"bring a blob back":         {before: func(r *requestRun) { r.NoError(r.DeleteBlob("a", digest.FromString("spare")), "delete") }, do: blobs("a", "spare"), done: hasBlob("a", "spare")},
		"resume on another replica": {do: resumes("the first half ", "and the second"), done: hasBlob("a", "the first half and the second")},
		"resume parts elsewhere":    {do: resumes(bigLayer, "and the second"), done: hasBlob("a", bigLayer+"and the second")},
		"write a checkpoint":        {do: checkpoints, done: hasCheckpoint},
		"pull":                      {do: pulls, done: hasTag("a", "old", "old layer")},
		"cancel an upload":          {do: cancels, done: hasTag("a", "old", "old layer")},
	}
}

func hasTag(repo storage.RepoName, tag string, layer string) func(*storagetest.World) {
	return func(w *storagetest.World) {
		w.T.Helper()
		w.True(strings.Contains(string(w.MustGet(repo, tag).Body), digest.FromString(layer).String()), "the tag names the layer")
		w.Equal(w.Pull(repo, digest.FromString(layer)), layer, "the layer")
	}
}

func hasNoTag(repo storage.RepoName, tag storage.Tag) func(*storagetest.World) {
	return func(w *storagetest.World) {
		w.T.Helper()

		tags, _, err := w.Store.ListTags(w.T.Context(), repo, "", -1)
		w.NoError(err, "list tags")
		w.True(!slices.Contains(tags, tag), "the tag is gone", tags)
	}
}

func hasBlob(repo storage.RepoName, content string) func(*storagetest.World) {
	return func(w *storagetest.World) {
		w.T.Helper()
		w.Equal(w.Pull(repo, digest.FromString(content)), content, "the blob")
	}
}

func hasNoBlob(repo storage.RepoName, content string) func(*storagetest.World) {
	return func(w *storagetest.World) {
		w.T.Helper()
		w.Is(w.Stat(repo, digest.FromString(content)), storage.ErrBlobUnknown, "the blob is gone")
	}
}

func pushes(repo storage.RepoName, layer string) func(*requestRun) error {
	return func(r *requestRun) error {
		_, err := r.TryPush(repo, "new", layer)

		return err
	}
}

func blobs(repo storage.RepoName, content string) func(*requestRun) error {
	return func(r *requestRun) error {
		_, err := r.TryBlob(repo, content)

		return err
	}
}

func unless(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}

	return err
}

func mounts(r *requestRun) error {
	return r.Store.MountBlob(r.T.Context(), "m", digest.FromString("old layer"), "a", "")
}

func deletesTag(r *requestRun) error {
	return unless(r.Delete("a", "old", storage.Precondition{}), storage.ErrManifestUnknown)
}

func deletesManifest(r *requestRun) error {
	body, err := r.Store.GetManifest(r.T.Context(), "a", storage.Reference{Tag: "old"})
	if err != nil {
		return unless(err, storage.ErrManifestUnknown)
	}

	return unless(r.Delete("a", body.Digest.String(), storage.Precondition{}), storage.ErrManifestUnknown)
}

func deletesBlob(r *requestRun) error {
	return unless(r.DeleteBlob("a", digest.FromString("spare")), storage.ErrBlobUnknown)
}

// pulls pulls an image by a replica that knows nothing of its repository yet.
func pulls(r *requestRun) error {
	w := r.other

	manifest, err := w.Store.GetManifest(r.T.Context(), "a", storage.Reference{Tag: "old"})
	if err != nil {
		return err
	}

	w.Equal(digest.FromBytes(manifest.Body), manifest.Digest, "the manifest")

	object, err := w.Store.OpenBlob(r.T.Context(), "a", digest.FromString("old layer"), storage.Whole)
	if err != nil {
		return err
	}

	data, err := io.ReadAll(object.Body)
	if err = errors.Join(err, object.Close()); err == nil {
		w.Equal(string(data), "old layer", "the layer")
	}

	return err
}

func cancels(r *requestRun) error {
	status, err := r.Store.StartUpload(r.T.Context(), "a", "")
	if err != nil {
		return err
	}

	if _, err := r.append(status.ID, "some bytes", 0); err != nil {
		return err
	}

	return unless(r.Store.CancelUpload(r.T.Context(), "a", status.ID), storage.ErrUploadUnknown)
}

const logPrefix = "raw/log/"

// checkpoints appends a record and writes a checkpoint, without the engine, which would
// do so after 300 records.
func checkpoints(r *requestRun) error {
	log, loaded, err := loadLog(r.T.Context(), r.Driver)
	if err != nil {
		return err
	}

	seq := loaded.last() + 1
	record := storage.Record{Seq: seq, Time: time.Unix(0, 0).UTC(), Who: "test"}

	if err := log.Append(r.T.Context(), []storage.Record{record}); err != nil {
		return err
	}

	state := func(w io.Writer) error {
		_, err := fmt.Fprint(w, "state ", seq)

		return err
	}

	return log.Checkpoint(r.T.Context(), seq, state, nil)
}

// rawLog is a log that was loaded.
type rawLog struct {
	storage.Loaded

	checkpoint string
}

func (l rawLog) last() uint64 {
	if n := len(l.Tail); n > 0 {
		return l.Tail[n-1].Seq
	}

	return l.Covered
}

func loadLog(ctx context.Context, driver storage.Driver) (storage.Log, rawLog, error) {
	log, err := driver.OpenLog(ctx, logPrefix)
	if err != nil {
		return nil, rawLog{}, err
	}

	loaded, err := load(ctx, log)

	return log, loaded, err
}

func load(ctx context.Context, log storage.Log) (rawLog, error) {
	loaded, err := log.Load(ctx)
	if err != nil || loaded.Checkpoint == nil {
		return rawLog{Loaded: loaded}, err
	}

	data, err := io.ReadAll(loaded.Checkpoint)

	return rawLog{loaded, string(data)}, errors.Join(err, loaded.Checkpoint.Close())
}

func hasCheckpoint(w *storagetest.World) {
	w.T.Helper()

	_, loaded, err := loadLog(w.T.Context(), w.Driver)
	w.NoError(err, "load")
	w.Equal(loaded.checkpoint, fmt.Sprint("state ", loaded.Covered), "the checkpoint")
	w.Equal(loaded.last(), loaded.Covered, "the last record")
}

func chunkOf(content string, offset int64) storage.Chunk {
	return storage.Chunk{Body: strings.NewReader(content), Offset: offset, Length: -1, Seen: offset}
}

func (r *requestRun) append(id, content string, offset int64) (storage.UploadStatus, error) {
	return r.Store.AppendUpload(r.T.Context(), "a", id, chunkOf(content, offset))
}

// patches does what a client does that does not give up: it goes on with an upload that
// failed, and begins anew only if that is not known any more.
func patches(content string) func(*requestRun) error { return resumes(content, "") }

// resumes goes on with an upload on another replica, if there is more.
func resumes(first, second string) func(*requestRun) error {
	return func(r *requestRun) error {
		if r.upload != "" {
			err := r.goOn(r.upload, first+second)
			if !errors.Is(err, storage.ErrUploadUnknown) {
				return err
			}
		}

		status, err := r.Store.StartUpload(r.T.Context(), "a", "")
		if err != nil {
			return err
		}

		r.upload = status.ID

		if _, err := r.append(status.ID, first, 0); err != nil {
			return err
		}

		if second == "" {
			return r.finish(r.World, status.ID, first, "")
		}

		return r.finish(r.other, status.ID, first, second)
	}
}

func (r *requestRun) finish(w *storagetest.World, id, first, second string) error {
	chunk := chunkOf(second, int64(len(first)))
	if second == "" {
		chunk.Body = nil
	}

	_, err := w.Finish("a", id, chunk, digest.FromString(first+second))

	return err
}

// goOn sends what is missing of an upload, to the first replica.
func (r *requestRun) goOn(id, content string) error {
	status, err := r.Store.StatUpload(r.T.Context(), "a", id)
	if err != nil {
		return err
	}

	return r.finish(r.World, id, content[:status.Size], content[status.Size:])
}

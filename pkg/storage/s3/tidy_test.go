//go:build remote

package s3_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"zotregistry.io/zot/internal/faultproxy"
	"zotregistry.io/zot/pkg/storage"
)

// unfinished counts the multipart uploads under way.
func (h *heap) unfinished() int {
	h.T.Helper()

	out, err := h.bench.server.Client().ListMultipartUploads(h.T.Context(), &awss3.ListMultipartUploadsInput{
		Bucket: aws.String(bucketName), Prefix: aws.String(h.opts.Prefix + "/"),
	})
	h.NoError(err, "list multipart uploads")

	return len(out.Uploads)
}

// TestTidy: what uploads, broken writes and killed probes have left goes when nobody can need
// it any more, and not before.
func TestTidy(t *testing.T) {
	h := newHeap(t, newBench(t))
	h.Push("a", "keep", "kept", shared)

	upload := h.Start("a")
	h.Append("a", upload, 0, bigLayer+bigLayer)

	left := []string{
		"_zot/probe/token/x", "a/.zot/checkpoint-00000000000000000001-token",
		"a/.zot/dropped-00000000000000000001-token", storage.UploadKey("a", upload), storage.UploadKey("a", upload) + ".token.data",
	}

	for _, key := range left {
		if key != storage.UploadKey("a", upload) {
			h.bench.putObject(t, h.opts.Prefix+"/"+key, "[]")
		}
	}

	_, err := h.bench.server.Client().CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{
		Bucket: aws.String(bucketName), Key: aws.String(h.opts.Prefix + "/" + poolKey("some", "data.0")),
	})
	h.NoError(err, "begin")
	h.bench.putObject(t, h.opts.Prefix+"/a/.zot/pulls-of-somebody", "{}")

	h.collect()

	for _, key := range left {
		h.True(slices.Contains(h.keys(), key), "it is there, being young", key)
	}

	h.wait(6 * 24 * time.Hour)
	h.collect()
	h.True(slices.Contains(h.keys(), storage.UploadKey("a", upload)), "an upload may take seven days")
	h.Equal(h.unfinished(), 2, "its parts, and those that nobody names")
	h.Equal(h.SizeOf("a", upload), int64(2*len(bigLayer)), "the upload")

	h.wait(3 * 24 * time.Hour)

	done, err := h.run()
	h.NoError(err, "collect")
	h.Equal(done.Uploads, 1, "uploads dropped")
	h.Equal(h.unfinished(), 0, "parts")

	for _, key := range left {
		h.True(!slices.Contains(h.keys(), key), "it is gone", key)
	}

	h.True(slices.Contains(h.keys(), "a/.zot/pulls-of-somebody"), "what is of another kind stays")
	h.Push("a", "new", shared)
	checkImage(h.fresh().World, "a", h.fresh().MustGet("a", "keep"))
}

// TestTidyFence: a writer that is about to name an object in the head, and sleeps until that is
// removed, does not name it.
func TestTidyFence(t *testing.T) {
	h := newHeap(t, newBench(t))
	w := h.slow()

	log, err := w.Driver.OpenLog(t.Context(), logPrefix)
	w.NoError(err, "open log")
	_, err = load(t.Context(), log)
	w.NoError(err, "load")
	w.NoError(log.Append(t.Context(), []storage.Record{{Seq: 1, Time: time.Unix(0, 0).UTC()}}), "append")

	h.bench.proxy.Reset()

	fault := h.bench.proxy.Inject(faultproxy.Rule{Kind: faultproxy.Hold, Times: 1, Match: func(r faultproxy.Request) bool {
		return r.Operation == faultproxy.PutObject && strings.HasSuffix(r.Key, ".zot/head")
	}})
	named := make(chan error, 1)

	go func() {
		named <- log.Checkpoint(t.Context(), 1, func(w io.Writer) error {
			_, err := fmt.Fprint(w, "state 1")

			return err
		}, nil)
	}()

	h.NoError(fault.Await(t.Context(), 1), "wait")

	count := func() int {
		return len(slices.DeleteFunc(h.keys(), func(key string) bool { return !strings.Contains(key, "checkpoint-") }))
	}

	h.Equal(count(), 1, "checkpoints before")
	h.wait(25 * time.Hour)
	h.collect()
	h.Equal(count(), 0, "checkpoints after")
	fault.Release()

	if <-named == nil {
		t.Error("the checkpoint that is gone was named")
	}

	_, loaded, err := loadLog(t.Context(), h.fresh().Driver)
	h.NoError(err, "load")
	h.Equal(loaded.last(), uint64(1), "the last record")
}

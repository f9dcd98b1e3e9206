//go:build remote

package s3_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/internal/faultproxy"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/s3"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// newTight is a replica whose uploads share the least memory that there can be: two parts.
func newTight(t *testing.T, b *bench) *storagetest.World {
	t.Helper()

	opts := b.proxied()
	opts.Parts = s3.NewBudget(0, t.TempDir())

	bucket := mustOpen(t, opts)

	return storagetest.OpenOn(t, bucket, storagetest.NewMapCache(), storage.Options{Log: zerolog.Nop()})
}

// soon fails the test if work does not end.
func soon(t *testing.T, limit time.Duration, work func() error) {
	t.Helper()

	done := make(chan error, 1)
	go func() { done <- work() }()

	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(limit):
		t.Fatalf("not done after %s", limit)
	}
}

// content is bytes of a blob of its own.
func content(n int, mib float64) string {
	return strings.Repeat(fmt.Sprintf("%015d\n", n), int(mib*(1<<20))/16)
}

// TestNoDeadlock has uploads wait for memory that others hold.
func TestNoDeadlock(t *testing.T) {
	b := newBench(t)

	t.Run("chunks of which more come than one request said", func(t *testing.T) {
		w := newTight(t, b)
		half := func(n int) string { return content(n, 7) }

		var group errgroup.Group

		for n := range 8 {
			group.Go(func() error { return patchTwice(w, half(n)) })
		}

		soon(t, time.Minute, group.Wait)
	})

	t.Run("the same blob by those who have it in memory, and one who has not", func(t *testing.T) {
		w := newTight(t, b)
		blob := content(0, 4)
		id := w.Start("a")
		w.Append("a", id, 0, blob)

		slow := b.proxy.Inject(faultproxy.Rule{Kind: faultproxy.Hold, Times: 1, Match: func(r faultproxy.Request) bool {
			return r.Operation == faultproxy.GetObject && strings.HasSuffix(r.Key, id)
		}})

		var group errgroup.Group

		group.Go(func() error {
			_, err := w.Finish("a", id, storage.Chunk{Seen: int64(len(blob))}, digest.FromString(blob))

			return err
		})

		if err := slow.Await(t.Context(), 1); err != nil {
			t.Fatal(err)
		}

		var read sync.WaitGroup

		for range 2 {
			read.Add(1)
			group.Go(func() error { return finish(w, &tellsEnd{strings.NewReader(blob), read.Done}, blob) })
		}

		read.Wait()
		slow.Release()
		soon(t, time.Minute, group.Wait)
	})
}

// tellsEnd tells when all was read.
type tellsEnd struct {
	io.Reader
	tell func()
}

func (r *tellsEnd) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if errors.Is(err, io.EOF) && r.tell != nil {
		r.tell()
		r.tell = nil
	}

	return n, err
}

// finish pushes a blob in one request.
func finish(w *storagetest.World, body io.Reader, blob string) error {
	status, err := w.Store.StartUpload(w.T.Context(), "a", "")
	if err != nil {
		return err
	}

	_, err = w.Finish("a", status.ID, storage.Chunk{Body: body, Offset: -1, Length: int64(len(blob))}, digest.FromString(blob))

	return err
}

// patchTwice pushes a blob of two halves, whose sizes are announced each.
func patchTwice(w *storagetest.World, half string) error {
	status, err := w.Store.StartUpload(w.T.Context(), "a", "")
	if err != nil {
		return err
	}

	for range 2 {
		chunk := chunkOf(half, status.Size)
		chunk.Length = int64(len(half))

		if status, err = w.Store.AppendUpload(w.T.Context(), "a", status.ID, chunk); err != nil {
			return err
		}
	}

	_, err = w.Finish("a", status.ID, storage.Chunk{Seen: status.Size}, digest.FromString(half+half))

	return err
}

// TestStalledClients measures how long others wait for clients that send a little, or
// a few bytes now and then.
func TestStalledClients(t *testing.T) {
	b := newBench(t)

	for name, stall := range map[string]struct {
		clients int
		sent    float64       // MiB, before they stall
		pause   time.Duration // between a few bytes, instead; 0 = nothing comes any more
	}{
		"64 that stall after 300 KiB":  {64, 0.3, 0},
		"64 that stall after 3 MiB":    {64, 3, 0},
		"64 that send 150 KB a second": {64, 0.3, 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			opts := b.proxied()
			opts.PartSize = 0

			bucket := mustOpen(t, opts)

			// As in pkg/cli: with large buffers a client that stalls early takes no part at all.
			w := storagetest.OpenOn(t, bucket, storagetest.NewMapCache(), storage.Options{
				Log: zerolog.Nop(), Buffers: storage.NewBuffers(4 << 20),
			})
			ctx, cancel := context.WithCancel(t.Context())

			var (
				group   errgroup.Group
				stalled sync.WaitGroup
			)

			stalled.Add(stall.clients)

			for n := range stall.clients {
				group.Go(func() error { return stallAfter(ctx, w, content(n, stall.sent), stall.pause, stalled.Done) })
			}

			defer func() {
				cancel()
				soon(t, time.Minute, group.Wait)
			}()

			time.Sleep(200 * time.Millisecond) // they are at it

			for i := range 2 {
				begun := time.Now()

				soon(t, 20*time.Second, func() error { return finish(w, strings.NewReader(content(100+i, 40)), content(100+i, 40)) })
				t.Logf("a push of 40 MiB beside them took %s", time.Since(begun).Round(time.Millisecond))
			}

			stalled.Wait()
		})
	}
}

// stallAfter sends some bytes of a chunk, and no more, or few. All that was sent has to be
// there when the client has gone.
func stallAfter(ctx context.Context, w *storagetest.World, sent string, pause time.Duration, stalls func()) error {
	id := w.Start("a")
	slow := &stall{ctx: ctx, tell: sync.OnceFunc(stalls), pause: pause}
	body := io.MultiReader(strings.NewReader(sent), slow)

	_, err := w.Store.AppendUpload(w.T.Context(), "a", id, storage.Chunk{Body: body, Length: -1})
	if !errors.Is(err, context.Canceled) {
		return fmt.Errorf("a stalled upload ended with %w", err)
	}

	all := sent + strings.Repeat("x", slow.sent)
	_, err = w.Finish("a", id, storage.Chunk{Seen: int64(len(all))}, digest.FromString(all))

	return err
}

// stall is a body of which few bytes come now and then, or none.
type stall struct {
	ctx   context.Context //nolint:containedctx // of the client
	tell  func()
	pause time.Duration
	sent  int
}

func (s *stall) Read(p []byte) (int, error) {
	s.tell()

	var next <-chan time.Time
	if s.pause > 0 {
		next = time.After(s.pause)
	}

	select {
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	case <-next:
		n := copy(p, strings.Repeat("x", 30_000))
		s.sent += n

		return n, nil
	}
}

// TestNoPartsLeft has pushes fail for good. Parts that no saved state names would stay in
// the bucket, and be paid for, and no listing of objects shows them.
func TestNoPartsLeft(t *testing.T) {
	b := newBench(t)

	for name, rule := range map[string]faultproxy.Rule{
		"no part gets there":        {Match: faultproxy.On(faultproxy.UploadPart), Kind: faultproxy.ConnReset},
		"the last one does not":     {Match: func(r faultproxy.Request) bool { return r.Part == 2 }, Kind: faultproxy.ConnReset},
		"they cannot be assembled":  {Match: faultproxy.On(faultproxy.CompleteMultipartUpload), Kind: faultproxy.InternalError},
		"nobody knows if they were": {Match: faultproxy.On(faultproxy.CompleteMultipartUpload), Kind: faultproxy.ConnReset, After: true},
	} {
		t.Run(name, func(t *testing.T) {
			b.proxy.Reset()

			w := storagetest.OpenOn(t, mustOpen(t, b.proxied()), storagetest.NewMapCache(), storage.Options{Log: zerolog.Nop()})
			fault := b.proxy.Inject(rule)

			err := finish(w, strings.NewReader(bigLayer), bigLayer)
			if err == nil && !rule.After {
				t.Error("the push succeeded")
			}

			fault.Remove()

			left, err := b.server.Client().ListMultipartUploads(t.Context(), &awss3.ListMultipartUploadsInput{Bucket: aws.String(bucketName)})
			if err != nil {
				t.Fatal(err)
			}

			for _, upload := range left.Uploads {
				t.Errorf("parts of %s are left", *upload.Key)
			}

			if err := finish(w, strings.NewReader(bigLayer), bigLayer); err != nil {
				t.Error(err)
			}
		})
	}
}

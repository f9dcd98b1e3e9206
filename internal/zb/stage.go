package zb

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/internal/wire"
)

// stage is where one test acts: the registry, contents for it, and repositories that no
// other test knows. It may be used concurrently.
type stage struct {
	*bench

	test  string
	total int // operations that will be; 0 = not known

	mu        sync.Mutex // guards what follows
	manifests []placed
	blobs     []placed
}

// placed is a manifest or a blob in a repository.
type placed struct {
	repo   string
	digest digest.Digest
}

// repo names a repository of this test.
func (s *stage) repo(name any) string {
	return fmt.Sprintf("%s/%s/%s/%v", s.opts.Repo, s.run, s.test, name)
}

// sendBlob is a way to push a blob.
type sendBlob func(ctx context.Context, s *stage, repo string, b blob) error

// monolith opens an upload and sends all bytes with the PUT that closes it.
func monolith(ctx context.Context, s *stage, repo string, b blob) error {
	up, err := s.client.StartUpload(ctx, repo)
	if err != nil {
		return err
	}

	return up.FinishFrom(ctx, b.digest, b.size(), b.open)
}

// streamed sends all bytes with one PATCH, in HTTP's chunks, as docker does.
func streamed(ctx context.Context, s *stage, repo string, b blob) error {
	up, err := s.client.StartUpload(ctx, repo)
	if err != nil {
		return err
	}

	if err := up.Stream(ctx, b.open()); err != nil {
		return err
	}

	return up.Finish(ctx, b.digest, nil)
}

// missing asks first, and sends what is not there: what clients do.
func missing(ctx context.Context, s *stage, repo string, b blob) error {
	there, err := s.client.BlobExists(ctx, repo, b.digest)
	if err != nil || there {
		return err
	}

	return monolith(ctx, s, repo, b)
}

// push pushes an image, and returns how many bytes that were.
func (s *stage) push(ctx context.Context, repo, tag string, img *image, send sendBlob) (int64, error) {
	for _, b := range img.blobs {
		if err := s.pushBlob(ctx, repo, b, send); err != nil {
			return 0, err
		}
	}

	return img.size(), s.put(ctx, repo, tag, img)
}

func (s *stage) pushBlob(ctx context.Context, repo string, b blob, send sendBlob) error {
	s.note(&s.blobs, repo, b.digest)

	return send(ctx, s, repo, b)
}

// put pushes a manifest.
func (s *stage) put(ctx context.Context, repo, ref string, img *image) error {
	s.note(&s.manifests, repo, img.digest)

	return s.client.PutManifest(ctx, repo, ref, v1.MediaTypeImageManifest, img.manifest)
}

// note notes what is to be deleted at the end. It is called before a request: one that is not
// answered may have been carried out all the same.
func (s *stage) note(list *[]placed, repo string, dgst digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()

	*list = append(*list, placed{repo, dgst})
}

// pull reads an image as clients do, and checks all bytes.
func (s *stage) pull(ctx context.Context, repo, tag string, img *image) (int64, error) {
	total, err := s.client.ReadManifest(ctx, repo, tag, img.digest)
	if err != nil {
		return 0, err
	}

	for _, b := range img.blobs {
		if err := s.pullBlob(ctx, repo, b); err != nil {
			return 0, err
		}

		total += b.size()
	}

	return total, nil
}

// pullBlob reads a blob and compares it with what was pushed: that takes a tenth of the time
// of its hash, which would be the limit of what can be measured.
func (s *stage) pullBlob(ctx context.Context, repo string, b blob) (err error) {
	body, err := s.client.OpenBlob(ctx, repo, b.digest)
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, body.Close()) }()

	buffer := buffers.Get().(*[256 << 10]byte) //nolint:forcetypeassert // New makes them
	defer buffers.Put(buffer)

	return b.compare(body, buffer[:])
}

// buffers are what bodies are read through.
var buffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// each calls do for 0 to n-1, as many at once as the options say.
func (s *stage) each(ctx context.Context, n int, do func(ctx context.Context, n int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.opts.Concurrency)

	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}

	return group.Wait()
}

// stocked is an image that was pushed.
type stocked struct {
	*image

	repo, tag string
}

// stock pushes images whose layers have that size, to a few repositories for this size: at most
// so many, and no more than there will be operations.
func (s *stage) stock(ctx context.Context, most, layer int) ([]stocked, error) {
	if s.total > 0 {
		most = min(most, s.total)
	}

	all := make([]stocked, most)

	err := s.each(ctx, most, func(ctx context.Context, n int) error {
		img, err := s.data.image(layer)
		if err != nil {
			return err
		}

		all[n] = stocked{img, s.repo(fmt.Sprintf("stock%d-%d", layer, n%8)), tagOf(n)}
		_, err = s.push(ctx, all[n].repo, all[n].tag, img, monolith)

		return err
	})

	return all, err
}

func tagOf(n int) string { return fmt.Sprint("v", n) }

// errKept is returned where a registry refuses to delete.
var errKept = errors.New("the registry refuses to delete what was pushed; it stays")

// cleanup deletes what was pushed, the manifests first.
//
// Errors: errKept if the registry does not delete.
func (s *stage) cleanup(ctx context.Context) error {
	err := s.remove(ctx, s.manifests, (*wire.Client).DeleteManifest)
	if err != nil {
		return err
	}

	return s.remove(ctx, s.blobs, func(c *wire.Client, ctx context.Context, repo, ref string) error {
		return c.DeleteBlob(ctx, repo, digest.Digest(ref))
	})
}

func (s *stage) remove(
	ctx context.Context, all []placed, remove func(c *wire.Client, ctx context.Context, repo, ref string) error,
) error {
	seen := map[placed]bool{}

	var once []placed

	for _, p := range all {
		if !seen[p] {
			seen[p] = true

			once = append(once, p)
		}
	}

	return s.each(ctx, len(once), func(ctx context.Context, n int) error {
		err := remove(s.client, ctx, once[n].repo, once[n].digest.String())

		switch {
		case errors.Is(err, wire.ErrNotFound):
			return nil
		case statusOf(err) == http.StatusMethodNotAllowed, statusOf(err) == http.StatusForbidden:
			return fmt.Errorf("%w below %s/%s", errKept, s.opts.Repo, s.run)
		default:
			return err
		}
	})
}

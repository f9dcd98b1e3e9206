//go:build replicas

package replicas

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/internal/wire"
)

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// TestNewerBucket: a bucket that a newer zot has made its own is left alone.
func TestNewerBucket(t *testing.T) {
	c := newCluster(t)
	c.add(t, 1, nil)
	must(t, c.replicas[0].proc.Stop())

	c.edit(t, "_zot/root.json", `"version":1`, `"version":2`)

	before := c.objects(t, "")
	out := (&daemon.Zot{Storage: c.storage(c.s3.Endpoint, nil)}).Refused(t, refusedWithin)

	if !strings.Contains(out, "_zot/root.json") || !strings.Contains(out, "version is 2, this zot knows 1") {
		t.Errorf("the reason is missing in:\n%s", out)
	}

	if !maps.Equal(before, c.objects(t, "")) {
		t.Error("the bucket was written to")
	}
}

// TestNewerRepository: a repository that a newer zot has written to is neither served nor
// written, by a replica that has known it before, or by a new one. Others are served.
func TestNewerRepository(t *testing.T) {
	c := newCluster(t)
	c.add(t, 1, nil)

	img := mustImage(t, 1, 3000)
	c.push(t, 0, img, "newer", "known")
	c.edit(t, "newer/.zot/head", `"format":1`, `"format":2`)
	c.add(t, 1, nil)

	before := c.objects(t, "newer")

	for i, r := range c.replicas {
		for what, err := range c.tryAll(t, r, "newer", img) {
			if !isServerError(err) {
				t.Errorf("replica %d: %s: %v", i, what, err)
			}
		}
	}

	for key, etag := range c.objects(t, "newer") {
		if before[key] != etag {
			t.Errorf("%s was written", key)
		}
	}

	c.push(t, 1, mustImage(t, 2, 3000), "known", "new")
	c.verify(t, img, "known")
	c.verify(t, mustImage(t, 2, 3000), "known", "new")
}

// tryAll asks for all that there is to ask of a repository. A blob and a manifest that a
// replica has seen a moment ago may be served for some seconds yet, so it asks for others.
func (c *cluster) tryAll(t *testing.T, r *replica, repo string, img *wire.Image) map[string]error {
	t.Helper()

	_, _, get := r.Manifest(t.Context(), repo, img.Digest.Encoded())
	_, list := r.Tags(t.Context(), repo)
	_, _, byDigest := r.Manifest(t.Context(), repo, digest.FromString("unknown").String())
	blob := randomBlob(1, 1000)
	large := randomBlob(1, 17<<20)

	return map[string]error{
		"pull by tag":      get,
		"pull by digest":   byDigest,
		"list tags":        list,
		"push a tag":       r.PutManifest(t.Context(), repo, "other", manifestType, img.Manifest),
		"delete a tag":     r.DeleteManifest(t.Context(), repo, img.Digest.Encoded()),
		"delete a blob":    r.DeleteBlob(t.Context(), repo, digest.FromBytes(img.Blobs[1])),
		"push a blob":      r.PushMonolithic(t.Context(), repo, blob),
		"push in chunks":   r.PushChunked(t.Context(), repo, blob),
		"push large blobs": r.PushStreamed(t.Context(), repo, large),
		"mount a blob":     c.tryMount(t, r, repo),
	}
}

func (c *cluster) tryMount(t *testing.T, r *replica, repo string) error {
	t.Helper()

	blob := []byte("only known has it")
	must(t, r.PushMonolithic(t.Context(), "known", blob))

	_, err := r.MountBlob(t.Context(), repo, digest.FromBytes(blob), "known")

	return err
}

func isServerError(err error) bool {
	var status *wire.StatusError

	return errors.As(err, &status) && status.Status >= http.StatusInternalServerError
}

// edit replaces a word in an object.
func (c *cluster) edit(t *testing.T, key, old, by string) {
	t.Helper()

	out, err := c.s3.Client().GetObject(t.Context(), &s3.GetObjectInput{Bucket: &c.bucket, Key: &key})
	must(t, err)
	defer out.Body.Close()

	body, err := io.ReadAll(out.Body)
	must(t, err)

	if !strings.Contains(string(body), old) {
		t.Fatalf("%s has no %s: %s", key, old, body)
	}

	must(t, c.put(t, c.bucket, key, strings.Replace(string(body), old, by, 1)))
}

// objects lists the objects whose keys contain a word, with their ETags.
func (c *cluster) objects(t *testing.T, word string) map[string]string {
	t.Helper()

	all := map[string]string{}
	pages := s3.NewListObjectsV2Paginator(c.s3.Client(), &s3.ListObjectsV2Input{Bucket: &c.bucket})

	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		must(t, err)

		for _, object := range page.Contents {
			if key := aws.ToString(object.Key); strings.Contains(key, word) {
				all[key] = aws.ToString(object.ETag)
			}
		}
	}

	return all
}

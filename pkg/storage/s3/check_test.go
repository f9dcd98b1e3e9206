//go:build remote

package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/s3"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// checkedBucket is a prefix with a:t0 to a:t9 and b:v1, which share a large layer.
type checkedBucket struct {
	*bench

	t    *testing.T
	opts s3.Options
}

var largeLayer = strings.Repeat("large ", 20_000) // not in a membership

func newCheckedBucket(t *testing.T, b *bench) *checkedBucket {
	t.Helper()

	c := &checkedBucket{bench: b, t: t, opts: b.options()}
	w := c.replica()

	for n := range 10 {
		w.Push("a", fmt.Sprintf("t%d", n), largeLayer, fmt.Sprintf("small %d", n))
	}

	w.Push("b", "v1", largeLayer, "small 1")

	return c
}

// replica opens the bucket as a process that serves does.
func (c *checkedBucket) replica() *storagetest.World {
	return storagetest.OpenOn(c.t, mustOpen(c.t, c.opts), storage.NoCache{}, storage.Options{Log: zerolog.Nop()})
}

func (c *checkedBucket) must(err error) {
	c.t.Helper()

	if err != nil {
		c.t.Fatal(err)
	}
}

// find returns the last key that contains part.
func (c *checkedBucket) find(part string) string {
	c.t.Helper()

	keys := c.keys(part)
	if len(keys) == 0 {
		c.t.Fatalf("there is no %s", part)
	}

	return keys[len(keys)-1]
}

// keys are those that contain part, in order.
func (c *checkedBucket) keys(part string) []string {
	c.t.Helper()

	out, err := c.server.Client().ListObjectsV2(c.t.Context(), &awss3.ListObjectsV2Input{
		Bucket: aws.String(bucketName), Prefix: aws.String(c.opts.Prefix + "/"),
	})
	c.must(err)

	var keys []string

	for _, object := range out.Contents {
		if strings.Contains(*object.Key, part) {
			keys = append(keys, *object.Key)
		}
	}

	return keys
}

func (c *checkedBucket) flip(part string, at int) {
	c.t.Helper()

	key := c.find(part)
	out, err := c.server.Client().GetObject(c.t.Context(), &awss3.GetObjectInput{Bucket: aws.String(bucketName), Key: &key})
	c.must(err)

	body, err := io.ReadAll(out.Body)
	c.must(errors.Join(err, out.Body.Close()))

	body[at] ^= 1
	_, err = c.server.Client().PutObject(c.t.Context(), &awss3.PutObjectInput{
		Bucket: aws.String(bucketName), Key: &key, Body: bytes.NewReader(body),
	})
	c.must(err)
}

func (c *checkedBucket) remove(part string) {
	c.t.Helper()

	key := c.find(part)
	_, err := c.server.Client().DeleteObject(c.t.Context(), &awss3.DeleteObjectInput{Bucket: aws.String(bucketName), Key: &key})
	c.must(err)
}

func (c *checkedBucket) put(part, body string) {
	c.t.Helper()

	key := c.find(part)
	_, err := c.server.Client().PutObject(c.t.Context(), &awss3.PutObjectInput{
		Bucket: aws.String(bucketName), Key: &key, Body: strings.NewReader(body),
	})
	c.must(err)
}

// check checks the bucket by a process of its own.
func (c *checkedBucket) check(opts storage.CheckOptions) storage.CheckReport {
	c.t.Helper()

	store, err := storage.Open(c.t.Context(), mustOpen(c.t, c.opts), storage.NoCache{}, storage.Options{Log: zerolog.Nop(), Passive: true})
	c.must(err)

	report, err := store.Check(c.t.Context(), opts, func(storage.CheckProgress) {})
	c.must(errors.Join(err, store.Close(c.t.Context())))

	return report
}

func problems(report storage.CheckReport) string {
	var kinds []string

	for _, f := range report.Findings {
		if f.Severity != storage.Notice && !f.Mended && !slices.Contains(kinds, f.Kind) {
			kinds = append(kinds, f.Kind)
		}
	}

	slices.Sort(kinds)

	return strings.Join(kinds, " ")
}

func dir(content string) string {
	dgst := digest.FromString(content)

	return dgst.Encoded()[:2] + "/" + dgst.Encoded() + "/"
}

func TestCheckBucket(t *testing.T) {
	b := newBench(t)
	c := newCheckedBucket(t, b)

	if found := c.check(storage.CheckOptions{}); problems(found) != "" || found.Notices > 0 || found.Blobs < 20 {
		t.Errorf("found %v, and read %d blobs", found.Findings, found.Blobs)
	}

	for _, damage := range []struct {
		name string
		do   func(c *checkedBucket)
		find string
		left string // of a repair
	}{
		{"shared bytes are flipped", func(c *checkedBucket) { c.flip(dir(largeLayer)+"data.0", 5) }, "blob-damaged", "blob-damaged"},
		{"own bytes are flipped, and another repository has them", func(c *checkedBucket) {
			c.flip(dir("small 1")+"in/a/own.", 2)
		}, "blob-damaged", ""},
		{"own bytes are gone", func(c *checkedBucket) { c.remove(dir("small 2") + "in/a/own.") }, "blob-missing", "blob-missing"},
		{"the head is garbage", func(c *checkedBucket) { c.flip("a/.zot/head", 0) }, "head-damaged", ""},
	} {
		t.Run(damage.name, func(t *testing.T) {
			c := newCheckedBucket(t, b)
			damage.do(c)

			if got := problems(c.check(storage.CheckOptions{})); got != damage.find {
				t.Errorf("found %q, want %q", got, damage.find)
			}

			repaired := c.check(storage.CheckOptions{Repair: true})

			if strings.HasPrefix(damage.find, "head") {
				t.Logf("repaired: %v", repaired.Findings)

				return
			}

			if got := problems(c.check(storage.CheckOptions{})); got != damage.left {
				t.Errorf("left is %q, want %q; repaired %v", got, damage.left, repaired.Findings)
			}

			w := c.replica()
			w.Push("a", "t0", largeLayer, "small 2")
			w.Equal(w.Pull("a", digest.FromString(largeLayer)), largeLayer, "what was pushed again")

			if got := problems(c.check(storage.CheckOptions{})); got != "" {
				t.Errorf("left after a push is %q", got)
			}
		})
	}
}

// TestLostCheckpoint: a repository is served by the older checkpoint, if there is one, and the
// segments behind it, where its newest one is damaged or gone.
func TestLostCheckpoint(t *testing.T) {
	b := newBench(t)

	for name, spoil := range map[string]func(c *checkedBucket){
		"flipped": func(c *checkedBucket) { c.flip("a/.zot/checkpoint-", 30) },
		"gone":    func(c *checkedBucket) { c.remove("a/.zot/checkpoint-") },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCheckedBucket(t, b)
			w := c.replica()
			image := w.MustGet("a", "t1")

			for n := 0; len(c.keys("a/.zot/checkpoint-")) < 2; n++ {
				_, err := w.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{storage.Tag(fmt.Sprint("more", n))}, Body: image.Body})
				c.must(err)
			}

			spoil(c)

			again := c.replica()
			checkImage(again, "a", again.MustGet("a", "t1"))
			checkImage(again, "a", again.MustGet("a", "more0"))
			again.Push("a", "after", largeLayer, "small 3")

			if got := problems(c.check(storage.CheckOptions{})); got != "checkpoint-damaged" && got != "checkpoint-missing" {
				t.Errorf("found %q", got)
			}

			c.check(storage.CheckOptions{Repair: true})

			if got := problems(c.check(storage.CheckOptions{})); got != "" {
				t.Errorf("left is %q", got)
			}
		})
	}
}

// busyBucket is one in which something happens between a salvage and what it writes.
type busyBucket struct {
	*s3.Bucket

	meanwhile func()
}

type busyLog struct {
	storage.Log
	storage.CheckedLog

	meanwhile func()
}

func (b busyBucket) OpenLog(ctx context.Context, prefix string) (storage.Log, error) {
	log, err := b.Bucket.OpenLog(ctx, prefix)
	checked, _ := log.(storage.CheckedLog)

	return busyLog{log, checked, b.meanwhile}, err
}

func (l busyLog) Replace(ctx context.Context, seq uint64, state, index func(io.Writer) error) error {
	l.meanwhile()

	return l.CheckedLog.Replace(ctx, seq, state, index)
}

// A repair of a log that cannot be loaded keeps what a replica commits meanwhile, which has the
// repository in memory, and the manifests whose records are lost.
func TestRepairBesideReplica(t *testing.T) {
	c := newCheckedBucket(t, newBench(t))
	w := c.replica()
	image, lost := w.MustGet("a", "t1"), w.MustGet("a", "t3")

	for n := 0; len(c.keys("a/.zot/segment-")) == 0; n++ {
		_, err := w.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{storage.Tag(fmt.Sprint("more", n))}, Body: image.Body})
		c.must(err)
	}

	c.flip("a/.zot/segment-", 0)

	var once sync.Once

	bucket := busyBucket{mustOpen(t, c.opts), func() { once.Do(func() { w.Push("a", "meanwhile", "meanwhile") }) }}
	store, err := storage.Open(t.Context(), bucket, storage.NoCache{}, storage.Options{Log: zerolog.Nop(), Passive: true})
	c.must(err)

	report, err := store.Check(t.Context(), storage.CheckOptions{Repair: true}, func(storage.CheckProgress) {})
	c.must(errors.Join(err, store.Close(t.Context())))
	t.Logf("repaired: %v", report.Findings)

	for _, replica := range []*storagetest.World{c.replica(), w} {
		replica.MustGet("a", "meanwhile")
		checkImage(replica, "a", replica.MustGet("a", "recovered-"+lost.Digest.Encoded()[:12]))
	}

	w.Push("a", "later", "later")
	c.replica().MustGet("a", "later")
}

// What one replica finds damaged no other serves that looks after it; a push by a repository
// that did not hold it heals it for all.
func TestScrubMarksForReplicas(t *testing.T) {
	c := newCheckedBucket(t, newBench(t))
	c.flip(dir(largeLayer)+"data.0", 5)

	dgst := digest.FromString(largeLayer)
	report, err := c.replica().Store.Scrub(t.Context(), storage.ScrubOptions{}, func(storage.CheckProgress) {})
	c.must(err)

	if problems(report) != "blob-damaged" {
		t.Errorf("found %v", report.Findings)
	}

	other := c.replica()

	for _, repo := range []storage.RepoName{"a", "b"} {
		other.Is(other.Stat(repo, dgst), storage.ErrBlobUnknown, "HEAD")

		_, err := other.Store.OpenBlob(t.Context(), repo, dgst, storage.Whole)
		other.Is(err, storage.ErrDamaged, "GET")
	}

	other.Push("c", "v1", largeLayer)

	for _, w := range []*storagetest.World{other, c.replica()} {
		for _, repo := range []storage.RepoName{"a", "b", "c"} {
			w.Equal(w.Pull(repo, dgst), largeLayer, "after a push")
		}
	}

	if got := problems(c.check(storage.CheckOptions{})); got != "" {
		t.Errorf("left is %q", got)
	}
}

// A head that goes, or is overwritten, while a replica serves is made anew of what that knew.
func TestRepairHead(t *testing.T) {
	for name, harm := range map[string]func(c *checkedBucket){
		"head-lost":    func(c *checkedBucket) { c.remove("a/.zot/head") },
		"head-damaged": func(c *checkedBucket) { c.flip("a/.zot/head", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCheckedBucket(t, newBench(t))
			w := c.replica()
			tags := w.Tags("a", "", -1)
			harm(c)

			found, err := w.Store.Check(t.Context(), storage.CheckOptions{}, func(storage.CheckProgress) { w.MustGet("b", "v1") })
			c.must(err)
			w.Equal(problems(found), name, "what is found")

			_, err = w.Store.Check(t.Context(), storage.CheckOptions{Repair: true}, func(storage.CheckProgress) { w.MustGet("b", "v1") })
			c.must(err)
			w.Push("a", "later", "later")

			fresh := c.replica()
			fresh.Equal(fresh.Tags("a", "", -1), "later "+tags, "tags")
			w.Equal(problems(c.check(storage.CheckOptions{})), "", "what is left")
		})
	}
}

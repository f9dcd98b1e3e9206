package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/opencontainers/go-digest"
)

// checkBlobs walks over all keys. It reads each blob, and tells of what it does not know.
func (c *check) checkBlobs(ctx context.Context) error {
	if pool, ok := c.store.driver.(PoolLister); ok {
		return c.checkPool(ctx, pool)
	}

	for info, err := range c.store.driver.List(ctx, "", c.position.After) {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("look for blobs: %w", err)
		}

		if err := c.checkKey(ctx, info); err != nil {
			return err
		}

		c.position.Done = sort.Search(c.total, func(i int) bool { return RepoPrefix(c.names[i]) > info.Key })

		c.done(ctx, info.Key)
	}

	if c.uncached > 0 {
		c.report(Finding{
			Severity: Notice, Kind: "cache-lacks", Key: "cache",
			Text: fmt.Sprintf("the cache does not know %d blobs; they are stored once more when they are pushed elsewhere", c.uncached),
		})
	}

	return nil
}

func (c *check) checkKey(ctx context.Context, info Info) error {
	name, dgst, ok := SplitBlobKey(info.Key)
	if ok {
		return c.checkBlob(ctx, name, dgst, info)
	}

	if !isKnownKey(info.Key) {
		c.report(Finding{Severity: Notice, Kind: "stray", Key: info.Key, Text: info.Key + " is nothing of zot's"})
	}

	return nil
}

// isKnownKey says whether zot puts objects at such keys.
func isKnownKey(key string) bool {
	for _, prefix := range []string{
		reposPrefix, damagedPrefix, flushFailed, allFlushed, quarantinePrefix, checkPrefix, notesPrefix, cacheSeal,
		"cache.db", ".zot.sock",
	} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}

	dir, base, _ := cutLast(key, "/")
	repo, last, _ := cutLast(dir, "/")

	if last == ".uploads" || last == ".pulls" {
		dir = repo
	} else if base != "index.json" && base != "oci-layout" {
		return false
	}

	_, err := ParseRepoName(dir)

	return err == nil
}

// checkBlob reads a blob. What is not as its name says is read once more, while nobody
// replaces it.
func (c *check) checkBlob(ctx context.Context, name RepoName, dgst digest.Digest, info Info) error {
	if c.hasCache && !c.store.hasEntryOf(ctx, dgst, info.Key) {
		c.uncached++
	}

	if c.opts.Quick {
		return nil
	}

	why, err := c.look(ctx, info.Key, dgst)
	if ctx.Err() != nil {
		return ctx.Err()
	}

	if err == nil && why == "" && !c.store.durability.isDamaged(info.Key) || isNotExist(err) {
		return nil
	}

	entered := false
	err = c.confirm(ctx, name, dgst, func(r *repository) error {
		entered = true

		return c.confirmBlob(ctx, r, dgst)
	})

	if err != nil && !entered && ctx.Err() == nil { // the log cannot be loaded, so nobody serves the blob
		c.report(Finding{
			Severity: Problem, Kind: kindBlobDamaged, Repo: name, Key: info.Key, Digest: dgst,
			Text: info.Key + " is damaged: " + why, Remedy: "the log of its repository has to be mended first",
		})

		return nil
	}

	return err
}

// hasEntryOf says whether the cache knows that key holds dgst.
func (s *Store) hasEntryOf(ctx context.Context, dgst digest.Digest, key string) bool {
	has, err := s.cache.HasBlob(ctx, dgst, key)

	return has || err != nil
}

func (c *check) confirmBlob(ctx context.Context, r *repository, dgst digest.Digest) error {
	key := BlobKey(r.name, dgst)
	why, err := c.look(ctx, key, dgst)

	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case isNotExist(err):
		return nil
	case err != nil:
		c.report(Finding{
			Severity: c.severityOf(r, dgst), Kind: kindBlobUnreadable, Repo: r.name, Key: key, Digest: dgst,
			Text: fmt.Sprintf("%s cannot be read: %v", key, err),
		})

		return nil
	case why != "":
		return c.damaged(ctx, r, dgst, why)
	case c.store.durability.isDamaged(key):
		return c.marked(ctx, r, dgst)
	}

	return nil
}

// severityOf is that of damage to a blob: what nothing needs a crash may have left.
func (c *check) severityOf(r *repository, dgst digest.Digest) Severity {
	if r.visible.Load().needs(dgst) {
		return Problem
	}

	return Notice
}

// look reads a blob, and says what is wrong with it.
func (c *check) look(ctx context.Context, key string, dgst digest.Digest) (why string, err error) {
	id, err := c.identify(ctx, key)
	if err != nil {
		return "", err
	}

	if known, ok := c.verdicts[id]; id != nil && ok {
		return known, nil
	}

	got, size, err := c.hash(ctx, key, dgst.Algorithm())
	if err != nil {
		return "", err
	}

	c.position.Report.Blobs++
	c.position.Report.Bytes += size

	if got != dgst {
		why = "its content is " + got.String()
	}

	if id != nil && (why == "" || c.confirming) {
		c.verdicts[id] = why
	}

	return why, nil
}

// identify returns what names the bytes of key where other keys may lead to them, too.
func (c *check) identify(ctx context.Context, key string) (any, error) {
	if identifier, ok := c.store.driver.(Identifier); ok {
		return identifier.Identify(ctx, key)
	}

	return nil, nil //nolint:nilnil // nothing else leads to them, as far as is known
}

func (c *check) hash(ctx context.Context, key string, alg digest.Algorithm) (got digest.Digest, size int64, err error) {
	object, err := c.store.driver.Open(ctx, key, Whole)
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, object.Close()) }()

	pace := c.pace
	if c.confirming {
		pace = &throttle{}
	}

	got, err = alg.FromReader(&pacedReader{ctx: ctx, from: object.Body, pace: pace, read: c.read})

	return got, object.Size, err
}

// read notes that bytes of a blob were read: one may be large.
func (c *check) read(int) {
	if now := c.store.opts.Now(); now.Sub(c.told) >= checkTell {
		c.told = now
		c.progress(c.where())
	}
}

// pacedReader reads as fast as a throttle allows, until a context ends.
type pacedReader struct {
	ctx  context.Context //nolint:containedctx // lives as long as the reading
	from io.Reader
	pace *throttle
	read func(n int)
}

func (r *pacedReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}

	n, err := r.from.Read(p)
	r.read(n)

	if waiting := r.pace.wait(r.ctx, n); waiting != nil {
		return n, waiting
	}

	return n, err
}

// damaged marks a blob, so that it is not served, and tells of it.
func (c *check) damaged(ctx context.Context, r *repository, dgst digest.Digest, why string) error {
	key := BlobKey(r.name, dgst)
	c.store.durability.markDamaged(ctx, key, why)
	c.store.forget(ctx, dgst, key)

	f := Finding{
		Severity: c.severityOf(r, dgst), Kind: kindBlobDamaged, Repo: r.name, Key: key, Digest: dgst,
		Text: fmt.Sprintf("%s@%s is damaged: %s%s", r.name, dgst, why, c.namedBy(r, dgst)),
	}

	if c.opts.Repair {
		if err := c.replace(ctx, r, dgst, &f); err != nil {
			return err
		}
	}

	c.report(f)

	return nil
}

// marked tells that a blob is not served although its bytes are right, as far as that can
// be seen: those that a flush failed to write may be in memory only. A copy is on disk.
func (c *check) marked(ctx context.Context, r *repository, dgst digest.Digest) error {
	key := BlobKey(r.name, dgst)
	f := Finding{
		Severity: c.severityOf(r, dgst), Kind: kindBlobMarked, Repo: r.name, Key: key, Digest: dgst,
		Text: fmt.Sprintf("%s@%s is marked as damaged, and can be read", r.name, dgst),
	}

	if c.opts.Repair {
		if err := c.copyOver(ctx, r, dgst, key); err != nil {
			return err
		}

		f.Mended, f.Remedy = true, "it was written again"
	}

	c.report(f)

	return nil
}

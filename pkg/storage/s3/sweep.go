package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/pkg/storage"
)

// This file is the deleter's side of the pool (docs/s3-format.md, "Deleting", D2 to D6). Any
// number of processes may be in it at once, and each may stop at any step.

// freesAtOnce is how many digests are freed at once.
const freesAtOnce = 8

// maxFailures is how many errors a run tells of: what fails keeps nothing else from going.
const maxFailures = 10

// failures are the first errors of a run.
type failures struct {
	mu   sync.Mutex // guards errs
	errs []error
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()

	if err != nil && len(f.errs) < maxFailures {
		f.errs = append(f.errs, err)
	}
}

// pooledDigest is what the pool has of a digest.
type pooledDigest struct {
	digest  digest.Digest
	data    map[int]int64 // bytes, by generation
	members int           // that need the bytes
}

// sweep is one run through the pool.
type sweep struct {
	b      *Bucket
	now    time.Time // the bucket's, when it began
	judge  func(storage.Member) error
	needed func(digest.Digest) bool

	group    errgroup.Group
	failures failures

	mu    sync.Mutex // guards freed
	freed storage.Freed
}

// Members implements storage.Collector. It is one listing of the pool.
func (b *Bucket) Members(
	ctx context.Context, judge func(storage.Member) error, needed func(digest.Digest) bool,
) (storage.Freed, error) {
	now, err := b.clock(ctx)
	if err != nil {
		return storage.Freed{}, err
	}

	s := &sweep{b: b, now: now, judge: judge, needed: needed}
	s.group.SetLimit(freesAtOnce)

	listed := s.list(ctx)
	_ = s.group.Wait() // what fails is in failures

	return s.freed, errors.Join(append(s.failures.errs, listed)...)
}

func (s *sweep) list(ctx context.Context) error {
	present := pooledDigest{}

	for object, err := range s.b.client.list(ctx, poolPrefix, "", 0) {
		if err != nil {
			return err
		}

		dgst, rest, ok := splitPool(object.key)
		if !ok {
			continue // nothing of ours
		}

		if dgst != present.digest {
			s.free(ctx, present)
			present = pooledDigest{digest: dgst}
		}

		if !present.take(rest, object.size) {
			continue
		}

		if err := s.member(dgst, object); err != nil {
			return err
		}
	}

	s.free(ctx, present)

	return nil
}

// take notes an object, and says whether it is a membership. One that cannot be read keeps
// the bytes all the same.
func (p *pooledDigest) take(rest string, size int64) (member bool) {
	if number, ok := strings.CutPrefix(rest, "data."); ok {
		if gen, err := strconv.Atoi(number); err == nil {
			if p.data == nil {
				p.data = map[int]int64{}
			}

			p.data[gen] = size
		}

		return false
	}

	name, member := strings.CutPrefix(rest, "in/")
	if member && !isOwn(name[strings.LastIndex(name, "/")+1:]) {
		p.members++
	}

	return member
}

// member shows a membership to the engine.
func (s *sweep) member(dgst digest.Digest, object stored) error {
	repo, err := splitMember(dgst, object.key)
	if err != nil {
		return nil //nolint:nilerr // nothing of ours
	}

	name := strings.TrimPrefix(object.key, memberPrefix(dgst, repo))
	member := storage.Member{
		Repo: repo, Digest: dgst, Seq: memberSeq(name), Own: isOwn(name), Size: object.size, Age: s.now.Sub(object.modified),
	}
	member.Key = blob{repo: repo, digest: dgst}.at(placeOfMember(name))

	if !member.Own {
		member.Size = 0
	}

	return s.judge(member)
}

// free frees the bytes of a digest that was listed, while the listing goes on.
func (s *sweep) free(ctx context.Context, p pooledDigest) {
	if len(p.data) == 0 || p.members > 0 && len(p.data) == 1 || p.members == 0 && s.needed(p.digest) {
		return
	}

	s.group.Go(func() error {
		freed, err := s.b.end(ctx, p)
		s.failures.add(err)

		s.mu.Lock()
		defer s.mu.Unlock()

		s.freed.Blobs += freed.Blobs
		s.freed.Bytes += freed.Bytes

		return nil
	})
}

// Free implements storage.Collector.
func (b *Bucket) Free(ctx context.Context, dgst digest.Digest) (storage.Freed, error) {
	p := pooledDigest{digest: dgst}

	for object, err := range b.client.list(ctx, poolDir(dgst), "", 0) {
		if err != nil {
			return storage.Freed{}, err
		}

		p.take(strings.TrimPrefix(object.key, poolDir(dgst)), object.size)
	}

	if len(p.data) == 0 {
		return storage.Freed{}, nil
	}

	return b.end(ctx, p)
}

// end removes what was listed of generations that are over; the present one ends if it has
// no member.
func (b *Bucket) end(ctx context.Context, p pooledDigest) (freed storage.Freed, err error) {
	stone, err := b.tombstone(ctx, p.digest)
	if err != nil {
		return freed, err
	}

	over := stone.Gen - 1

	if _, there := p.data[stone.Gen]; there && p.members == 0 {
		ended, err := b.endGeneration(ctx, p.digest, stone)
		if err != nil {
			return freed, err
		}

		if ended {
			over = stone.Gen
		}
	}

	for gen, size := range p.data {
		if gen > over {
			continue
		}

		if err := b.client.delete(ctx, dataKey(p.digest, gen)); err != nil {
			return freed, err
		}

		freed.Blobs++
		freed.Bytes += size
	}

	return freed, nil
}

// endGeneration is D2 to D5: it makes the next generation the present one, unless somebody
// holds or renews the digest meanwhile. A crash leaves a condemned tombstone, which whoever
// needs the bytes sets live, and the next run takes over.
func (b *Bucket) endGeneration(ctx context.Context, dgst digest.Digest, stone tombstone) (ended bool, err error) {
	defer b.lockStones()()

	if !stone.Condemned {
		stone.Condemned = true
		if stone.etag, err = b.replaceStone(ctx, dgst, stone); stone.etag == "" {
			return false, err
		}
	}

	if held, err := b.isHeld(ctx, dgst); held || err != nil {
		return false, err
	}

	stone.Gen, stone.Condemned = stone.Gen+1, false

	etag, err := b.replaceStone(ctx, dgst, stone)
	if etag != "" {
		b.gens.Add(dgst, stone.Gen)
	}

	return etag != "", err
}

// isHeld says whether a digest has a membership that needs the pool's bytes.
func (b *Bucket) isHeld(ctx context.Context, dgst digest.Digest) (bool, error) {
	p := pooledDigest{digest: dgst}

	for object, err := range b.client.list(ctx, membersPrefix(dgst), "", 0) {
		if err != nil {
			return false, err
		}

		p.take(strings.TrimPrefix(object.key, poolDir(dgst)), object.size)
	}

	return p.members > 0, nil
}

// replaceStone puts a tombstone in place of the one whose ETag it has, and returns its own;
// "" if somebody was first.
func (b *Bucket) replaceStone(ctx context.Context, dgst digest.Digest, next tombstone) (etag string, err error) {
	next.Format, next.Token = tombstoneFormat, newToken()

	body, err := json.Marshal(next)
	if err != nil {
		return "", fmt.Errorf("encode tombstone: %w", err)
	}

	return b.exchange(ctx, tombstoneKey(dgst), body, next.etag)
}

// lockStones keeps the only process there is from changing two tombstones at once, in a
// bucket that does not know conditions.
func (b *Bucket) lockStones() (unlock func()) {
	if b.client.conditional {
		return func() {}
	}

	b.stones.Lock()

	return b.stones.Unlock
}

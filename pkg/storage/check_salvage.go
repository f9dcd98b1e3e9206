package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/opencontainers/go-digest"
)

// salvage makes a state of what is left of a log: the newest checkpoint that is whole, or
// else index.json, or else all manifests that lie there; and then all records that are.
type salvage struct {
	r       *repository
	log     Log
	checked CheckedLog

	lost []loss
}

// loss is something that is not in the state although it was committed.
type loss struct{ kind, what, text string }

// Words for what a repair cannot bring back.
const (
	kindRecordsLost = "records-lost"
	kindTagLost     = "tag-lost"
)

// read returns the state. Its number is one that no record has had.
func (s *salvage) read(ctx context.Context) (*state, error) {
	st, newest, err := s.base(ctx)
	if err != nil {
		return nil, err
	}

	for record, err := range s.checked.Salvage(ctx, st.seq) {
		if err != nil {
			return nil, err
		}

		if record.Seq != st.seq+1 {
			s.lose(kindRecordsLost, fmt.Sprint(st.seq+1),
				fmt.Sprintf("records %d to %d of %s are lost: what they did is not known", st.seq+1, record.Seq-1, s.r.name))
		}

		st.fold(record)
	}

	nothing := st.seq == 0
	newest = max(newest, st.seq)

	if nothing || len(s.lost) > 0 {
		if err := s.addFound(ctx, st); err != nil {
			return nil, err
		}
	}

	if err := s.complete(ctx, st); err != nil {
		return nil, err
	}

	st.seq = newest + 1
	if s.r.store.remote { // other replicas may know records that are lost, and take nothing older
		st.seq += lostNumbers
	}

	return st, nil
}

// lostNumbers is more than the records that a head has of its own.
const lostNumbers = 10_000

func (s *salvage) lose(kind, what, text string) {
	s.lost = append(s.lost, loss{kind, RepoPrefix(s.r.name) + what, text})
}

// base returns the state of the newest checkpoint that is whole, or of index.json, or an
// empty one; and the highest number that any of them names.
func (s *salvage) base(ctx context.Context) (st *state, newest uint64, err error) {
	kept, err := s.checked.Checkpoints(ctx)
	if err != nil {
		return nil, 0, err
	}

	for _, info := range kept {
		newest = max(newest, info.Seq)
	}

	for _, info := range kept {
		st, err := decodeKept(ctx, s.checked, info)
		if err == nil {
			return st, newest, nil
		}

		if !errors.Is(err, ErrDamaged) && !isNotExist(err) {
			return nil, 0, err
		}
	}

	data, _, err := readIndex(ctx, s.log)
	if err != nil {
		return nil, 0, err
	}

	index, err := parseIndex(data)
	if err != nil || len(index.entries) == 0 || index.seq == 0 {
		return newState(), newest, nil //nolint:nilerr // one that cannot be read is none
	}

	newest = max(newest, index.seq)

	// Records from the first one on say more than index.json.
	if s.beginsAtOne(ctx) {
		return newState(), newest, nil
	}

	st, err = s.r.rebuild(ctx, index.seq)

	return st, newest, err
}

func (s *salvage) beginsAtOne(ctx context.Context) bool {
	for record, err := range s.checked.Salvage(ctx, 0) {
		return err == nil && record.Seq == 1
	}

	return false
}

// addFound adds the manifests that lie in the repository and of which the state knows nothing,
// since nothing tells which it had. One that was deleted by a record that is lost comes back.
// Those that nothing else holds get tags, or GC would take them.
func (s *salvage) addFound(ctx context.Context, st *state) error {
	found := newState()

	for dgst, err := range s.lying(ctx) {
		if err != nil {
			return fmt.Errorf("look for manifests: %w", err)
		}

		_, known := st.manifests.Get(dgst)
		if _, buried := st.burials.Get(dgst); known || buried {
			continue
		}

		record, err := s.r.readRecord(ctx, dgst, "")
		if err = s.r.skip(dgst, err); err != nil {
			return err
		}

		if record == nil {
			continue
		}

		if err := errors.Join(s.r.setSizes(ctx, record.Manifests), s.r.setSizes(ctx, record.Blobs)); err != nil {
			return err
		}

		found.putManifest(record)
	}

	found.manifests.Scan(func(dgst digest.Digest, record *ManifestRecord) bool {
		record.Pushed = s.r.store.opts.Now()
		st.putManifest(record)

		return true
	})
	found.manifests.Scan(func(dgst digest.Digest, record *ManifestRecord) bool {
		if !st.holdsManifest(record) {
			st.setTag(foundTag(dgst), tagEntry{Digest: dgst, Time: record.Pushed})
		}

		return true
	})

	return nil
}

// lying yields the digests of which the repository has bytes that may be a manifest.
func (s *salvage) lying(ctx context.Context) iter.Seq2[digest.Digest, error] {
	return func(yield func(digest.Digest, error) bool) {
		if pool, ok := s.r.store.driver.(PoolLister); ok {
			s.inPool(ctx, pool, yield)

			return
		}

		for info, err := range s.r.store.driver.List(ctx, RepoPrefix(s.r.name)+"blobs/", "") {
			repo, dgst, ok := SplitBlobKey(info.Key)
			if err == nil && (!ok || repo != s.r.name || info.Size > MaxManifest) {
				continue
			}

			if !yield(dgst, err) || err != nil {
				return
			}
		}
	}
}

// inPool yields what the repository is a member of: by digests, so that each comes once.
func (s *salvage) inPool(ctx context.Context, pool PoolLister, yield func(digest.Digest, error) bool) {
	var last digest.Digest

	for object, err := range pool.ListPool(ctx, "") {
		if err == nil && (object.Repo != s.r.name || object.Digest == last || object.Size > MaxManifest) {
			continue
		}

		if last = object.Digest; !yield(last, err) || err != nil {
			return
		}
	}
}

// foundTag is the tag of a manifest of which nothing is known but its bytes.
func foundTag(dgst digest.Digest) Tag {
	const enough = 12

	return Tag("recovered-" + dgst.Encoded()[:enough])
}

// complete adds the manifests that tags and indexes name and whose records are lost, and
// drops the tags that lead nowhere.
func (s *salvage) complete(ctx context.Context, st *state) error {
	wanted := &foreignIndex{}

	st.tags.Scan(func(_ Tag, entry tagEntry) bool {
		wanted.entries = append(wanted.entries, foreignEntry{Descriptor: Descriptor{Digest: entry.Digest}})

		return true
	})
	st.manifests.Scan(func(_ digest.Digest, record *ManifestRecord) bool {
		for _, child := range record.Manifests {
			if child.Size >= 0 {
				wanted.entries = append(wanted.entries, foreignEntry{Descriptor: Descriptor{Digest: child.Digest}})
			}
		}

		return true
	})

	found, err := s.r.readManifests(ctx, wanted, st)
	if err != nil {
		return err
	}

	for _, record := range found {
		if record != nil {
			record.Pushed = s.r.store.opts.Now()
			st.putManifest(record)
		}
	}

	for _, tag := range st.tags.Keys() {
		entry, _ := st.tags.Get(tag)
		if _, ok := st.manifests.Get(entry.Digest); !ok {
			st.deleteTag(tag, s.r.store.opts.Now())
			s.lose(kindTagLost, string(tag), fmt.Sprintf("tag %s:%s pointed to %s, of which nothing is left", s.r.name, tag, entry.Digest))
		}
	}

	return nil
}

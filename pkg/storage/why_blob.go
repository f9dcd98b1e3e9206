package storage

import (
	"context"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// whyBlob explains the bytes of a blob, or of a deleted manifest: what sweep asks, too.
//
// Errors: ErrBlobUnknown.
func (s *Store) whyBlob(ctx context.Context, r *repository, st *state, e *Explanation) error {
	e.What = "blob"
	e.Then = "its bytes are removed by a run of gc"

	if b, ok := st.burials.Get(e.Digest); ok {
		e.What = "deleted manifest"
		e.Grave = &Grave{Time: b.Time, Who: b.Who, Tags: b.Tags}
	}

	for named := range st.namers(e.Digest) {
		e.keep(time.Time{}, "manifest %s names it", named)
	}

	for buried := range st.buriedNamers(e.Digest) {
		e.keep(buried.Time.Add(s.gc().undelete()), "%s", whyBuried(buried, e.Digest))
	}

	if len(st.kept) > 0 && !s.remote {
		e.keep(time.Time{}, "another program's index.json has entries that zot cannot read: no blob of the repository is removed")
	}

	return s.whyBytes(ctx, r, st, e)
}

func whyBuried(b *burial, dgst digest.Digest) string {
	if b.Manifest.Digest == dgst {
		return "it was deleted at " + stamp(b.Time) + ", and can be brought back"
	}

	return "manifest " + b.Manifest.Digest.String() + ", deleted at " + stamp(b.Time) + ", names it, and can be brought back"
}

// whyBytes looks at what is stored, and at the answers that clients had.
func (s *Store) whyBytes(ctx context.Context, r *repository, st *state, e *Explanation) error {
	key := BlobKey(r.name, e.Digest)

	info, err := s.find(ctx, r, st, e.Digest)
	if isNotExist(err) && st.needs(e.Digest) {
		return nil // what names it is there all the same
	}

	if err != nil {
		return blobError(e.Digest, err)
	}

	if since := s.leases.since(key); !s.remote && s.opts.Now().Sub(since) < s.gc().Delay {
		e.keep(since.Add(s.gc().Delay), "a client was told at %s that it is there", stamp(since))
	}

	came, err := s.cameAt(ctx, info)
	if err != nil {
		return err
	}

	if age := s.opts.Now().Sub(came); !s.remote && age < s.gc().Delay {
		e.keep(came.Add(s.gc().Delay), "its file was written at %s", stamp(came))
	}

	if r.isKept() && !s.remote {
		e.keep(time.Time{}, "the repository is being backed up: no blob of it is removed meanwhile")
	}

	if !st.needs(e.Digest) {
		s.whyNotYet(r, st, s.opts.Now(), e)
	}

	if st.isHidden(e.Digest) {
		e.Then += "; clients are told already that it is deleted"
	}

	return nil
}

// namers yields the manifests that name a digest, in order.
func (s *state) namers(dgst digest.Digest) func(yield func(digest.Digest) bool) {
	return func(yield func(digest.Digest) bool) {
		if _, ok := s.refs.Get(dgst); !ok {
			return
		}

		s.manifests.Scan(func(_ digest.Digest, record *ManifestRecord) bool {
			return record.Digest == dgst || !slices.Contains(slices.Collect(record.names()), dgst) || yield(record.Digest)
		})
	}
}

// buriedNamers yields the deleted manifests that name a digest, or are it, in order.
func (s *state) buriedNamers(dgst digest.Digest) func(yield func(*burial) bool) {
	return func(yield func(*burial) bool) {
		if !s.inGrave(dgst) {
			return
		}

		s.burials.Scan(func(_ digest.Digest, b *burial) bool {
			return !slices.Contains(slices.Collect(b.Manifest.names()), dgst) || yield(b)
		})
	}
}

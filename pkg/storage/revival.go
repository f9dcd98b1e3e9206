package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
)

// revival is manifests about to be brought back, all that they name being there.
type revival struct {
	burials []*burial // children before the indexes that name them
	asked   []digest.Digest
	seen    *state // before anything was looked for
	pins    *pins
}

// revive finds what has to be brought back with the manifests asked for, keeps GC from it
// until they are ended, and checks that it is there. What exists needs nothing.
//
// Errors: ErrForgotten, ErrDamaged.
func (s *Store) revive(ctx context.Context, r *repository, asked []digest.Digest) (*revival, error) {
	back := &revival{asked: asked, seen: r.visible.Load()}

	for _, dgst := range asked {
		if err := back.add(back.seen, dgst); err != nil {
			return nil, err
		}
	}

	var named []digest.Digest
	for _, b := range back.burials {
		named = slices.AppendSeq(named, b.Manifest.names())
	}

	slices.Sort(named)
	back.pins = s.pin(r, slices.Compact(named)...)

	if _, err := back.stillBuried(r.visible.Load()); err != nil { // what GC forgot before the pin may be gone
		back.pins.end(nil)

		return nil, err
	}

	for i, b := range back.burials {
		found := *b
		found.Manifest = b.Manifest.clone() // a look finds places
		back.burials[i] = &found

		if err := s.checkBuried(ctx, r, back.seen, found.Manifest); err != nil {
			back.pins.end(nil)

			return nil, err
		}
	}

	return back, nil
}

// add adds a manifest that was deleted, and before it the children that were.
//
// Errors: ErrForgotten.
func (v *revival) add(st *state, dgst digest.Digest) error {
	if _, exists := st.manifests.Get(dgst); exists || v.has(dgst) {
		return nil
	}

	b, ok := st.burials.Get(dgst)
	if !ok {
		return fmt.Errorf("%w: manifest %s", ErrForgotten, dgst)
	}

	for _, child := range b.Manifest.Manifests {
		if err := v.add(st, child.Digest); err != nil && child.Size >= 0 {
			return err
		}
	}

	v.burials = append(v.burials, b)

	return nil
}

func (v *revival) has(dgst digest.Digest) bool {
	return slices.ContainsFunc(v.burials, func(b *burial) bool { return b.Manifest.Digest == dgst })
}

// checkBuried says whether r holds the bytes of a manifest and of what it names, with the size
// that they had, and notes where: a client may have deleted some in a bucket, and pushed them
// again.
//
// Errors: ErrDamaged.
func (s *Store) checkBuried(ctx context.Context, r *repository, st *state, m *ManifestRecord) error {
	own := Ref{Digest: m.Digest, Size: m.Size}

	refs := []*Ref{&own}
	for i := range m.Blobs {
		refs = append(refs, &m.Blobs[i])
	}

	err := s.each(len(refs), func(i int) error {
		ref := refs[i]
		if ref.Size < 0 { // nobody has ever seen it
			return nil
		}

		info, err := s.find(ctx, r, st, ref.Digest)

		switch {
		case isNotExist(err):
			return fmt.Errorf("%w: %s, which %s needs, is missing", ErrDamaged, ref.Digest, m.Digest)
		case err != nil:
			return fmt.Errorf("look for %s: %w", ref.Digest, err)
		case info.Size != ref.Size || s.durability.isDamaged(info.Key):
			return fmt.Errorf("%w: %s, which %s needs, is %d bytes long, not %d", ErrDamaged, ref.Digest, m.Digest, info.Size, ref.Size)
		}

		ref.At = placeOf(BlobKey(r.name, ref.Digest), info.Key)

		return nil
	})
	m.At = own.At

	return err
}

// ops brings the manifests back, unless one of them cannot be any more. One that was pushed
// meanwhile is there.
func (v *revival) ops(pending *state) ([]Op, error) {
	buried, err := v.stillBuried(pending)
	if err != nil {
		return nil, err
	}

	var ops []Op
	for _, b := range buried {
		ops = append(ops, Op{Kind: OpPutManifest, Manifest: b.Manifest})
	}

	return ops, v.recheck(pending)
}

// stillBuried returns the burials of manifests that do not exist in a state, which has them.
//
// Errors: ErrForgotten.
func (v *revival) stillBuried(st *state) ([]*burial, error) {
	var buried []*burial

	for _, b := range v.burials {
		dgst := b.Manifest.Digest
		if _, exists := st.manifests.Get(dgst); exists {
			continue
		}

		if now, ok := st.burials.Get(dgst); !ok || now.Seq != b.Seq {
			return nil, errors.Join(errMoved, fmt.Errorf("%w: manifest %s", ErrForgotten, dgst))
		}

		buried = append(buried, b)
	}

	return buried, nil
}

// recheck says whether what was seen is still there: the manifests that exist, the children,
// and the blobs.
func (v *revival) recheck(pending *state) error {
	needed := slices.Clone(v.asked)

	for _, b := range v.burials {
		for _, child := range b.Manifest.Manifests {
			if child.Size >= 0 {
				needed = append(needed, child.Digest)
			}
		}

		for dgst := range b.Manifest.names() {
			was, _ := v.seen.hidden.Get(dgst)
			if now, hidden := pending.hidden.Get(dgst); hidden && !now.Equal(was) {
				return errMoved
			}

			if pending.sweptSince(dgst, v.seen.seq) {
				return errMoved
			}
		}
	}

	for _, dgst := range needed {
		if _, exists := pending.manifests.Get(dgst); !exists && !v.has(dgst) {
			return errMoved
		}
	}

	return nil
}

// tags gives the manifests that were asked for the tags that went with them, where those do
// not exist by now.
func (v *revival) tags(pending *state) (Restored, []Op) {
	done := Restored{Manifests: []digest.Digest{}, Tags: []Tag{}, Taken: []Tag{}}

	var ops []Op

	for _, b := range v.burials {
		done.Manifests = append(done.Manifests, b.Manifest.Digest)

		if !slices.Contains(v.asked, b.Manifest.Digest) {
			continue
		}

		for _, tag := range b.Tags {
			if _, exists := pending.tags.Get(tag); exists {
				done.Taken = append(done.Taken, tag)
			} else {
				done.Tags = append(done.Tags, tag)
				ops = append(ops, Op{Kind: OpSetTag, Tag: tag, Digest: b.Manifest.Digest})
			}
		}
	}

	return done, ops
}

package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
)

// StatBlob implements Blobs.
func (s *Store) StatBlob(ctx context.Context, repo RepoName, dgst digest.Digest) (int64, error) {
	info, err := s.statBlob(ctx, repo, dgst)

	return info.Size, err
}

func (s *Store) statBlob(ctx context.Context, repo RepoName, dgst digest.Digest) (Info, error) {
	var info Info

	err := s.repos.with(ctx, repo, s.repos.recent(), func(r *repository) error {
		var seen bool
		if info, seen = r.glanced(dgst); seen {
			return nil
		}

		return s.leased(ctx, r, dgst, func() (err error) {
			info, err = s.glance(ctx, r, dgst)
			if errors.Is(err, ErrDamaged) {
				err = fmt.Errorf("%w: %s", ErrBlobUnknown, dgst) // so that the client pushes it again
			}

			return err
		})
	})

	return info, err
}

// BlobURL implements Blobs.
func (s *Store) BlobURL(ctx context.Context, repo RepoName, dgst digest.Digest) (string, error) {
	signer, ok := s.driver.(Signer)
	if !ok || !s.opts.Redirect {
		return "", nil
	}

	info, err := s.statBlob(ctx, repo, dgst)
	if err != nil {
		return "", err
	}

	return signer.SignURL(ctx, info.Key)
}

// OpenBlob implements Blobs.
func (s *Store) OpenBlob(ctx context.Context, repo RepoName, dgst digest.Digest, rng Range) (*Object, error) {
	var object *Object

	err := s.repos.with(ctx, repo, s.repos.recent(), func(r *repository) error {
		return s.leased(ctx, r, dgst, func() (err error) {
			if object != nil { // it has to be looked for again
				err = object.Close()
			}

			if err == nil {
				object, err = s.openKept(ctx, r, dgst, rng)
			}

			return err
		})
	})
	if err != nil && object != nil {
		return nil, errors.Join(err, object.Close())
	}

	return object, err
}

// DeleteBlob implements Blobs.
func (s *Store) DeleteBlob(ctx context.Context, repo RepoName, dgst digest.Digest, who string) error {
	return s.repos.with(ctx, repo, s.repos.now(), func(r *repository) error {
		if _, err := s.stat(ctx, r, dgst); err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}

		return s.hide(ctx, r, dgst, who)
	})
}

// hide commits that a blob is gone, and then removes what a bucket has for r alone. What
// is to go is listed before the commit, and named by it: what is pushed meanwhile is something
// new, and stays, and whoever has looked at the blob before has to look for something else.
func (s *Store) hide(ctx context.Context, r *repository, dgst digest.Digest, who string) error {
	members, err := s.members(ctx, r, dgst)
	if err != nil {
		return fmt.Errorf("delete blob %s: %w", dgst, err)
	}

	err = r.commit(who, func(pending *state) ([]Op, error) {
		if !s.remote && pending.isHidden(dgst) {
			return nil, fmt.Errorf("%w: %s", ErrBlobUnknown, dgst)
		}

		if pending.inUse(dgst) {
			return nil, fmt.Errorf("%w: a manifest names %s", ErrInUse, dgst)
		}

		return []Op{{Kind: OpHideBlob, Digest: dgst, Members: members}}, nil
	})
	if err != nil {
		return err
	}

	return s.removeMembers(context.WithoutCancel(ctx), r, dgst, members)
}

// members lists what makes r hold a blob in a bucket, by places.
func (s *Store) members(ctx context.Context, r *repository, dgst digest.Digest) ([]string, error) {
	if !s.remote {
		return nil, nil
	}

	var members []string

	key := BlobKey(r.name, dgst)

	for info, err := range s.driver.List(ctx, key+"/", "") {
		if err != nil {
			return nil, fmt.Errorf("list what holds %s: %w", dgst, err)
		}

		members = append(members, placeOf(key, info.Key))
	}

	return members, nil
}

func (s *Store) removeMembers(ctx context.Context, r *repository, dgst digest.Digest, members []string) error {
	return s.each(len(members), func(i int) error {
		if err := s.driver.Delete(ctx, placedKey(r.name, dgst, members[i])); err != nil {
			return err
		}

		if at := (spot{r.name, members[i]}); s.durability.marks.has(dgst, at) {
			return s.durability.unmark(ctx, dgst, at)
		}

		return nil
	})
}

// stat says where a blob that r holds is, and how large. What the state knows a bucket
// is not asked for.
//
// Errors: ErrBlobUnknown; ErrDamaged if it is there, but is not what it should be.
func (s *Store) stat(ctx context.Context, r *repository, dgst digest.Digest) (Info, error) {
	st := r.visible.Load()
	if err := s.checkShown(st, dgst); err != nil {
		return Info{}, err
	}

	size, at, known := st.lookup(dgst)
	if known && at != "" {
		info := Info{Key: placedKey(r.name, dgst, at), Size: size}

		return info, s.checkSize(ctx, r, st, dgst, info)
	}

	info, err := s.find(ctx, r, st, dgst)
	if isNotExist(err) && s.recall(ctx, r, st, dgst) {
		info, err = s.find(ctx, r, st, dgst)
	}

	if err != nil {
		return Info{}, blobError(dgst, err)
	}

	if err := s.checkSize(ctx, r, st, dgst, info); err != nil || known {
		return info, err
	}

	return info, s.trust(ctx, info.Key, dgst)
}

// open opens a blob that r holds. The size is checked before any byte is given out.
func (s *Store) open(ctx context.Context, r *repository, dgst digest.Digest, rng Range) (*Object, error) {
	st := r.visible.Load()
	if err := s.checkShown(st, dgst); err != nil {
		return nil, err
	}

	key, err := s.keyOf(ctx, r, st, dgst)
	if err != nil {
		return nil, blobError(dgst, err)
	}

	if !st.vouchesFor(dgst) {
		if err := s.trust(ctx, key, dgst); err != nil {
			return nil, err
		}
	}

	object, err := s.driver.Open(ctx, key, rng)
	if isNotExist(err) && s.recall(ctx, r, st, dgst) {
		object, err = s.driver.Open(ctx, key, rng)
	}

	if s.remote && isNotExist(err) && st.vouchesFor(dgst) { // else HEAD, which does not ask, says that it is there
		s.durability.markDamaged(ctx, BlobKey(r.name, dgst), "its bytes are missing")
	}

	if err != nil {
		return nil, blobError(dgst, err)
	}

	if err := s.checkSize(ctx, r, st, dgst, Info{Key: key, Size: object.Size}); err != nil {
		return nil, errors.Join(err, object.Close())
	}

	return object, nil
}

// find asks the driver where a blob is that the state does not know.
//
// Errors: fs.ErrNotExist.
func (s *Store) find(ctx context.Context, r *repository, st *state, dgst digest.Digest) (Info, error) {
	if pool, ok := s.driver.(Pool); ok {
		return pool.StatCounted(ctx, BlobKey(r.name, dgst), st.counted(dgst))
	}

	return s.driver.Stat(ctx, BlobKey(r.name, dgst))
}

// keyOf is the key to open a blob at: with its place, unless the driver finds it anyway.
func (s *Store) keyOf(ctx context.Context, r *repository, st *state, dgst digest.Digest) (string, error) {
	_, at, _ := st.lookup(dgst)
	if _, ok := s.driver.(Pool); !ok || at != "" {
		return placedKey(r.name, dgst, at), nil
	}

	info, err := s.find(ctx, r, st, dgst)

	return info.Key, err
}

// checkShown says whether a blob was deleted. A bucket tells by what counts of it, and so
// whether it was pushed again since.
//
// Errors: ErrBlobUnknown.
func (s *Store) checkShown(st *state, dgst digest.Digest) error {
	if s.remote || !st.isHidden(dgst) {
		return nil
	}

	return fmt.Errorf("%w: %s", ErrBlobUnknown, dgst)
}

// openKept opens a blob, a small one of a remote driver in memory.
func (s *Store) openKept(ctx context.Context, r *repository, dgst digest.Digest, rng Range) (*Object, error) {
	size, at, known := r.visible.Load().lookup(dgst)
	if !s.remote || !known || at == "" || size > maxBody {
		return s.open(ctx, r, dgst, rng)
	}

	kept, err := s.readKept(ctx, r, dgst)
	if err != nil {
		return nil, err
	}

	if rng.Offset > size || rng.Offset == size && size > 0 {
		return nil, fmt.Errorf("%w: blob %s is %d bytes long", ErrRange, dgst, size)
	}

	end := size
	if rng.Length >= 0 {
		end = min(end, rng.Offset+rng.Length)
	}

	return &Object{Body: bytes.NewReader(kept[rng.Offset:end]), Size: size, Closer: io.NopCloser(nil)}, nil
}

// readKept reads a manifest, or a small blob, whole: from memory, or else from the
// driver, and then keeps it. Its bytes are verified: memory must not make damage last.
//
// Errors: ErrBlobUnknown, ErrDamaged.
func (s *Store) readKept(ctx context.Context, r *repository, dgst digest.Digest) ([]byte, error) {
	_, at, _ := r.visible.Load().lookup(dgst)
	if kept, ok := s.bodies.get(dgst); ok && !s.durability.isDamaged(placedKey(r.name, dgst, at)) {
		return kept, nil
	}

	read, err := s.readWhole(ctx, r, dgst)
	if err != nil {
		return nil, err
	}

	if got := dgst.Algorithm().FromBytes(read); got != dgst {
		s.durability.markDamaged(ctx, BlobKey(r.name, dgst), "its content is "+got.String())

		return nil, fmt.Errorf("%w: blob %s", ErrDamaged, dgst)
	}

	s.bodies.put(dgst, read)

	return read, nil
}

func (s *Store) readWhole(ctx context.Context, r *repository, dgst digest.Digest) (read []byte, err error) {
	object, err := s.open(ctx, r, dgst, Whole)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, object.Close()) }()

	var buf bytes.Buffer

	buf.Grow(int(object.Size) + bytes.MinRead) // so that ReadFrom need not grow it to see the end

	if _, err := buf.ReadFrom(object.Body); err != nil {
		return nil, fmt.Errorf("read %s: %w", dgst, err)
	}

	return buf.Bytes(), nil
}

func blobError(dgst digest.Digest, err error) error {
	switch {
	case isNotExist(err):
		return fmt.Errorf("%w: %s", ErrBlobUnknown, dgst)
	case errors.Is(err, ErrRange):
		return fmt.Errorf("%w: no byte of blob %s is in it", ErrRange, dgst)
	}

	return fmt.Errorf("blob %s: %w", dgst, err)
}

// checkSize says whether stored bytes can be what a manifest says they are. If not,
// the blob is marked, until the same digest is pushed again.
//
// Errors: ErrDamaged.
func (s *Store) checkSize(ctx context.Context, r *repository, st *state, dgst digest.Digest, info Info) error {
	if want, _, known := st.lookup(dgst); known && want != info.Size {
		s.durability.markDamaged(ctx, BlobKey(r.name, dgst), fmt.Sprintf("it is %d bytes long, not %d", info.Size, want))
	}

	if s.durability.isDamaged(info.Key) {
		return fmt.Errorf("%w: blob %s", ErrDamaged, dgst)
	}

	return nil
}

// verify reads a blob whole, and marks it if it is not what its name says.
//
// Errors: ErrDamaged, ErrBlobUnknown.
func (s *Store) verify(ctx context.Context, r *repository, dgst digest.Digest) (err error) {
	object, err := s.open(ctx, r, dgst, Whole)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, object.Close()) }()

	got, err := dgst.Algorithm().FromReader(object.Body)
	if err != nil {
		return fmt.Errorf("verify blob %s: %w", dgst, err)
	}

	if got != dgst {
		s.durability.markDamaged(ctx, BlobKey(r.name, dgst), "its content is "+got.String())

		return fmt.Errorf("%w: blob %s", ErrDamaged, dgst)
	}

	return nil
}

// readObject reads a small object whole.
//
// Errors: fs.ErrNotExist; ErrDamaged if it is longer than limit.
func readObject(ctx context.Context, driver Driver, key string, limit int64) (data []byte, err error) {
	object, err := driver.Open(ctx, key, Whole)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", key, err)
	}
	defer func() { err = errors.Join(err, object.Close()) }()

	if object.Size > limit {
		return nil, fmt.Errorf("%w: %s is %d bytes long, at most %d are expected", ErrDamaged, key, object.Size, limit)
	}

	data = make([]byte, object.Size)
	if _, err := io.ReadFull(object.Body, data); err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}

	return data, nil
}

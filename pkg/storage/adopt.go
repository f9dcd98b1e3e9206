package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// halfWritten is for how long an index.json that does not parse is taken for one
// that its program is still writing. Then it is damage, and the next checkpoint
// replaces it.
const halfWritten = time.Minute

// adoptOrServe adopts, and if that fails serves what is known: a disk that is full
// must not stop pulls. Nothing is lost: index.json stays as it is, and is looked at
// again with the next request.
func (r *repository) adoptOrServe(adopt func() error) error {
	err := adopt()
	if err == nil || errors.Is(err, ErrConflict) {
		return nil
	}

	if !r.visible.Load().exists() {
		return err
	}

	if now := r.store.opts.Now().UnixNano(); now-r.warned.Load() > int64(halfWritten) {
		r.warned.Store(now)
		r.store.opts.Log.Warn().Err(err).Str("repository", string(r.name)).
			Msg("cannot take in the index.json of another program; serving what was there before")
	}

	return nil
}

// adopt takes in what another program has written into index.json, as a commit. One
// of ours, and one that is known already, change nothing.
//
// Errors: ErrConflict if it does not parse: it may be half-written.
func (r *repository) adopt(ctx context.Context) error {
	r.adopting.Lock()
	defer r.adopting.Unlock()

	data, version, err := readIndex(ctx, r.log)
	if err != nil {
		return err
	}

	written, ours := checkIndex(data)
	if !ours && data != nil {
		if err := r.adoptForeign(ctx, data, version); err != nil {
			return err
		}
	}

	if !ours {
		written = 0
	}

	r.wantIndex(written)
	r.log.TookIndex(version)

	return nil
}

func (r *repository) adoptForeign(ctx context.Context, data []byte, version any) error {
	stamp := digest.FromBytes(data)
	if r.visible.Load().adopted == stamp {
		return nil
	}

	index, err := parseIndex(data)
	if err != nil {
		return r.wait(version, err)
	}

	return r.adoptIndex(context.WithoutCancel(ctx), stamp, index)
}

// wait says whether an index.json that does not parse may still become one.
func (r *repository) wait(version any, why error) error {
	now := r.store.opts.Now()

	if r.unreadable != version {
		r.unreadable, r.since = version, now
		r.store.opts.Log.Warn().Err(why).Str("repository", string(r.name)).
			Msg("index.json was changed by another program and cannot be read; waiting for it to be whole")
	}

	if now.Sub(r.since) < halfWritten {
		return fmt.Errorf("%w: index.json cannot be read: %w", ErrConflict, why)
	}

	r.store.opts.Log.Error().Err(why).Str("repository", string(r.name)).
		Msg("index.json cannot be read; the next checkpoint replaces it")

	return nil
}

func (r *repository) adoptIndex(ctx context.Context, stamp digest.Digest, index *foreignIndex) error {
	base, err := r.baseOf(ctx, index)
	if err != nil {
		return err
	}

	found, err := r.readManifests(ctx, index, r.visible.Load())
	if err != nil {
		return err
	}

	// The other program's bytes are on disk before a record names them.
	if err := r.store.durability.flush(ctx); err != nil {
		return err
	}

	err = r.commit("", func(pending *state) ([]Op, error) {
		ops, kept := adoption(index, found, base, pending)

		return append(ops, Op{Kind: OpAdoptIndex, Digest: stamp, Extra: index.extra, Kept: kept}), nil
	})
	if err != nil {
		return fmt.Errorf("adopt index.json: %w", err)
	}

	r.store.opts.Log.Info().Str("repository", string(r.name)).Int("entries", len(index.entries)).
		Int("kept", len(r.visible.Load().kept)).Msg("adopted the index.json of another program")

	return nil
}

// retryEvery is how often entries that could not be taken are tried again.
const retryEvery = 2 * time.Second

// retryKept takes in what another program's index.json named before it was there: a
// layout that is being copied into the root has its index.json first.
func (r *repository) retryKept(ctx context.Context) error {
	st, now := r.visible.Load(), r.store.opts.Now().UnixNano()
	if len(st.kept) == 0 || now-r.retried.Swap(now) < int64(retryEvery) {
		return nil
	}

	r.adopting.Lock()
	defer r.adopting.Unlock()

	index := &foreignIndex{}
	index.add(st.kept)

	found, err := r.readManifests(ctx, index, st)
	if err != nil || !slices.ContainsFunc(slices.Collect(maps.Values(found)), isRecord) {
		return err
	}

	if err := r.store.durability.flush(ctx); err != nil {
		return err
	}

	return r.commit("", func(pending *state) ([]Op, error) {
		ops, kept := adoption(index, found, nil, pending)

		return append(ops, Op{Kind: OpAdoptIndex, Digest: pending.adopted, Extra: pending.extra, Kept: kept}), nil
	})
}

func isRecord(record *ManifestRecord) bool { return record != nil }

// baseOf returns the state that the other program started from, nil if that is not
// known any more.
func (r *repository) baseOf(ctx context.Context, index *foreignIndex) (*state, error) {
	if index.seq == 0 {
		return nil, nil //nolint:nilnil // no base is an answer
	}

	file, err := r.log.OpenCheckpoint(ctx, index.seq)
	if isNotExist(err) {
		return nil, nil //nolint:nilnil // as above
	}

	if err != nil {
		return nil, fmt.Errorf("open checkpoint %d: %w", index.seq, err)
	}

	base, err := decodeCheckpoint(file)
	if err = errors.Join(err, file.Close()); errors.Is(err, ErrDamaged) {
		return nil, nil //nolint:nilnil // as above
	}

	return base, err
}

// readManifests reads the manifests that index names, by itself or in an index, and
// that st does not have. What is missing or no manifest is left out.
func (r *repository) readManifests(
	ctx context.Context, index *foreignIndex, st *state,
) (map[digest.Digest]*ManifestRecord, error) {
	found := map[digest.Digest]*ManifestRecord{}

	for _, entry := range index.entries {
		if entry.Digest == "" {
			continue
		}

		if err := r.readManifestTree(ctx, entry.Digest, entry.MediaType, st, found); err != nil {
			return nil, err
		}
	}

	return found, nil
}

func (r *repository) readManifestTree(
	ctx context.Context, dgst digest.Digest, mediaType string, st *state, found map[digest.Digest]*ManifestRecord,
) error {
	if _, seen := found[dgst]; seen {
		return nil
	}

	if _, ok := st.manifests.Get(dgst); ok {
		return nil
	}

	record, err := r.readRecord(ctx, dgst, mediaType)
	if err = r.skip(dgst, err); err != nil {
		return err
	}

	found[dgst] = record // nil: not there
	if record == nil {
		return nil
	}

	for _, child := range record.Manifests {
		if err := r.readManifestTree(ctx, child.Digest, "", st, found); err != nil {
			return err
		}
	}

	return errors.Join(r.setSizes(ctx, record.Manifests), r.setSizes(ctx, record.Blobs))
}

func (r *repository) setSizes(ctx context.Context, refs []Ref) (err error) {
	for i, named := range refs {
		if refs[i].Size, err = r.sizeOnDisk(ctx, named); err != nil {
			return err
		}
	}

	return nil
}

// skip decides what an error means: nil if the manifest is not there, is none that zot
// takes, or is out of reach. Its entry is kept, so it may come later.
func (r *repository) skip(dgst digest.Digest, err error) error {
	var invalid *ManifestError

	switch {
	case err == nil:
		return nil
	case isNotExist(err), errors.As(err, &invalid), errors.Is(err, ErrDigestMismatch),
		errors.Is(err, ErrDamaged), errors.Is(err, fs.ErrPermission):
		r.store.opts.Log.Debug().Err(err).Str("repository", string(r.name)).Str("digest", dgst.String()).
			Msg("a manifest that another program's index.json names is not taken")

		return nil
	}

	return err
}

// readRecord reads a manifest from its file, and checks that it is what its name
// says.
//
// Errors: fs.ErrNotExist; ErrDigestMismatch; *ManifestError.
func (r *repository) readRecord(ctx context.Context, dgst digest.Digest, mediaType string) (*ManifestRecord, error) {
	body, err := readObject(ctx, r.store.driver, BlobKey(r.name, dgst), MaxManifest)
	if err != nil {
		return nil, err
	}

	if dgst.Algorithm().FromBytes(body) != dgst {
		return nil, ErrDigestMismatch
	}

	return parseManifest(body, dgst, mediaType)
}

// sizeOnDisk returns the size that a manifest's Ref may be said to have: -1, nobody
// has seen it, if it is not there, and what the manifest says if the bytes are not
// what their name says: then a read will find that they are damaged.
func (r *repository) sizeOnDisk(ctx context.Context, named Ref) (int64, error) {
	info, err := r.store.driver.Stat(ctx, BlobKey(r.name, named.Digest))
	if isNotExist(err) {
		return -1, nil
	}

	if err != nil || info.Size == named.Size {
		return named.Size, err
	}

	err = r.store.verify(ctx, r, named.Digest)
	if errors.Is(err, ErrDamaged) {
		return named.Size, nil
	}

	return info.Size, err
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/opencontainers/go-digest"
)

// adopt takes in what another program has written into index.json, as a commit. An
// index.json of ours, one that is known already, and one that does not parse (it may
// be half-written) change nothing.
func (r *repository) adopt(ctx context.Context) error {
	data, err := readIndex(ctx, r.log)
	if err != nil || data == nil {
		return err
	}

	if _, ours := checkIndex(data); ours {
		return nil
	}

	stamp := digest.FromBytes(data)
	if r.visible.Load().adopted == stamp {
		r.foreign.Store(true)

		return nil
	}

	index, err := parseIndex(data)
	if err != nil {
		r.store.opts.Log.Warn().Err(err).Str("repository", string(r.name)).
			Msg("index.json was changed by another program and cannot be read; looking again when it changes")

		return nil
	}

	return r.adoptIndex(ctx, stamp, index)
}

func (r *repository) adoptIndex(ctx context.Context, stamp digest.Digest, index *foreignIndex) error {
	base, err := r.baseOf(ctx, index)
	if err != nil {
		return err
	}

	if err := r.store.durability.settle(ctx); err != nil {
		return err
	}

	err = r.commit("", func(pending *state) ([]Op, error) {
		ops, err := r.adoption(ctx, index, base, pending)

		return append(ops, Op{Kind: OpAdoptIndex, Digest: stamp, Extra: index.extra}), err
	})
	if err != nil {
		return fmt.Errorf("adopt index.json: %w", err)
	}

	r.foreign.Store(true)
	r.store.opts.Log.Info().Str("repository", string(r.name)).Int("entries", len(index.entries)).
		Msg("adopted the index.json of another program")

	return nil
}

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

	return base, errors.Join(err, file.Close())
}

// adoption returns what has to be done so that pending takes in what index changes
// from base. Without a base only what is not there is taken: no tag is moved and
// nothing deleted. With one, what we have changed ourselves since stays ours.
func (r *repository) adoption(ctx context.Context, index *foreignIndex, base, pending *state) ([]Op, error) {
	a := &adopter{repo: r, base: base, pending: pending, seen: map[digest.Digest]bool{}, tagged: map[Tag]bool{}}

	for _, entry := range index.entries {
		if err := a.take(ctx, entry); err != nil {
			return nil, err
		}
	}

	a.removed()

	return a.ops, nil
}

// adopter collects the operations of one adoption.
type adopter struct {
	repo    *repository
	base    *state // nil = unknown
	pending *state
	ops     []Op
	seen    map[digest.Digest]bool // manifests that the index names, by itself or in an index; true = there
	tagged  map[Tag]bool           // tags in the index
}

// take adopts one entry of the index.
func (a *adopter) take(ctx context.Context, entry foreignEntry) error {
	extra := entry.extra
	if entry.tag != "" {
		extra = nil // kept with the tag
	}

	there, err := a.manifest(ctx, entry.Digest, entry.MediaType, extra)
	if err != nil || !there || entry.tag == "" {
		return err
	}

	tag, err := ParseTag(entry.tag)
	if err != nil {
		a.skip(entry.Digest, err)

		return nil
	}

	a.tagged[tag] = true

	if a.movesTag(tag, entry.Digest) {
		a.ops = append(a.ops, Op{Kind: OpSetTag, Tag: tag, Digest: entry.Digest, Extra: entry.extra})
	}

	return nil
}

// movesTag says whether the index wants tag elsewhere than it is, and may have it.
func (a *adopter) movesTag(tag Tag, to digest.Digest) bool {
	now, exists := a.pending.tags.Get(tag)

	if a.base == nil {
		return !exists
	}

	was, had := a.base.tags.Get(tag)
	unmoved := exists == had && now.Digest == was.Digest

	return unmoved && now.Digest != to
}

// manifest adopts a manifest and what it names, and says whether it is there.
func (a *adopter) manifest(ctx context.Context, dgst digest.Digest, mediaType string, extra json.RawMessage) (bool, error) {
	if there, seen := a.seen[dgst]; seen {
		return there, nil
	}

	a.seen[dgst] = true

	if _, ok := a.pending.manifests.Get(dgst); ok {
		return true, nil
	}

	if a.base != nil {
		if _, had := a.base.manifests.Get(dgst); had { // we deleted it since
			a.seen[dgst] = false

			return false, nil
		}
	}

	record, err := a.repo.readRecord(ctx, dgst, mediaType)
	if err != nil {
		return false, a.unreadable(dgst, err)
	}

	for i, child := range record.Manifests {
		if _, err := a.manifest(ctx, child.Digest, "", nil); err != nil {
			return false, err
		}

		record.Manifests[i].Size = a.repo.sizeOnDisk(ctx, child)
	}

	for i, blob := range record.Blobs {
		record.Blobs[i].Size = a.repo.sizeOnDisk(ctx, blob)
	}

	record.Extra = extra
	a.ops = append(a.ops, Op{Kind: OpPutManifest, Manifest: record})

	return true, nil
}

// unreadable decides what a manifest that cannot be read means: that it is not
// there, or that we cannot tell.
func (a *adopter) unreadable(dgst digest.Digest, err error) error {
	var invalid *ManifestError
	if !isNotExist(err) && !errors.As(err, &invalid) && !errors.Is(err, ErrDigestMismatch) {
		return err
	}

	a.seen[dgst] = false
	a.skip(dgst, err)

	return nil
}

func (a *adopter) skip(dgst digest.Digest, why error) {
	a.repo.store.opts.Log.Warn().Err(why).Str("repository", string(a.repo.name)).Str("digest", dgst.String()).
		Msg("an entry of another program's index.json is not taken")
}

// removed adopts that tags and manifests have gone from the index since base.
func (a *adopter) removed() {
	if a.base == nil {
		return
	}

	a.base.tags.Scan(func(tag Tag, was tagEntry) bool {
		if now, exists := a.pending.tags.Get(tag); exists && !a.tagged[tag] && now.Digest == was.Digest {
			a.ops = append(a.ops, Op{Kind: OpDeleteTag, Tag: tag})
		}

		return true
	})
	a.base.manifests.Scan(func(dgst digest.Digest, _ *ManifestRecord) bool {
		if _, named := a.seen[dgst]; !named && a.unused(dgst) {
			a.ops = append(a.ops, Op{Kind: OpDeleteManifest, Digest: dgst})
		}

		return true
	})
}

// unused says whether nothing of ours, neither a tag set since nor an index, needs a
// manifest that the other program has removed.
func (a *adopter) unused(dgst digest.Digest) bool {
	if _, ok := a.pending.manifests.Get(dgst); !ok || a.pending.inIndex(dgst) {
		return false
	}

	for _, tag := range a.pending.tagsOf(dgst) {
		if was, had := a.base.tags.Get(tag); !had || was.Digest != dgst || a.tagged[tag] {
			return false
		}
	}

	return true
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

// sizeOnDisk returns the size of what a manifest names: -1, nobody has seen it, if
// it is not there.
func (r *repository) sizeOnDisk(ctx context.Context, named Ref) int64 {
	info, err := r.store.driver.Stat(ctx, BlobKey(r.name, named.Digest))
	if err != nil {
		return -1
	}

	return info.Size
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

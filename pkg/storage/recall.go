package storage

import (
	"context"

	"github.com/opencontainers/go-digest"
)

// recall brings back a blob that a manifest of r names, and whose file is gone from a directory
// though nobody has deleted it here: from another repository that has the bytes. It says whether
// the blob is there now.
func (s *Store) recall(ctx context.Context, r *repository, st *state, dgst digest.Digest) bool {
	size, _, named := st.lookup(dgst)
	key := BlobKey(r.name, dgst)

	if s.remote || s.opts.Passive || !named || s.durability.isDamaged(key) {
		return false
	}

	if s.holds(ctx, key, size) { // another request was first, or a push
		return true
	}

	// Who comes here at the same moment links the same bytes.
	begun := s.durability.writing(key)
	if s.linkKnown(ctx, dgst, key, size) == "" {
		return false
	}

	log := s.opts.Log.With().Str("blob", key).Logger()
	if err := s.arrived(ctx, dgst, key, begun); err != nil {
		log.Error().Err(err).Msg("a blob was missing, and cannot be brought back")

		return false
	}

	log.Warn().Msg("a blob was missing; another repository had it")

	return true
}

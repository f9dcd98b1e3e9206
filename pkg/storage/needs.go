package storage

import (
	"hash/maphash"
	"slices"

	"github.com/opencontainers/go-digest"
)

// needs is what repositories need, as 8 bytes for each pair of a repository and a digest,
// and 8 for each digest: hashes, sorted. Two that are equal by chance keep garbage, no more.
type needs struct {
	seed   maphash.Seed
	hashes []uint64
	looked map[RepoName]uint64 // the number of the state that was looked at
}

func newNeeds() *needs { return &needs{seed: maphash.MakeSeed(), looked: map[RepoName]uint64{}} }

func (n *needs) hash(repo RepoName, dgst digest.Digest) uint64 {
	var h maphash.Hash

	h.SetSeed(n.seed)
	_, _ = h.WriteString(string(repo)) // never fails
	_ = h.WriteByte(0)
	_, _ = h.WriteString(string(dgst))

	return h.Sum64()
}

// add notes all that a state needs.
func (n *needs) add(repo RepoName, st *state) {
	n.looked[repo] = st.seq

	note := func(dgst digest.Digest) bool {
		n.hashes = append(n.hashes, n.hash(repo, dgst), n.hash("", dgst))

		return true
	}

	st.manifests.Scan(func(dgst digest.Digest, _ *ManifestRecord) bool { return note(dgst) })
	st.refs.Scan(func(dgst digest.Digest, _ ref) bool { return note(dgst) })
	st.graves.Scan(func(dgst digest.Digest, _ int) bool { return note(dgst) })
}

// seal ends the adding.
func (n *needs) seal() {
	slices.Sort(n.hashes)
	n.hashes = slices.Compact(n.hashes)
}

// has says whether repo may need dgst.
func (n *needs) has(repo RepoName, dgst digest.Digest) bool {
	_, found := slices.BinarySearch(n.hashes, n.hash(repo, dgst))

	return found
}

// hasDigest says whether any repository may need dgst.
func (n *needs) hasDigest(dgst digest.Digest) bool { return n.has("", dgst) }

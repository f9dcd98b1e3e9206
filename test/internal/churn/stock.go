package churn

import (
	"fmt"
	"math/rand/v2"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/internal/wire"
)

// Sizes of layers, in bytes; one in eight is large.
const (
	small = 10_000
	large = 200_000
)

const configFormat = `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{"Labels":{"of":%q}}}`

// stock is what one client has to push.
type stock struct {
	images    []*wire.Image
	artifacts []*wire.Image // one for each image, its subject
	own       [][]byte      // layers that no other client pushes; images[n] has own[n]
	byDigest  map[digest.Digest]*wire.Image
	referrers map[digest.Digest]bool

	indexes  []*wire.Image                     // of some of the images
	children map[digest.Digest][]digest.Digest // what an index names
	parents  map[digest.Digest][]digest.Digest // which indexes name a manifest
}

func layer(random *rand.ChaCha8, rng *rand.Rand) []byte {
	most := small
	if rng.IntN(8) == 0 {
		most = large
	}

	data := make([]byte, 1+rng.IntN(most))
	_, _ = random.Read(data) // never fails, by its documentation

	return data
}

// source makes the layers of client n; shared ones are those of client -1.
func source(seed uint64, n int) (*rand.ChaCha8, *rand.Rand) {
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24), byte(n), 2})

	return random, rand.New(random)
}

func sharedLayers(opts Options) [][]byte {
	random, rng := source(opts.Seed, -1)

	var layers [][]byte
	for range opts.Images {
		layers = append(layers, layer(random, rng))
	}

	return layers
}

// newStock makes the images of client n. Two layers of each are shared.
func newStock(opts Options, n int, shared [][]byte) (*stock, error) {
	random, rng := source(opts.Seed, n)
	s := &stock{
		byDigest: map[digest.Digest]*wire.Image{}, referrers: map[digest.Digest]bool{},
		children: map[digest.Digest][]digest.Digest{}, parents: map[digest.Digest][]digest.Digest{},
	}

	for k := range opts.Images {
		own := layer(random, rng)
		config := fmt.Appendf(nil, configFormat, fmt.Sprintf("%d of client %d, %d", k, n, opts.Seed))
		first := skewed(rng, len(shared))
		second := (first + 1 + rng.IntN(len(shared)-1)) % len(shared)

		img, err := wire.NewImageOf(nil, config, own, shared[first], shared[second])
		if err != nil {
			return nil, err
		}

		artifact, err := wire.NewImageOf(img, []byte("{}"), fmt.Appendf(nil, "signature %d of client %d, %d", k, n, opts.Seed))
		if err != nil {
			return nil, err
		}

		s.images, s.artifacts, s.own = append(s.images, img), append(s.artifacts, artifact), append(s.own, own)
		s.referrers[artifact.Digest] = true
		s.byDigest[img.Digest], s.byDigest[artifact.Digest] = img, artifact
	}

	return s, s.addIndexes(rng)
}

// skewed picks one of n. The first ones come often, and are never out of use for long enough
// to be collected; the last ones seldom.
func skewed(rng *rand.Rand, n int) int {
	r := rng.Float64()

	return int(r * r * float64(n))
}

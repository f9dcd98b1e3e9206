package churn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"zotregistry.io/zot/internal/wire"
)

// imagesEach is for how many images a client has one index.
const imagesEach = 3

// addIndexes makes indexes of two or three images each. An image may be in several, and have
// tags of its own.
func (s *stock) addIndexes(rng *rand.Rand) error {
	for range len(s.images)/imagesEach + 1 {
		first := skewed(rng, len(s.images))
		named := []*wire.Image{s.images[first], s.images[(first+1)%len(s.images)]}

		if rng.IntN(2) == 0 {
			named = append(named, s.images[(first+2)%len(s.images)])
		}

		if err := s.addIndex(len(s.indexes), named); err != nil {
			return err
		}
	}

	return nil
}

// addIndex makes the index with number n; that tells two of the same images apart.
func (s *stock) addIndex(n int, named []*wire.Image) error {
	index := v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex,
		Annotations: map[string]string{"number": fmt.Sprint(n)},
	}
	for _, img := range named {
		index.Manifests = append(index.Manifests, v1.Descriptor{
			MediaType: v1.MediaTypeImageManifest, Digest: img.Digest, Size: int64(len(img.Manifest)),
		})
	}

	body, err := json.Marshal(index)
	if err != nil {
		return err
	}

	made := &wire.Image{Manifest: body, Digest: digest.FromBytes(body)}
	s.indexes, s.byDigest[made.Digest] = append(s.indexes, made), made

	for _, img := range named {
		s.children[made.Digest] = append(s.children[made.Digest], img.Digest)
		s.parents[img.Digest] = append(s.parents[img.Digest], made.Digest)
	}

	return nil
}

func (s *stock) mediaType(img *wire.Image) string {
	if len(s.children[img.Digest]) > 0 {
		return v1.MediaTypeImageIndex
	}

	return v1.MediaTypeImageManifest
}

// pickIndex picks one of the indexes.
func (w *worker) pickIndex() int { return skewed(w.rng, len(w.stock.indexes)) }

// pushIndex pushes what an index names without a tag, unless it is found, and then the index,
// mostly with a tag.
func (w *worker) pushIndex(ctx context.Context) error {
	index := w.stock.indexes[w.pickIndex()]
	_, tag := w.image()

	if w.rng.IntN(4) == 0 {
		tag = ""
	}

	for range 5 {
		begun := time.Now()

		for _, child := range w.stock.children[index.Digest] {
			if err := w.bringChild(ctx, child); err != nil {
				return err
			}
		}

		err := w.put(ctx, index, tag)
		if !isMissing(err) || !w.excused(begun) {
			return err
		}
	}

	return errors.New("five times in a row what an index names was missing, and it took longer than answers count for")
}

func (w *worker) bringChild(ctx context.Context, dgst digest.Digest) error {
	there, err := w.finds(ctx, dgst)
	if err != nil || there {
		return err
	}

	return w.pushImage(ctx, w.stock.byDigest[dgst], "", w.sendMissing)
}

// finds asks for a manifest that should be there. That it is counts for a while.
func (w *worker) finds(ctx context.Context, dgst digest.Digest) (bool, error) {
	if !w.model.manifests[dgst] {
		return false, nil
	}

	there, err := w.client().ManifestExists(ctx, w.repo, dgst.String())
	if err != nil || there {
		return there, err
	}

	if !w.mayGo(dgst) {
		return false, fmt.Errorf("manifest %s is not found", dgst)
	}

	w.retired(dgst)

	return false, nil
}

// pullIndex pulls an index by its digest, and through it what it names.
func (w *worker) pullIndex(ctx context.Context) error {
	dgst, err := w.anIndex()
	if err != nil {
		return err
	}

	return w.pullDigest(ctx, w.client(), dgst)
}

// pullWhole pulls a manifest by ref, and all that it names: the images of an index, too.
func (w *worker) pullWhole(ctx context.Context, c *wire.Client, ref string, dgst digest.Digest) ([]byte, error) {
	children := w.stock.children[dgst]
	if len(children) == 0 {
		return c.PullImage(ctx, w.repo, ref)
	}

	body, _, err := c.Manifest(ctx, w.repo, ref)
	if err != nil {
		return nil, err
	}

	for _, child := range children {
		if _, err := c.PullImage(ctx, w.repo, child.String()); err != nil {
			return nil, fmt.Errorf("image %s of index %s: %w", child, dgst, err)
		}
	}

	return body, nil
}

// deleteChild tries to delete a manifest that an index names.
func (w *worker) deleteChild(ctx context.Context) error {
	index, err := w.anIndex()
	if err != nil {
		return err
	}

	child, err := oneOf(w, w.stock.children[index])
	if err != nil {
		return err
	}

	return w.delete(ctx, child)
}

// anIndex picks an index that is there.
func (w *worker) anIndex() (digest.Digest, error) {
	var all []digest.Digest

	for _, index := range w.stock.indexes {
		if w.model.manifests[index.Digest] {
			all = append(all, index.Digest)
		}
	}

	return oneOf(w, all)
}

// parents lists the indexes that name a manifest and are there.
func (w *worker) parents(dgst digest.Digest) []digest.Digest {
	var there []digest.Digest

	for _, index := range w.stock.parents[dgst] {
		if w.model.manifests[index] {
			there = append(there, index)
		}
	}

	return there
}

// noteUnnamed: a manifest was deleted, so no index that names it is there any more.
func (w *worker) noteUnnamed(dgst digest.Digest) error {
	for _, index := range w.parents(dgst) {
		if !w.mayGo(index) {
			return fmt.Errorf("manifest %s was deleted, and index %s names it", dgst, index)
		}

		w.retired(index)
	}

	return nil
}

// isInUse says whether a manifest was not deleted since an index names it.
func isInUse(err error) bool {
	var status *wire.StatusError

	return errors.As(err, &status) && status.Status == http.StatusMethodNotAllowed &&
		strings.Contains(status.Body, "an index names")
}

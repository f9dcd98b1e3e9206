package churn

import (
	"slices"

	"github.com/opencontainers/go-digest"
)

// model is what one client's tags and manifests should be: what was acknowledged to it.
type model struct {
	tags      map[string]digest.Digest
	manifests map[digest.Digest]bool // true: it is there; false: it was deleted
	gone      map[digest.Digest]bool // blobs that were deleted
}

func newModel() *model {
	return &model{
		tags: map[string]digest.Digest{}, manifests: map[digest.Digest]bool{}, gone: map[digest.Digest]bool{},
	}
}

// change is a request that changes the registry. Without a tag it is about the manifest
// itself.
type change struct {
	put    bool // else it deletes
	tag    string
	digest digest.Digest
}

func (m *model) apply(c change) {
	switch {
	case c.put:
		m.manifests[c.digest] = true

		if c.tag != "" {
			m.tags[c.tag] = c.digest
		}
	case c.tag != "":
		delete(m.tags, c.tag)
	default:
		m.manifests[c.digest] = false

		for tag, dgst := range m.tags {
			if dgst == c.digest {
				delete(m.tags, tag)
			}
		}
	}
}

// there lists the manifests that are there, in order.
func (m *model) there() []digest.Digest {
	var all []digest.Digest

	for dgst, there := range m.manifests {
		if there {
			all = append(all, dgst)
		}
	}

	slices.Sort(all)

	return all
}

// names lists the tags, in order.
func (m *model) names() []string {
	var all []string
	for tag := range m.tags {
		all = append(all, tag)
	}

	slices.Sort(all)

	return all
}

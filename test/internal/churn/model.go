package churn

import (
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// model is what one client's tags and manifests should be: what was acknowledged to it.
type model struct {
	tags      map[string]digest.Digest
	manifests map[digest.Digest]bool // true: it is there; false: it was deleted
	gone      map[digest.Digest]bool // blobs that were deleted
	children  map[digest.Digest][]digest.Digest

	// loose is the manifests that are there and have no tag: not before when they were pushed, or
	// a tag or an index has let go of them, whichever was last.
	loose map[digest.Digest]time.Time
}

func newModel(children map[digest.Digest][]digest.Digest) *model {
	return &model{
		tags: map[string]digest.Digest{}, manifests: map[digest.Digest]bool{},
		gone: map[digest.Digest]bool{}, loose: map[digest.Digest]time.Time{}, children: children,
	}
}

// change is a request that changes the registry. Without a tag it is about the manifest
// itself.
type change struct {
	put    bool // else it deletes
	tag    string
	digest digest.Digest
	sent   time.Time
}

func (m *model) apply(c change) {
	switch {
	case c.put:
		m.manifests[c.digest] = true

		if c.tag != "" {
			m.point(c)
		} else {
			m.letGo(c.digest, c.sent)
		}
	case c.tag != "":
		old := m.tags[c.tag]
		delete(m.tags, c.tag)
		m.letGo(old, c.sent)
	default:
		m.manifests[c.digest] = false
		delete(m.loose, c.digest)

		for tag, dgst := range m.tags {
			if dgst == c.digest {
				delete(m.tags, tag)
			}
		}

		for _, child := range m.children[c.digest] {
			m.letGo(child, c.sent)
		}
	}
}

// point has a tag name another manifest.
func (m *model) point(c change) {
	old := m.tags[c.tag]
	m.tags[c.tag] = c.digest
	delete(m.loose, c.digest)
	m.letGo(old, c.sent)
}

// letGo notes that a tag or an index named the manifest until now, or that it was pushed, if no
// tag does.
func (m *model) letGo(dgst digest.Digest, now time.Time) {
	for _, named := range m.tags {
		if named == dgst {
			return
		}
	}

	if m.manifests[dgst] && now.After(m.loose[dgst]) {
		m.loose[dgst] = now
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

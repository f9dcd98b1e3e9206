package storage

import (
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// condemnations remembers since when this process knows the records that condemn, as far as
// they condemn something still. Other replicas answer from what they have seen a moment ago,
// so a deleter waits by its own clock (docs/s3-format.md, "Deleting").
type condemnations struct {
	mu   sync.Mutex // guards seen
	seen map[RepoName]map[uint64]time.Time
}

func newCondemnations() *condemnations {
	return &condemnations{seen: map[RepoName]map[uint64]time.Time{}}
}

// observe notes what condemns in a state, and returns since when each record is known. The
// answer is never changed.
func (c *condemnations) observe(repo RepoName, st *state, now time.Time) map[uint64]time.Time {
	present := map[uint64]time.Time{}

	c.mu.Lock()
	defer c.mu.Unlock()

	st.condemned.Scan(func(_ digest.Digest, condemned mark) bool {
		since, known := c.seen[repo][condemned.Seq]
		if !known {
			since = now
		}

		present[condemned.Seq] = since

		return true
	})

	if len(present) == 0 {
		delete(c.seen, repo)
	} else {
		c.seen[repo] = present
	}

	return present
}

// sighting is of a condemn record.
type sighting struct {
	seq uint64    // of the record
	at  time.Time // when this process saw it first
}

// of returns since when a digest is known to be condemned as it is in a state.
func (c *condemnations) of(r *repository, st *state, dgst digest.Digest) (sighting, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()

	condemned, ok := st.condemned.Get(dgst)
	at, known := c.seen[r.name][condemned.Seq]

	return sighting{condemned.Seq, at}, ok && known
}

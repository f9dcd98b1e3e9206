package api

import (
	"fmt"
	"sync"
	"time"
)

// defaultUploadLife is how long an upload that nobody touches counts, unless WithUploadLife
// says otherwise.
const defaultUploadLife = time.Hour

// WithUploadLife says after how long GC drops an upload that nobody touches: it counts for no
// client any more.
func WithUploadLife(life time.Duration) Option {
	return func(s *Server) { s.uploadLife = max(life, defaultUploadLife) }
}

// placesError is returned for an upload too many.
type placesError struct{ most int }

func (e *placesError) Error() string {
	return fmt.Sprintf("too many uploads: a client may have %d in progress; finish or cancel one", e.most)
}

// places count the uploads that each client has in progress (docs/limits.md). Methods may be
// called concurrently.
type places struct {
	life time.Duration
	now  func() time.Time

	mu     sync.Mutex // guards the fields below
	taken  map[string]map[*place]struct{}
	byID   map[string]*place
	sought time.Time // when it was last looked for those that are over
}

// place is one upload of a client. nil is one that does not count.
type place struct {
	of     *places
	client string
	id     string    // "" = it has none yet
	busy   int       // requests that are under way
	last   time.Time // when the last one ended
}

func newPlaces(life time.Duration) *places {
	return &places{
		life: life, now: time.Now,
		taken: map[string]map[*place]struct{}{}, byID: map[string]*place{},
	}
}

// take begins an upload of whoever sends the request; it is busy until keep or free.
//
// Errors: *placesError.
func (p *places) take(r *request) (*place, error) {
	most := r.doors.uploadsMost()
	if most == 0 {
		return nil, nil //nolint:nilnil // no bound
	}

	client := clientOf(r)

	p.mu.Lock()
	defer p.mu.Unlock()

	p.dropOld()

	if len(p.taken[client]) >= most {
		return nil, &placesError{most: most}
	}

	if p.taken[client] == nil {
		p.taken[client] = map[*place]struct{}{}
	}

	one := &place{of: p, client: client, busy: 1}
	p.taken[client][one] = struct{}{}

	return one, nil
}

// uploadsMost is how many uploads a client may have in progress, 0 = any number.
func (d *doors) uploadsMost() int {
	if d.rate == nil || d.rate.PerClient == nil {
		return 0
	}

	return d.rate.PerClient.Uploads
}

// dropOld frees the places of uploads that GC has dropped. All are looked at once in a while,
// so that clients that do not come back leave nothing. p.mu is held.
func (p *places) dropOld() {
	now := p.now()
	if now.Sub(p.sought) < time.Second {
		return
	}

	p.sought = now

	for _, all := range p.taken {
		for one := range all {
			if one.busy == 0 && now.Sub(one.last) >= p.life {
				one.drop()
			}
		}
	}
}

// drop frees a place. of.mu is held.
func (one *place) drop() {
	all := one.of.taken[one.client]
	delete(all, one)

	if len(all) == 0 {
		delete(one.of.taken, one.client)
	}

	if one.of.byID[one.id] == one {
		delete(one.of.byID, one.id)
	}
}

// keep leaves a place to the upload of an id, which goes on in other requests.
func (one *place) keep(id string) {
	if one == nil {
		return
	}

	one.of.mu.Lock()
	defer one.of.mu.Unlock()

	one.id, one.busy, one.last = id, 0, one.of.now()
	one.of.byID[id] = one
}

// free gives a place back, unless keep has left it to an upload.
func (one *place) free() {
	if one == nil {
		return
	}

	one.of.mu.Lock()
	defer one.of.mu.Unlock()

	if one.id == "" {
		one.drop()
	}
}

// touch notes a request of an upload, which is under way until the function returned is called.
func (p *places) touch(id string) (leave func()) {
	p.mu.Lock()
	defer p.mu.Unlock()

	one := p.byID[id]
	if one == nil {
		return func() {}
	}

	one.busy++

	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()

		one.busy--
		one.last = p.now()
	}
}

// end frees the place of an upload that is over.
func (p *places) end(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()

	if one := p.byID[id]; one != nil {
		one.drop()
	}
}

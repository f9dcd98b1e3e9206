//go:build crash

package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/internal/wire"
)

// rounds is how often the server is killed.
const rounds = 20

// TestKill kills the server in the middle of pushes. Afterwards each acknowledged
// image pulls byte for byte, interrupted uploads go on where they stood, and nothing
// half-written can be read.
func TestKill(t *testing.T) {
	start := seed(t)
	rng := rand.New(rand.NewPCG(start, 1))
	zot := &daemon.Zot{}
	d := zot.Start(t)
	pushers := newPushers(t, zot.Addr, start)

	var resumed int

	for round := range rounds {
		killWhilePushing(t, d, pushers, round, start+uint64(round)<<16, rng)
		mustBeWhole(t, zot)

		d = zot.Start(t)
		resumed += verifyRound(t, pushers)
	}

	verifyAll(t, pushers)

	if err := d.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}

	verifyFiles(t, zot.Root)

	acked := 0
	for _, p := range pushers {
		acked += len(p.acked)
	}

	t.Logf("%d kills, %d images acknowledged, %d uploads resumed", rounds, acked, resumed)

	if acked < rounds || resumed == 0 {
		t.Error("too little was under way for this run to prove anything")
	}
}

func newPushers(t *testing.T, addr string, seed uint64) []*pusher {
	t.Helper()

	var all []*pusher
	for n, s := range []style{monolithic, chunked, streamed, chunked} {
		all = append(all, &pusher{
			repo:  fmt.Sprintf("crash/pusher%d", n),
			style: s,
			rng:   rand.New(rand.NewPCG(seed, uint64(n))),
			c:     newClient(t, addr),
		})
	}

	return all
}

// killWhilePushing lets all push, kills the server and waits for the pushers to see it.
func killWhilePushing(
	t *testing.T, d *daemon.Daemon, pushers []*pusher, round int, seed uint64, rng *rand.Rand,
) {
	t.Helper()

	var wg sync.WaitGroup
	for _, p := range pushers {
		wg.Go(func() {
			err := p.run(t.Context(), round, seed)
			if status := (*wire.StatusError)(nil); errors.As(err, &status) {
				t.Errorf("round %d: %s was refused: %v", round, p.repo, err)
			}
		})
	}

	moment := time.NewTimer(50*time.Millisecond + time.Duration(rng.Int64N(int64(600*time.Millisecond))))
	defer moment.Stop()

	select {
	case <-moment.C:
	case <-d.Done():
		t.Errorf("round %d: the server left by itself", round)
	}

	if err := d.Kill(); err != nil {
		t.Error(err)
	}

	wg.Wait()
}

// verifyRound checks what the last kill could have harmed, and returns how many
// uploads were resumed.
func verifyRound(t *testing.T, pushers []*pusher) int {
	t.Helper()

	resumed := 0

	for _, p := range pushers {
		verifyTrying(t, p)
		verifyLatest(t, p)
		verifyTags(t, p)
		verifyBlobs(t, p)

		if resume(t, p) {
			resumed++
		}
	}

	return resumed
}

// verifyTrying looks at the manifest whose answer never came: it is there whole, or
// not at all. A tag that is there is a promise from now on.
func verifyTrying(t *testing.T, p *pusher) {
	t.Helper()

	if p.trying == nil {
		return
	}

	_, dgst, err := p.c.Manifest(t.Context(), p.repo, p.trying.tag)

	switch {
	case errors.Is(err, wire.ErrNotFound):
	case err != nil:
		t.Errorf("%s:%s: %v", p.repo, p.trying.tag, err)
	case dgst == p.trying.digest:
		p.promise()
	}

	p.trying = nil
}

// verifyLatest: a moved tag names the last acknowledged manifest; verifyTrying has
// dealt with the one that was under way.
func verifyLatest(t *testing.T, p *pusher) {
	t.Helper()

	if p.last == "" {
		return
	}

	_, dgst, err := p.c.Manifest(t.Context(), p.repo, "latest")
	if err != nil || dgst != p.last {
		t.Errorf("%s:latest is %s (%v), acknowledged was %s", p.repo, dgst, err, p.last)
	}
}

// verifyTags: the list holds the acknowledged tags and no others.
func verifyTags(t *testing.T, p *pusher) {
	t.Helper()

	tags, err := p.c.Tags(t.Context(), p.repo)
	if err != nil {
		t.Errorf("tags of %s: %v", p.repo, err)
	}

	listed := map[string]bool{}
	for _, tag := range tags {
		listed[tag] = true
	}

	for _, a := range p.acked {
		if !listed[a.tag] {
			t.Errorf("%s:%s was acknowledged and is not listed", p.repo, a.tag)
		}

		delete(listed, a.tag)
	}

	delete(listed, "latest")

	for tag := range listed {
		t.Errorf("%s:%s is listed, but does not pull", p.repo, tag)
	}
}

// verifyBlobs reads each blob of the image that was under way: all of it is served,
// or nothing.
func verifyBlobs(t *testing.T, p *pusher) {
	t.Helper()

	for _, dgst := range p.blobs {
		_, err := p.c.Blob(t.Context(), p.repo, dgst)
		if err != nil && !errors.Is(err, wire.ErrNotFound) {
			t.Errorf("%s: %v", p.repo, err)
		}
	}
}

// resume finishes the upload that was under way, and says whether there was one.
func resume(t *testing.T, p *pusher) bool {
	t.Helper()

	s := p.open
	if s == nil {
		return false
	}

	p.open = nil

	have, err := s.up.Offset(t.Context())
	if errors.Is(err, wire.ErrNotFound) && s.final {
		verifyFinished(t, p, s)

		return false
	}

	if err != nil || have < s.acked || have > s.sent {
		t.Errorf("%s: upload stands at %d (%v); acknowledged %d, sent %d", p.repo, have, err, s.acked, s.sent)

		return false
	}

	if err := continueFrom(t.Context(), p, s, have); err != nil {
		t.Errorf("%s: resume at %d of %d: %v", p.repo, have, len(s.blob), err)
	}

	verifyFinished(t, p, s)

	return true
}

// continueFrom sends what the server does not have yet: a chunk, then the rest.
func continueFrom(ctx context.Context, p *pusher, s *session, have int64) error {
	s.acked = have

	if half := (int64(len(s.blob)) - have) / 2; half > 0 {
		if err := s.up.Append(ctx, have, s.blob[have:have+half]); err != nil {
			return err
		}

		s.acked += half
	}

	return p.finish(ctx, s)
}

package storage

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestLeases: what is leased is not doomed, and what is doomed is waited for.
func TestLeases(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newLeases(func() time.Time { return now })

	mayDoom := func(key string, want bool) {
		t.Helper()

		spare, ok := l.doom(key, time.Minute)
		if ok != want {
			t.Errorf("doom %s: %v, want %v", key, ok, want)
		}

		if ok {
			spare()
		}
	}

	mayDoom("a", true)
	l.hold("a")
	mayDoom("a", false)
	mayDoom("b", true)

	now = now.Add(time.Minute)
	mayDoom("a", true)

	pins := l.pin("a", "b")
	now = now.Add(time.Hour)

	l.expire(time.Minute)
	mayDoom("b", false)
	pins.end(nil)
	mayDoom("b", false)

	now = now.Add(time.Minute)

	if since := l.since("b"); !since.Equal(now.Add(-time.Minute)) {
		t.Errorf("leased at %s", since)
	}

	l.expire(time.Minute)

	if len(l.held) != 0 {
		t.Errorf("%d leases are left", len(l.held))
	}
}

// TestLeasesEnd: the memory of a lease ends with it, if it was renewed, too; what is not there
// takes none.
func TestLeasesEnd(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newLeases(func() time.Time { return now })

	want := func(held, ending int) {
		t.Helper()

		if l.expire(time.Minute); len(l.held) != held || l.ending.Len() != ending {
			t.Errorf("%d leases, %d in the queue; want %d, %d", len(l.held), l.ending.Len(), held, ending)
		}
	}

	for range 3 {
		l.pin("nothing").end(become(afterGone))
	}

	want(0, 0)

	for range 3 {
		l.hold("a")
		l.hold("b")
	}

	want(2, 2)

	now = now.Add(30 * time.Second)
	l.hold("a")
	l.pin("b").end(become(afterGone)) // the lease from before stays

	now = now.Add(30 * time.Second)
	want(1, 1)

	if spare, ok := l.doom("a", time.Second); ok {
		spare()
		l.hold("a") // another one
	}

	want(1, 1)

	now = now.Add(time.Minute)
	want(0, 0)

	l.hold("a")

	other := l.pin("a")
	l.pin("a").end(become(afterHeld)) // somebody else is still to be answered
	want(1, 1)
	other.end(become(afterHeld))
	want(0, 0)
}

// hold is an answer that a key is there.
func (l *leases) hold(key string) { l.pin(key).end(nil) }

func become(how after) func(int) after { return func(int) after { return how } }

// TestDoomed has many lease one key while another deletes it again and again. Nobody who
// has leased it sees it go.
func TestDoomed(t *testing.T) {
	l := newLeases(time.Now)

	var (
		there atomic.Int64 // how often it came, which is how a client makes it be there
		group sync.WaitGroup
	)

	for range 8 {
		group.Go(func() {
			for range 2000 {
				pins := l.pin("a")
				seen := there.Add(1)

				if there.Load() < seen {
					t.Error("what was leased has gone")
				}

				pins.end(nil)
			}
		})
	}

	deleted := 0

	for range 20000 {
		if spare, ok := l.doom("a", 0); ok {
			there.Store(0)
			spare()

			deleted++
		}
	}

	group.Wait()

	if spare, ok := l.doom("a", 0); ok { // nobody needs it now
		spare()

		deleted++
	}

	if deleted == 0 {
		t.Error("nothing was ever deleted")
	}
}

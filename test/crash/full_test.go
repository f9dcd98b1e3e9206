//go:build crash && linux

package crash

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/internal/wire"
	"zotregistry.io/zot/test/internal/churn"
)

// fullRepo has what fills the disk.
const fullRepo = "full/repo"

// filler pushes images until there is no room for one more.
type filler struct {
	c      *wire.Client
	seed   uint64
	next   int
	pushed []pushed
}

// TestDiskFull: a push to a full disk is refused with what is the matter, and changes
// nothing. Pulls go on. Deletions make room, and pushes go on as well, without a restart.
func TestDiskFull(t *testing.T) {
	disk := newDisk(t, 64<<20)
	zot := &daemon.Zot{Root: filepath.Join(disk.dir, "root"), Storage: settings[0].storage}
	c := newCrasher(t, zot, settings[0].lease)

	work(t, c.fleet, time.Second)

	f := &filler{c: newClient(t, zot.Addr), seed: seed(t)}

	for round := range roundsOr(t, 3) {
		f.fill(t)
		f.verify(t)

		if err := c.fleet.Verify(t.Context()); err != nil {
			t.Fatalf("round %d, on the full disk: %v", round, err)
		}

		f.deleteHalf(t)
		f.awaitRoom(t)
		work(t, c.fleet, time.Second)
	}

	c.finish(t, 1)
	f.verify(t)
	t.Logf("%d images of the filler", len(f.pushed))
}

// TestNoByteFree: another program has taken all that was free. What is deleted makes room all
// the same, and a zot that was killed there starts again.
func TestNoByteFree(t *testing.T) {
	disk := newDisk(t, 64<<20)
	zot := &daemon.Zot{Root: filepath.Join(disk.dir, "root"), Storage: settings[0].storage}
	c := newCrasher(t, zot, settings[0].lease)
	f := &filler{c: newClient(t, zot.Addr), seed: seed(t)}

	work(t, c.fleet, time.Second)

	for range 100 {
		if err := f.push(t.Context(), 100_000); err != nil {
			t.Fatal(err)
		}
	}

	disk.fill()
	f.verify(t)

	if err := c.proc.Kill(); err != nil {
		t.Fatal(err)
	}

	c.proc = zot.Start(t)
	f.verify(t)
	f.deleteHalf(t)
	f.awaitRoom(t)
	c.finish(t, 1)
	f.verify(t)
}

// work has the clients work, and nothing fails.
func work(t *testing.T, fleet *churn.Fleet, d time.Duration) {
	t.Helper()

	enough := make(chan struct{})

	timer := time.AfterFunc(d, func() { close(enough) })
	defer timer.Stop()

	if err := fleet.Run(t.Context(), enough, nil); err != nil {
		t.Fatalf("with room: %v", err)
	}
}

// push pushes one more image, of one layer.
func (f *filler) push(ctx context.Context, size int) error {
	f.next++

	img, err := wire.NewImage(f.seed+uint64(f.next), size)
	if err != nil {
		return err
	}

	tag := fmt.Sprintf("t%d", f.next)
	how := []wire.PushBlob{(*wire.Client).PushMonolithic, (*wire.Client).PushChunked, (*wire.Client).PushStreamed}[f.next%3]

	if err := f.c.PushImage(ctx, fullRepo, tag, img, how); err != nil {
		return err
	}

	f.pushed = append(f.pushed, pushed{tag, img.Digest})

	return nil
}

// fill pushes smaller and smaller images until not even the smallest has room.
func (f *filler) fill(t *testing.T) {
	t.Helper()

	for _, size := range []int{4 << 20, 300_000, 20_000, 10} {
		for refused := 0; refused < 3; {
			err := f.push(t.Context(), size)
			if err == nil {
				continue
			}

			refused++

			isNoRoom(t, err)
		}
	}
}

// isNoRoom: the client is told that the disk is full.
func isNoRoom(t *testing.T, err error) {
	t.Helper()

	var status *wire.StatusError
	if !errors.As(err, &status) || status.Status != http.StatusInsufficientStorage ||
		!strings.Contains(status.Body, "no space is left") {
		t.Errorf("on a full disk: want status 507 that says so, got %v", err)
	}
}

// verify pulls all images that were acknowledged.
func (f *filler) verify(t *testing.T) {
	t.Helper()

	for _, p := range f.pushed {
		body, err := f.c.PullImage(t.Context(), fullRepo, p.tag)
		if err != nil || digest.FromBytes(body) != p.digest {
			t.Errorf("pull %s: %v", p.tag, err)
		}
	}
}

// deleteHalf deletes every other image.
func (f *filler) deleteHalf(t *testing.T) {
	t.Helper()

	var kept []pushed

	for n, p := range f.pushed {
		if n%2 == 0 {
			kept = append(kept, p)
		} else if err := f.c.DeleteManifest(t.Context(), fullRepo, p.digest.String()); err != nil {
			t.Fatalf("delete on a full disk: %v", err)
		}
	}

	f.pushed = kept
}

// awaitRoom: once what was deleted is collected, there is room for an image again.
func (f *filler) awaitRoom(t *testing.T) {
	t.Helper()

	limit := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond)

	defer tick.Stop()

	for err := f.push(t.Context(), 4<<20); err != nil; err = f.push(t.Context(), 4<<20) {
		isNoRoom(t, err)

		if time.Now().After(limit) {
			t.Fatalf("no room is made: %v", err)
		}

		<-tick.C
	}

	time.Sleep(collectsWithin) // all of it
}

// collectsWithin is how long a run of GC takes here at the most, with what may be before it.
const collectsWithin = 2 * time.Second

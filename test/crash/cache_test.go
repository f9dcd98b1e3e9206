//go:build crash

package crash

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/internal/wire"
)

// probes is how many layers wait to be pushed once more after the damage, from before
// and from after the old copy of the cache each. One of each goes every 200 ms.
const probes = 150

// damages are what may befall cache.db. old is a copy from before the last pushes.
var damages = []struct {
	name string
	do   func(path string, old []byte) error
}{
	{"deleted", func(path string, _ []byte) error { return os.Remove(path) }},
	{"emptied", func(path string, _ []byte) error { return os.Truncate(path, 0) }},
	{"cut in half", cutInHalf},
	{"overwritten with garbage", overwriteWithGarbage},
	{"replaced by an old copy", replaceByOld},
	{"overwritten by an old copy", func(path string, old []byte) error { return os.WriteFile(path, old, 0o600) }},
}

func cutInHalf(path string, _ []byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}

	return os.Truncate(path, info.Size()/2)
}

// overwriteWithGarbage writes in place: the server may have the file mapped.
func overwriteWithGarbage(path string, _ []byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}

	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}

	garbage := make([]byte, info.Size())
	for i := range garbage {
		garbage[i] = byte(i*7 + i>>8)
	}

	if _, err := f.Write(garbage); err != nil {
		return err
	}

	return f.Close()
}

func replaceByOld(path string, old []byte) error {
	if err := os.WriteFile(path+".old", old, 0o600); err != nil {
		return err
	}

	return os.Rename(path+".old", path)
}

// TestCacheDamagedWhileServing damages the cache under load.
func TestCacheDamagedWhileServing(t *testing.T) {
	for _, damage := range damages {
		t.Run(damage.name, func(t *testing.T) {
			s := newStore(t)
			damaged := make(chan struct{})
			load, ctx := errgroup.WithContext(t.Context())

			for n := range 3 {
				load.Go(func() error { return s.pushAndPull(ctx, n, damaged) })
			}

			err := damage.do(s.cachePath(), s.old)
			close(damaged)

			if err != nil {
				t.Fatal(err)
			}

			if err := load.Wait(); err != nil {
				t.Errorf("under load: %v", err)
			}

			s.verify(t)
		})
	}
}

// TestCacheDamagedBetweenRuns damages the cache while no server runs, after a clean
// stop and after a kill.
func TestCacheDamagedBetweenRuns(t *testing.T) {
	ends := map[string]func(*daemon.Daemon) error{
		"stopped": (*daemon.Daemon).Stop,
		"killed":  (*daemon.Daemon).Kill,
	}
	for end, leave := range ends {
		for _, damage := range damages {
			t.Run(end+" and "+damage.name, func(t *testing.T) {
				s := newStore(t)
				if err := leave(s.d); err != nil {
					t.Fatal(err)
				}

				if err := damage.do(s.cachePath(), s.old); err != nil {
					t.Fatal(err)
				}

				s.d = s.zot.Start(t)
				s.verify(t)
			})
		}
	}
}

// store is a server with a few images whose cache is going to be damaged.
type store struct {
	zot  *daemon.Zot
	d    *daemon.Daemon
	c    *wire.Client
	imgs []*wire.Image
	old  []byte // the cache's file before the last pushes

	// Two images of many layers, which nobody touches under load: one from before the
	// old copy, one from after it.
	probes [2]*wire.Image
}

func newStore(t *testing.T) *store {
	t.Helper()

	s := &store{zot: &daemon.Zot{}}
	s.d = s.zot.Start(t)
	s.c = newClient(t, s.zot.Addr)

	s.pushTen(t)
	s.pushProbes(t, 0)
	s.copyCache(t)
	s.pushTen(t)
	s.pushProbes(t, 1)

	return s
}

func (s *store) pushProbes(t *testing.T, n int) {
	t.Helper()

	s.probes[n] = newImage(t, uint64(500+n), slices.Repeat([]int{500}, probes)...)
	if err := s.c.PushImage(t.Context(), "before", fmt.Sprintf("probes%d", n), s.probes[n], (*wire.Client).PushMonolithic); err != nil {
		t.Fatal(err)
	}
}

func (s *store) cachePath() string { return filepath.Join(s.zot.Root, "cache.db") }

func (s *store) pushTen(t *testing.T) {
	t.Helper()

	for range 10 {
		img := newImage(t, uint64(len(s.imgs)), 5000, 100_000)
		if err := s.c.PushImage(t.Context(), "before", tagOf(len(s.imgs)), img, (*wire.Client).PushMonolithic); err != nil {
			t.Fatal(err)
		}

		s.imgs = append(s.imgs, img)
	}
}

func tagOf(n int) string { return fmt.Sprintf("v%d", n) }

// copyCache keeps the cache's bytes as they are once its batch is on disk, which is
// when the file has grown or changed; a server that is stopped has written all.
func (s *store) copyCache(t *testing.T) {
	t.Helper()

	if err := s.d.Stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}

	old, err := os.ReadFile(s.cachePath())
	if err != nil {
		t.Fatal(err)
	}

	s.old = old
	s.d = s.zot.Start(t)
}

// pushAndPull pushes new images and known ones to a new repository, and pulls all old
// ones, until it has done so ten times after the damage.
func (s *store) pushAndPull(ctx context.Context, worker int, damaged <-chan struct{}) error {
	for n, after := 0, 0; after < 10; n++ {
		select {
		case <-damaged:
			after++
		default:
		}

		if err := s.once(ctx, fmt.Sprintf("during/worker%d/%d", worker, n), worker, n); err != nil {
			return err
		}
	}

	return nil
}

func (s *store) once(ctx context.Context, repo string, worker, n int) error {
	img, err := wire.NewImage(uint64(1000*(worker+1)+n), 2000, 50_000)
	if err != nil {
		return err
	}

	known := n % len(s.imgs)
	push := (*wire.Client).PushChunked

	for tag, img := range map[string]*wire.Image{"new": img, "known": s.imgs[known]} {
		if err := s.c.PushImage(ctx, repo, tag, img, push); err != nil {
			return fmt.Errorf("push %s:%s: %w", repo, tag, err)
		}

		if _, err := s.c.PullImage(ctx, repo, tag); err != nil {
			return fmt.Errorf("pull %s:%s: %w", repo, tag, err)
		}
	}

	if _, err := s.c.PullImage(ctx, "before", tagOf(known)); err != nil {
		return fmt.Errorf("pull an old image: %w", err)
	}

	return nil
}

// verify: the server lives, nothing is lost, and dedupe comes back.
func (s *store) verify(t *testing.T) {
	t.Helper()

	select {
	case <-s.d.Done():
		t.Fatal("the server died")
	default:
	}

	for n, img := range s.imgs {
		body, err := s.c.PullImage(t.Context(), "before", tagOf(n))
		if err != nil || digest.FromBytes(body) != img.Digest {
			t.Errorf("pull before:%s: %v", tagOf(n), err)
		}
	}

	s.awaitDedupe(t)
}

// awaitDedupe pushes known layers to new repositories until they are linked to the old
// files. Each layer is pushed once only: a second push would find the copy that the
// first one made, whether the cache was rebuilt or not.
func (s *store) awaitDedupe(t *testing.T) {
	t.Helper()

	started := time.Now()

	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()

	for n := range probes {
		if s.deduped(t, 0, n) && s.deduped(t, 1, n) {
			t.Logf("dedupe was back after %s", time.Since(started).Round(time.Millisecond))

			return
		}

		select {
		case <-tick.C:
		case <-s.d.Done():
			t.Fatal("the server died")
		}
	}

	t.Errorf("no dedupe %s after the damage", time.Since(started))
}

// deduped pushes the n-th layer of a probe and says whether it became a link.
func (s *store) deduped(t *testing.T, probe, n int) bool {
	t.Helper()

	layer := s.probes[probe].Blobs[1+n]
	dgst := digest.FromBytes(layer)
	repo := fmt.Sprintf("after/probe%d/%d", probe, n)

	if err := s.c.PushMonolithic(t.Context(), repo, layer); err != nil {
		t.Fatalf("push after the damage: %v", err)
	}

	return sameFile(t, s.blobPath("before", dgst), s.blobPath(repo, dgst))
}

func (s *store) blobPath(repo string, dgst digest.Digest) string {
	return filepath.Join(s.zot.Root, repo, "blobs", dgst.Algorithm().String(), dgst.Encoded())
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()

	infoA, err := os.Stat(a)
	if err != nil {
		t.Fatal(err)
	}

	infoB, err := os.Stat(b)
	if err != nil {
		t.Fatal(err)
	}

	return os.SameFile(infoA, infoB)
}

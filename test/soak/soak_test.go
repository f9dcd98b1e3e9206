//go:build soak

package soak

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/test/internal/churn"
)

// The settings under which garbage goes soonest. delay leaves a busy machine the time for a
// push; an answer is held to count for a little less, since a deletion's time is that before
// its flush.
const (
	delay = 5 * time.Second
	lease = 3 * time.Second
)

// thinned is in how many repositories manifests go that have no tag.
const thinned = 1

func settings() map[string]any {
	return map[string]any{
		"gc": true, "gcDelay": delay.String(), "gcInterval": "1s", "undelete": "0s",
		"retention": churn.Retention(thinned),
	}
}

// TestLocal: one zot on a directory.
func TestLocal(t *testing.T) {
	s := newSoak(t, &daemon.Zot{Storage: settings()})
	s.run(t, churn.Options{Workers: 8, Repos: 3, Images: 200, Thinned: thinned, Lease: lease})

	root := s.zots[0].Root
	files := func() map[string]bool { return blobsIn(t, root) }

	s.awaitCollected(t, files)
	must(t, s.fleet.DeleteAll(t.Context()))
	s.awaitCollected(t, files)
	s.awaitEmptied(t, root)
}

// TestBucket: three replicas on one bucket.
func TestBucket(t *testing.T) {
	s3 := servers.StartS3(t)
	must(t, s3.Bucket(t.Context(), "images"))

	storage := settings()
	storage["storageDriver"] = s3.StorageDriver("images")

	s := newSoak(t, &daemon.Zot{Storage: storage}, &daemon.Zot{Storage: storage}, &daemon.Zot{Storage: storage})
	s.run(t, churn.Options{Workers: 8, Repos: 3, Images: 200, Thinned: thinned, Lease: lease, Stale: 10 * time.Second})

	bucket := filepath.Join(s3.Dir, "images")
	held := func() map[string]bool {
		held, _ := heldIn(t, bucket)

		return held
	}

	s.awaitCollected(t, held)

	await(t, "each is held once", func() error {
		if held, members := heldIn(t, bucket); members != len(held) {
			return fmt.Errorf("%d blobs of repositories have %d memberships", len(held), members)
		}

		return nil
	})
	must(t, s.fleet.DeleteAll(t.Context()))
	s.awaitCollected(t, held)
	await(t, "the bytes of all that was deleted are freed", func() error { return noBytes(t, bucket) })
}

// soak is servers, and the clients of all of them.
type soak struct {
	zots  []*daemon.Zot
	procs []*daemon.Daemon
	fleet *churn.Fleet
}

func newSoak(t *testing.T, zots ...*daemon.Zot) *soak {
	t.Helper()

	s := &soak{zots: zots}
	for _, zot := range zots {
		s.procs = append(s.procs, zot.Start(t))
	}

	return s
}

// run has the clients work, and looks at what was acknowledged. A slow machine may take
// longer over a push than answers count for, but not often.
func (s *soak) run(t *testing.T, opts churn.Options) {
	t.Helper()

	opts.Seed = seed(t)

	var addrs []string
	for _, zot := range s.zots {
		addrs = append(addrs, zot.Addr)
	}

	var err error

	s.fleet, err = churn.New(opts, addrs...)
	must(t, err)
	t.Cleanup(s.fleet.Close)

	enough := make(chan struct{})
	timer := time.AfterFunc(length(t), func() { close(enough) })

	defer timer.Stop()

	checked := make(chan struct{}) // while clients work

	time.AfterFunc(length(t)/2, func() {
		defer close(checked)

		mustBeWhole(t, s.zots[0])
	})

	if err := s.fleet.Run(t.Context(), enough, nil); err != nil {
		t.Errorf("an operation that should have succeeded has failed: %v", err)
	}

	<-checked

	for n, proc := range s.procs {
		t.Logf("replica %d: %d MiB resident; %s", n, residentMiB(t, proc), collectedBy(t, proc))
	}

	t.Log(s.fleet.Report())
	must(t, s.fleet.Tidy(t.Context()))
	must(t, s.fleet.Verify(t.Context()))
	mustBeWhole(t, s.zots[0])
}

// mustBeWhole has zot fsck find nothing in what is served.
func mustBeWhole(t *testing.T, zot *daemon.Zot) {
	t.Helper()

	out, err := exec.Command(daemon.Binary(t), "fsck", "--from-start", "-c", zot.ConfigPath()).CombinedOutput()
	if err != nil {
		t.Errorf("zot fsck: %v\n%s", err, out)
	}
}

// awaitCollected: what is in the directory is what is needed, neither more nor less.
func (s *soak) awaitCollected(t *testing.T, files func() map[string]bool) {
	t.Helper()

	needed := s.fleet.Needed()

	await(t, "only what is needed is left", func() error {
		there := files()
		for key := range needed {
			if !there[key] {
				return fmt.Errorf("%s is needed, and is not there", key)
			}
		}

		for key := range there {
			if !needed[key] {
				return fmt.Errorf("of %d files in blobs/, %d are needed; not %s", len(there), len(needed), key)
			}
		}

		return nil
	})
}

// awaitEmptied: of repositories without anything in them nothing is left.
func (s *soak) awaitEmptied(t *testing.T, root string) {
	t.Helper()

	await(t, "nothing is left of the repositories", func() error {
		_, err := os.Stat(filepath.Join(root, "churn"))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}

		return errors.Join(errors.New("their directories are there"), err)
	})
}

// patience is how long garbage may take to go.
const patience = 10*delay + 20*time.Second

func await(t *testing.T, what string, ask func() error) {
	t.Helper()

	begun := time.Now()
	tick := time.NewTicker(200 * time.Millisecond)

	defer tick.Stop()

	for err := ask(); err != nil; err = ask() {
		if time.Since(begun) > patience {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}

		<-tick.C
	}

	t.Logf("%s: after %s", what, time.Since(begun).Round(100*time.Millisecond))
}

// blobsIn lists the files in the blobs/ of all repositories below a root, as keys.
func blobsIn(t *testing.T, root string) map[string]bool {
	t.Helper()

	found := map[string]bool{}

	walkFiles(t, root, func(path string) {
		if strings.HasSuffix(filepath.Dir(path), "/blobs/sha256") {
			found[path] = true
		}
	})

	return found
}

// heldIn lists the blobs of which repositories have a membership in a bucket, as keys, and how
// many memberships there are.
func heldIn(t *testing.T, bucket string) (held map[string]bool, members int) {
	t.Helper()

	held = map[string]bool{}

	walkFiles(t, filepath.Join(bucket, "_blobs"), func(path string) {
		// <alg>/<xx>/<hex>/in/<name>/<member>
		if parts := strings.Split(path, "/"); len(parts) == 6 && parts[3] == "in" {
			held[strings.ReplaceAll(parts[4], ":", "/")+"/blobs/"+parts[0]+"/"+parts[2]] = true
			members++
		}
	})

	return held, members
}

// noBytes says whether an empty registry keeps bytes of blobs in its bucket.
func noBytes(t *testing.T, bucket string) error {
	t.Helper()

	left := 0

	walkFiles(t, filepath.Join(bucket, "_blobs"), func(path string) {
		if strings.HasPrefix(filepath.Base(path), "data.") {
			left++
		}
	})

	if left > 0 {
		return fmt.Errorf("%d objects with bytes are left", left)
	}

	return nil
}

// walkFiles calls each with the files below a root, by their paths in it. What is removed
// meanwhile is not there.
func walkFiles(t *testing.T, root string, each func(path string)) {
	t.Helper()

	must(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}

		if err != nil || e.IsDir() {
			return err
		}

		rel, err := filepath.Rel(root, path)
		each(rel)

		return err
	}))
}

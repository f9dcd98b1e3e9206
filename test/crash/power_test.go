//go:build crash && linux

package crash

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zotregistry.io/zot/internal/daemon"
)

// powerCuts is how often the power fails.
const powerCuts = 10

// TestPowerCut stops the file system in the middle of pushes, so that all that was
// not flushed is gone, as in a power cut. Afterwards each acknowledged image pulls
// byte for byte. It needs root, a loop device and ext4.
func TestPowerCut(t *testing.T) {
	start := seed(t)
	rng := rand.New(rand.NewPCG(start, 1))
	disk := newDisk(t, diskSize)
	zot := &daemon.Zot{Root: filepath.Join(disk.dir, "root")}
	d := zot.Start(t)
	pushers := newPushers(t, zot.Addr, start)

	for round := range powerCuts {
		cutWhilePushing(t, d, disk, pushers, round, start+uint64(round)<<16, rng)
		disk.remount()
		mustBeWhole(t, zot)

		d = zot.Start(t)

		for _, p := range pushers {
			p.open = nil // an upload's bytes were never promised to survive this
			verifyTrying(t, p)
			verifyLatest(t, p)
			verifyTags(t, p)
		}
	}

	verifyAll(t, pushers)

	if err := d.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}

	acked := 0
	for _, p := range pushers {
		acked += len(p.acked)
	}

	t.Logf("%d power cuts, %d images acknowledged", powerCuts, acked)

	if acked < powerCuts {
		t.Error("too little was under way for this run to prove anything")
	}
}

func cutWhilePushing(
	t *testing.T, d *daemon.Daemon, disk *disk, pushers []*pusher, round int, seed uint64, rng *rand.Rand,
) {
	t.Helper()

	var (
		wg    sync.WaitGroup
		ended atomic.Bool
	)

	for _, p := range pushers {
		wg.Go(func() { // until the disk ends, or the server
			if err := p.run(t.Context(), round, seed); err != nil && !ended.Load() {
				t.Errorf("before the power was cut: %v", err)
			}
		})
	}

	moment := time.NewTimer(300*time.Millisecond + time.Duration(rng.Int64N(int64(900*time.Millisecond))))
	defer moment.Stop()
	<-moment.C

	ended.Store(true)
	disk.cut()

	if err := d.Kill(); err != nil {
		t.Error(err)
	}

	wg.Wait()
}

// disk is an ext4 file system on a loop device.
type disk struct {
	t     *testing.T
	image string
	dir   string // where it is mounted
}

const diskSize = 2 << 30 // bytes, of which few are used

func newDisk(t *testing.T, size int64) *disk {
	t.Helper()

	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: it mounts a file system on a loop device")
	}

	k := &disk{t: t, image: filepath.Join(t.TempDir(), "disk"), dir: t.TempDir()}

	file, err := os.Create(k.image)
	if err != nil {
		t.Fatal(err)
	}

	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}

	if err := file.Close(); err != nil {
		t.Fatal(err)
	}

	k.run("mkfs.ext4", "-q", "-F", k.image)
	k.run("mount", "-o", "loop", k.image, k.dir)
	t.Cleanup(func() { k.run("umount", k.dir) })

	return k
}

func (k *disk) run(name string, args ...string) {
	k.t.Helper()

	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		k.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// From the kernel's fs/ext4/ext4.h: _IOR('X', 125, __u32), and the flag that leaves
// even the journal in memory unwritten.
const (
	ext4Shutdown           = 0x8004587d
	ext4ShutdownNoLogFlush = 2
)

// cut stops the file system: what is not on disk by now will never be.
func (k *disk) cut() {
	k.t.Helper()

	dir, err := os.Open(k.dir)
	if err != nil {
		k.t.Fatal(err)
	}

	if err := unix.IoctlSetPointerInt(int(dir.Fd()), ext4Shutdown, ext4ShutdownNoLogFlush); err != nil {
		k.t.Fatalf("stop the file system: %v", err)
	}

	if err := dir.Close(); err != nil {
		k.t.Error(err)
	}
}

// fill takes all the space that is free, to the last block.
func (k *disk) fill() {
	k.t.Helper()

	file, err := os.Create(filepath.Join(k.dir, "ballast"))
	if err != nil {
		k.t.Fatal(err)
	}

	block := make([]byte, 4096)
	for err == nil {
		_, err = file.Write(block)
	}

	if !errors.Is(err, unix.ENOSPC) {
		k.t.Fatalf("fill the disk: %v", err)
	}

	if err := file.Close(); err != nil {
		k.t.Error(err)
	}
}

// remount gives the power back.
func (k *disk) remount() {
	k.t.Helper()
	k.run("umount", k.dir)
	k.run("mount", "-o", "loop", k.image, k.dir)
}

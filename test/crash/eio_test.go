//go:build crash && linux

package crash

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/internal/wire"
	"zotregistry.io/zot/test/internal/churn"
)

// TestDiskFails: the disk answers EIO under load. Clients are told with 5xx, and once the disk
// is whole again all that was acknowledged is there.
func TestDiskFails(t *testing.T) {
	disk := newDisk(t, diskSize)
	c := newCrasher(t, &daemon.Zot{Root: filepath.Join(disk.dir, "root"), Storage: settings[0].storage}, settings[0].lease)
	f := &filler{c: newClient(t, c.zot.Addr), seed: seed(t)}
	rounds := roundsOr(t, 3)

	for round := range rounds {
		c.endWhileWorking(t, func() error {
			disk.limit(failing)

			return nil
		}, toldOfFailure)

		for range 10 {
			if err := f.push(t.Context(), 10_000); !toldOfFailure(err) {
				t.Errorf("a push to a disk that fails: want a status of 5xx, got %v", err)
			}
		}

		if err := c.proc.Kill(); err != nil {
			t.Error(err)
		}

		disk.limit(whole)
		disk.remount()
		c.fleet.PowerFailed()
		c.again(t, round)

		if err := f.push(t.Context(), 10_000); err != nil {
			t.Errorf("a push to the disk that is whole again: %v", err)
		}

		f.verify(t)
	}

	c.finish(t, rounds)
	f.verify(t)
}

// toldOfFailure: the server has answered, and said that it is at fault.
func toldOfFailure(err error) bool {
	var status *wire.StatusError

	return !churn.Disconnected(err) && errors.As(err, &status) && status.Status >= http.StatusInternalServerError
}

// Bytes of a disk that can be reached.
const (
	failing = 4096 // all others answer EIO
	whole   = 0    // no limit
)

// limit has the loop device end sooner than its file, which is not touched.
func (k *disk) limit(size uint64) {
	k.t.Helper()

	device, err := os.Open(k.device())
	if err != nil {
		k.t.Fatal(err)
	}

	info, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
	if err == nil {
		info.Sizelimit = size
		err = unix.IoctlLoopSetStatus64(int(device.Fd()), info)
	}

	if err = errors.Join(err, device.Close()); err != nil {
		k.t.Fatalf("limit the loop device to %d bytes: %v", size, err)
	}
}

// device is the loop device that is mounted.
func (k *disk) device() string {
	k.t.Helper()

	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		k.t.Fatal(err)
	}

	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == k.dir {
			return fields[0]
		}
	}

	k.t.Fatalf("nothing is mounted at %s", k.dir)

	return ""
}

//go:build crash && linux

package crash

import (
	"path/filepath"
	"testing"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/test/internal/churn"
)

// TestPowerCutUnderChurn stops the file system while clients push, delete and pull, and
// garbage is collected. Once the disk has failed a request may be refused: what was not on disk
// is not served any more.
func TestPowerCutUnderChurn(t *testing.T) {
	for _, s := range settings {
		t.Run(s.name, func(t *testing.T) {
			rounds := roundsOr(t, 6)
			disk := newDisk(t, diskSize)
			c := newCrasher(t, &daemon.Zot{Root: filepath.Join(disk.dir, "root"), Storage: s.storage}, s.lease)

			for round := range rounds {
				c.endWhileWorking(t, func() error {
					disk.cut()

					return c.proc.Kill()
				}, churn.Refused)
				disk.remount()
				c.fleet.PowerFailed()
				c.again(t, round)
			}

			c.finish(t, rounds)
		})
	}
}

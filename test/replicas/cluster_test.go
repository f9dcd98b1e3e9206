//go:build replicas

package replicas

import (
	"maps"
	"testing"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/internal/wire"
)

// settings are keys of "storage" in a configuration.
type settings map[string]any

// cluster is replicas on one bucket.
type cluster struct {
	s3       *servers.S3
	bucket   string
	replicas []*replica
}

// replica is one zot. The goroutine of the test alone starts and stops it; its client
// may be used concurrently.
type replica struct {
	*wire.Client

	zot  *daemon.Zot
	proc *daemon.Daemon
	test *testing.T // that made it: it may outlive a subtest that restarts it
}

// newCluster starts an S3 server with an empty bucket.
func newCluster(t *testing.T) *cluster {
	t.Helper()

	c := &cluster{s3: servers.StartS3(t), bucket: "images"}
	must(t, c.s3.Bucket(t.Context(), c.bucket))

	return c
}

// add starts n more replicas.
func (c *cluster) add(t *testing.T, n int, storage settings) {
	t.Helper()

	for range n {
		c.addAt(t, c.s3.Endpoint, storage)
	}
}

// addAt starts a replica that finds the bucket at an address of its own.
func (c *cluster) addAt(t *testing.T, endpoint string, storage settings) *replica {
	t.Helper()

	r := &replica{zot: &daemon.Zot{Storage: c.storage(endpoint, storage)}, test: t}
	r.start()

	r.Client = wire.New(r.zot.Addr)
	t.Cleanup(r.Close)

	c.replicas = append(c.replicas, r)

	return r
}

// storage adds the bucket to settings.
func (c *cluster) storage(endpoint string, more settings) settings {
	driver := c.s3.StorageDriver(c.bucket)
	driver["regionendpoint"] = endpoint

	all := settings{"storageDriver": driver}
	maps.Copy(all, more)

	return all
}

// start starts a replica that is not running, with the cache that it left.
func (r *replica) start() {
	r.test.Helper()
	r.proc = r.zot.Start(r.test)
}

func (r *replica) kill(t *testing.T) {
	t.Helper()
	must(t, r.proc.Kill())
}

// restart stops a replica in good order and starts it with other settings.
func (r *replica) restart(t *testing.T, storage settings) {
	t.Helper()
	must(t, r.proc.Stop())
	maps.Copy(r.zot.Storage, storage)
	r.start()
}

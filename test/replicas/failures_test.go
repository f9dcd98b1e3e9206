//go:build replicas

package replicas

import (
	"fmt"
	"testing"
	"time"

	"zotregistry.io/zot/internal/faultproxy"
	"zotregistry.io/zot/internal/servers"
)

// TestFailures: twelve clients push 2,000 tags or more to one repository while one
// replica is halted for ten seconds, one is killed and comes back, and the cache forgets
// all.
func TestFailures(t *testing.T) {
	c := newCluster(t)
	redis := servers.StartRedis(t)
	c.add(t, 3, settings{"cacheDriver": map[string]any{"name": "redis", "url": "redis://" + redis.Addr + "/0"}})

	l := newLoad(c, "failures", seed(t), 2000)
	begun := time.Now()
	wait := l.start(t, 12)
	reach := func(n int64) {
		t.Helper()
		await(t, 2*time.Minute, fmt.Sprint(n, " tags"), func() bool { return l.acked.Load() >= n })
	}

	reach(100)
	must(t, c.replicas[1].proc.Pause())

	before := l.acked.Load()
	pass(t, 10*time.Second)

	during := l.acked.Load() - before

	must(t, c.replicas[1].proc.Resume())
	reach(before + during + 100)
	c.replicas[0].kill(t)
	reach(before + during + 200)
	c.replicas[0].start()
	reach(before + during + 300)
	redis.FlushAll()
	reach(before + during + 500)
	must(t, wait())

	pushed := time.Since(begun)

	l.verify(t)
	t.Logf("%d tags in %s and %d tries, %d of them while a replica was halted; verified in %s",
		l.acked.Load(), pushed.Round(time.Second), l.tries.Load(), during, (time.Since(begun) - pushed).Round(time.Second))

	if during == 0 {
		t.Error("no tag was acknowledged while one of three replicas was halted")
	}
}

// TestSlowDown: a bucket that asks one request in ten to come again later has pushes
// wait, and not starve.
func TestSlowDown(t *testing.T) {
	c := newCluster(t)
	proxy := faultproxy.Start(t, c.s3.Endpoint)
	c.addAt(t, proxy.URL, nil)
	proxy.Seed(seed(t))

	took := func(repo string) time.Duration {
		begun := time.Now()
		must(t, newLoad(c, repo, 1, 200).start(t, 12)())

		return time.Since(begun)
	}

	calm := took("calm")
	fault := proxy.Inject(faultproxy.Rule{Kind: faultproxy.SlowDown, Chance: 0.1})
	busy := took("busy")

	t.Logf("200 images in %s, and in %s where the bucket refused %d requests", calm, busy, fault.Hits())

	if busy > 20*time.Second {
		t.Error("too long")
	}
}

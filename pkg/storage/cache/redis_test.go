//go:build remote

package cache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/cache"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

var _ storage.Cache = (*cache.Redis)(nil)

// at are the settings that reach a server.
func at(server *servers.Redis) map[string]any {
	return map[string]any{"url": "redis://" + server.Addr}
}

// tryRedis opens the cache of the store called namespace.
func tryRedis(namespace string, settings map[string]any) (*cache.Redis, error) {
	return cache.OpenRedis(cache.RedisOptions{Namespace: namespace, Settings: settings, Log: zerolog.Nop()})
}

func mustRedis(tb testing.TB, namespace string, settings map[string]any) *cache.Redis {
	tb.Helper()

	opened, err := tryRedis(namespace, settings)
	if err != nil {
		tb.Fatal(err)
	}

	tb.Cleanup(func() {
		if err := opened.Close(); err != nil {
			tb.Error(err)
		}
	})

	return opened
}

func TestRedis(t *testing.T) {
	server := servers.StartRedis(t)

	storagetest.TestCache(t, func(t *testing.T) storage.Cache {
		return mustRedis(t, t.Name(), at(server))
	})
}

func TestRedisCluster(t *testing.T) {
	nodes := servers.StartRedisCluster(t)

	t.Run("by its URL", func(t *testing.T) {
		storagetest.TestCache(t, func(t *testing.T) storage.Cache {
			return mustRedis(t, t.Name(), map[string]any{
				"url": fmt.Sprintf("redis://%s?addr=%s&addr=%s", nodes[0].Addr, nodes[1].Addr, nodes[2].Addr),
			})
		})
	})

	t.Run("by its addresses", func(t *testing.T) {
		c := mustRedis(t, t.Name(), map[string]any{"addr": []any{nodes[1].Addr, nodes[2].Addr}})

		for i := range 100 { // some in each node
			mustPut(t, c, digestOf(i), "a")
			wantKeys(t, c, digestOf(i), "a")
		}
	})

	t.Run("one node alone is refused", func(t *testing.T) {
		wantRefusal(t, at(nodes[0]), "url: this redis is a node of a cluster")
	})
}

// TestRedisSentinel: the master goes, and its replica takes over with all that it had.
func TestRedisSentinel(t *testing.T) {
	sentinel, master, _ := servers.StartSentinel(t)
	c := mustRedis(t, "test", map[string]any{"addr": sentinel.Addr, "master_name": servers.MasterName})

	mustPut(t, c, digestOf(0), "a")
	master.Do("WAIT", "1", "10000")
	master.Stop()

	untilWorks(t, c)
	wantKeys(t, c, digestOf(0), "a")
	mustPut(t, c, digestOf(0), "b")
	wantKeys(t, c, digestOf(0), "a", "b")

	wantRefusal(t, at(sentinel), "url: this is a sentinel")
	wantRefusal(t, map[string]any{"addr": sentinel.Addr, "master_name": "other"}, "master_name: ")
}

func TestRedisTLS(t *testing.T) {
	ca := servers.NewCA(t)
	t.Setenv("SSL_CERT_FILE", ca.Path) // is read once in a process
	trusted, strange := servers.StartRedisTLS(t, ca), servers.StartRedisTLS(t, servers.NewCA(t))
	plain := servers.StartRedis(t)

	c := mustRedis(t, "test", map[string]any{"url": "rediss://" + trusted.Addr})
	mustPut(t, c, digestOf(0), "a")
	wantKeys(t, c, digestOf(0), "a")

	wantRefusal(t, map[string]any{"url": "rediss://" + strange.Addr}, "url: no TLS with redis", "unknown authority")
	wantRefusal(t, map[string]any{"url": "rediss://" + plain.Addr}, "url: ", "redis:// if it has no TLS")
	wantRefusal(t, map[string]any{"url": "redis://" + trusted.Addr}, "url: ", "rediss://")
	mustRedis(t, "test", map[string]any{"url": "rediss://" + strange.Addr + "?skip_verify=true"})
}

func TestRedisPassword(t *testing.T) {
	server := servers.StartRedis(t, "--requirepass", "s3cret")
	good := "redis://:s3cret@" + server.Addr

	mustPut(t, mustRedis(t, "test", map[string]any{"url": good}), digestOf(0), "a")
	c := mustRedis(t, "test", map[string]any{"addr": server.Addr, "password": "s3cret", "db": 0, "protocol": 2})
	wantKeys(t, c, digestOf(0), "a")

	wantRefusal(t, map[string]any{"url": "redis://:wr0ng@" + server.Addr}, "url: redis does not accept it", "password")
	wantRefusal(t, map[string]any{"addr": server.Addr, "password": "wr0ng"}, "password: redis does not accept it")
	wantRefusal(t, map[string]any{"addr": server.Addr, "username": "bob", "password": "wr0ng"}, "password: ")
	wantRefusal(t, map[string]any{"addr": server.Addr}, "password: redis asks for a password")
	wantRefusal(t, map[string]any{"url": good + "/99"}, "db: redis has no database 99")
}

// wantRefusal checks that opening fails, why, and that it does so soon.
func wantRefusal(t *testing.T, settings map[string]any, words ...string) {
	t.Helper()

	begin := time.Now()

	opened, err := tryRedis("test", settings)
	if err == nil {
		t.Fatal("it was opened", opened.Close())
	}

	var setting *cache.SettingError
	if !errors.As(err, &setting) {
		t.Errorf("%v names no setting", err)
	}

	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}

	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}

	for _, secret := range []string{"s3cret", "wr0ng"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("error %q has the password", err)
		}
	}
}

func TestRedisOutOfReach(t *testing.T) {
	server := servers.StartRedis(t)
	server.Pause()
	wantRefusal(t, at(server), "url: redis at "+server.Addr+" does not answer")
	server.Resume()
	server.Stop()
	wantRefusal(t, map[string]any{"addr": server.Addr}, "addr: redis at "+server.Addr+" does not answer", "refused")
}

func TestRedisNamespaces(t *testing.T) {
	server := servers.StartRedis(t)
	one, two := mustRedis(t, "one", at(server)), mustRedis(t, "two", at(server))
	other := mustRedis(t, "one", map[string]any{"addr": server.Addr, "keyprefix": "other"})

	mustPut(t, one, digestOf(0), "a")
	wantKeys(t, two, digestOf(0))
	wantKeys(t, other, digestOf(0))
	mustPut(t, two, digestOf(0), "b")
	wantKeys(t, one, digestOf(0), "a")

	if names := strings.Fields(server.Do("KEYS", "*")); len(names) != 2 {
		t.Errorf("two stores have the keys %q", names)
	}

	if ttl := server.Do("TTL", "zot:one:"+string(digestOf(0))); ttl != "-1" {
		t.Errorf("TTL is %s: a key that expires could be lost alone", ttl)
	}
}

// TestRedisOutage: whatever happens to the server while it is in use, calls end soon,
// and work again without the cache being opened anew.
func TestRedisOutage(t *testing.T) {
	server := servers.StartRedis(t)
	c := mustRedis(t, "test", at(server))
	mustPut(t, c, digestOf(0), "a")

	t.Run("it forgets everything", func(t *testing.T) {
		server.FlushAll()
		wantKeys(t, c, digestOf(0))
		mustPut(t, c, digestOf(0), "b")
		wantKeys(t, c, digestOf(0), "b")
	})

	t.Run("it forgets our script", func(t *testing.T) {
		server.Do("SCRIPT", "FLUSH")
		mustPut(t, c, digestOf(1), "a")
	})

	t.Run("it does not answer", func(t *testing.T) {
		server.Pause()
		wantFailures(t, c)
		server.Resume()
		untilWorks(t, c)
		wantKeys(t, c, digestOf(0), "b")
	})

	t.Run("it is gone", func(t *testing.T) {
		server.Stop()
		wantFailures(t, c)
		server.Start()
		untilWorks(t, c)
		mustPut(t, c, digestOf(0), "c")
		wantKeys(t, c, digestOf(0), "c")
	})
}

func TestRedisClusterOutage(t *testing.T) {
	nodes := servers.StartRedisCluster(t)
	c := mustRedis(t, "test", map[string]any{"addr": []any{nodes[0].Addr, nodes[1].Addr, nodes[2].Addr}})
	mustPut(t, c, digestOf(0), "a")

	for _, node := range nodes {
		node.Pause()
	}

	wantFailures(t, c)

	for _, node := range nodes {
		node.Resume()
	}

	untilWorks(t, c)
	wantKeys(t, c, digestOf(0), "a")
}

// wantFailures checks that each method returns an error within a second, also if many
// are called at once.
func wantFailures(t *testing.T, c storage.Cache) {
	t.Helper()

	var group sync.WaitGroup
	for range 10 {
		for name, call := range calls(t.Context(), c) {
			group.Go(func() {
				begin := time.Now()
				if err := call(); err == nil || errors.Is(err, storage.ErrCacheMiss) {
					t.Errorf("%s returns %v", name, err)
				}

				if took := time.Since(begin); took > time.Second {
					t.Errorf("%s takes %s", name, took)
				}
			})
		}
	}

	group.Wait()
}

// calls are the methods that need the server.
func calls(ctx context.Context, c storage.Cache) map[string]func() error {
	return map[string]func() error{
		"GetBlob":     func() error { _, err := c.GetBlob(ctx, digestOf(0)); return err },
		"GetAllBlobs": func() error { _, err := c.GetAllBlobs(ctx, digestOf(0), -1); return err },
		"HasBlob":     func() error { _, err := c.HasBlob(ctx, digestOf(0), "a"); return err },
		"PutBlob":     func() error { return c.PutBlob(ctx, digestOf(2), "a") },
		"DeleteBlob":  func() error { return c.DeleteBlob(ctx, digestOf(3), "a") },
	}
}

// untilWorks asks until the answer is no error.
func untilWorks(t *testing.T, c storage.Cache) {
	t.Helper()

	late := time.After(20 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)

	defer tick.Stop()

	for {
		err := c.PutBlob(t.Context(), digestOf(9), "a")
		if err == nil {
			return
		}

		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("it does not work again: %v", err)
		}
	}
}

// TestRedisEvicts: a server that may evict our keys is used, with a warning.
func TestRedisEvicts(t *testing.T) {
	server := servers.StartRedis(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")

	var log strings.Builder

	opened, err := cache.OpenRedis(cache.RedisOptions{Namespace: "test", Settings: at(server), Log: zerolog.New(&log)})
	if err != nil {
		t.Fatal(err)
	}

	if err := opened.Close(); err != nil {
		t.Error(err)
	}

	if !strings.Contains(log.String(), "allkeys-lru") || !strings.Contains(log.String(), "noeviction") {
		t.Errorf("log: %s", log.String())
	}
}

func digestOf(i int) digest.Digest { return digest.FromString(fmt.Sprint("content ", i)) }

func mustPut(t *testing.T, c storage.Cache, dgst digest.Digest, key string) {
	t.Helper()

	if err := c.PutBlob(t.Context(), dgst, key); err != nil {
		t.Fatal(err)
	}
}

// wantKeys checks that dgst has exactly these keys, in this order.
func wantKeys(t *testing.T, c storage.Cache, dgst digest.Digest, want ...string) {
	t.Helper()

	keys, err := c.GetAllBlobs(t.Context(), dgst, -1)
	if err != nil && !errors.Is(err, storage.ErrCacheMiss) || strings.Join(keys, " ") != strings.Join(want, " ") {
		t.Errorf("keys are %q, %v; want %q", keys, err, want)
	}
}

func BenchmarkRedis(b *testing.B) {
	server := servers.StartRedis(b)

	storagetest.BenchmarkCache(b, func(b *testing.B) storage.Cache {
		server.FlushAll()

		return mustRedis(b, "test", at(server))
	})
}

//go:build remote

package cli

import (
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/pkg/api/config"
)

// serversOf starts the cache that an example needs, and returns the settings that reach it.
var serversOf = map[string]func(t *testing.T) config.Settings{
	"redis.json": mustStartRedis,
	"redis-cluster.json": func(t *testing.T) config.Settings {
		t.Helper()

		var addrs []any

		for _, node := range servers.StartRedisCluster(t) {
			node.Do("ACL", "SETUSER", "zot", "on", ">secret", "~zot:*", "+@connection", "+@sortedset", "+@scripting", "+cluster")
			addrs = append(addrs, node.Addr)
		}

		return config.Settings{"addr": addrs}
	},
	"redis-sentinel.json": func(t *testing.T) config.Settings {
		t.Helper()

		sentinel, _, _ := servers.StartSentinel(t)

		return config.Settings{"addr": sentinel.Addr}
	},
	"dynamodb.json":    mustStartDynamoDB,
	"s3-dynamodb.json": mustStartDynamoDB,
	"s3-redis.json":    mustStartRedis,
}

func mustStartRedis(t *testing.T) config.Settings {
	t.Helper()

	return config.Settings{"url": "redis://" + servers.StartRedis(t).Addr + "/0"}
}

func mustStartDynamoDB(t *testing.T) config.Settings {
	t.Helper()

	return config.Settings{"endpoint": servers.StartDynamoDB(t).Endpoint()}
}

// mustStartBucket starts an S3 server that has the bucket, and returns the settings that
// reach it.
func mustStartBucket(t *testing.T, bucket string) config.Settings {
	t.Helper()

	server := servers.StartS3(t)
	if err := server.Bucket(t.Context(), bucket); err != nil {
		t.Fatal(err)
	}

	return config.Settings{
		"regionendpoint": server.Endpoint, "accesskey": server.AccessKey, "secretkey": server.SecretKey,
	}
}

// TestRemoteExamples serves the examples that need a server, beside one.
func TestRemoteExamples(t *testing.T) {
	paths := mustExamples(t)

	t.Chdir(t.TempDir())
	mustMakeFiles(t)

	for _, path := range paths {
		cfg := mustLoad(t, path)
		if !needsServer(cfg) {
			continue
		}

		t.Run(filepath.Base(path), func(t *testing.T) {
			if bucket := cfg.Storage.StorageDriver; bucket != nil {
				maps.Copy(bucket, mustStartBucket(t, bucket.String("bucket")))
			}

			if name := cfg.Storage.CacheDriver.Name(); name != "" && name != "boltdb" {
				start, ok := serversOf[filepath.Base(path)]
				if !ok {
					t.Fatal("no server is known that this example needs")
				}

				maps.Copy(cfg.Storage.CacheDriver, start(t))
			}

			t.Chdir(t.TempDir())
			mustServe(t, cfg)
		})
	}
}

// TestRemoteOutOfReach: zot does not start without the server of its cache, says so
// within ten seconds, and names the key.
func TestRemoteOutOfReach(t *testing.T) {
	servers.StartDynamoDB(t).Stop() // for the credentials

	var group sync.WaitGroup

	for _, row := range []struct {
		driver config.Settings
		want   string
	}{
		{config.Settings{"name": "redis", "url": "redis://:s3cret@127.0.0.1:1"}, "storage.cacheDriver.url: redis at 127.0.0.1:1 does not answer"},
		{config.Settings{"name": "redis", "addr": "127.0.0.1:1", "password": "s3cret"}, "storage.cacheDriver.addr: redis at "},
		{config.Settings{
			"name": "dynamodb", "cachetablename": "Blobs", "region": "us-east-1", "endpoint": "http://127.0.0.1:1",
		}, "storage.cacheDriver.endpoint: dynamodb at http://127.0.0.1:1 does not answer"},
	} {
		group.Go(func() {
			cfg := config.Default()
			cfg.Storage.RootDirectory = t.TempDir()
			cfg.Storage.CacheDriver = row.driver
			begin := time.Now()

			err := run(t.Context(), cfg, &openedLog{Logger: zerolog.Nop()}, &changes{})
			if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%v: %v", row.driver, err)
			}

			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("%v: it took %s", row.driver, took)
			}
		})
	}

	group.Wait()
}

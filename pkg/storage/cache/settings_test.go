package cache

import (
	"strings"
	"testing"
	"time"

	. "github.com/smartystreets/goconvey/convey"
)

func TestRedisSettings(t *testing.T) {
	Convey("the settings of redis", t, func() {
		Convey("give up within half a second and do not try again, if nothing is set", func() {
			opts, mistakes := parseRedis(map[string]any{"url": "redis://"})
			So(mistakes, ShouldBeEmpty)
			So(opts.client.Addrs, ShouldResemble, []string{"localhost:6379"})
			So(opts.limit, ShouldEqual, 500*time.Millisecond)
			So(opts.client.ReadTimeout, ShouldEqual, opts.limit)
			So(opts.client.MaxRetries, ShouldEqual, -1)
			So(opts.keyPrefix, ShouldEqual, "zot")
			So(opts.mode, ShouldEqual, redisSingle)
		})

		Convey("are read as each of the formats has them", func() {
			for _, n := range []any{7, int64(7), uint64(7), 7.0, "7"} {
				opts, mistakes := parseRedis(map[string]any{
					"addr": "a:1", "db": n, "pool_size": n, "read_timeout": "2s", "conn_max_lifetime": "1h", "username": "u",
				})
				So(mistakes, ShouldBeEmpty)
				So(opts.client.DB, ShouldEqual, 7)
				So(opts.client.PoolSize, ShouldEqual, 7)
				So(opts.client.ReadTimeout, ShouldEqual, 2*time.Second)
				So(opts.client.ConnMaxLifetime, ShouldEqual, time.Hour)
				So(opts.client.Username, ShouldEqual, "u")
				So(opts.limit, ShouldEqual, 2*time.Second)
			}
		})

		Convey("win over the same in the URL", func() {
			opts, mistakes := parseRedis(map[string]any{
				"url":      "rediss://u:p@a:1/3?read_timeout=3s&pool_size=4&client_name=x",
				"password": "q", "pool_size": 5, "keyprefix": "mine",
			})
			So(mistakes, ShouldBeEmpty)
			So(opts.client.Password, ShouldEqual, "q")
			So(opts.client.PoolSize, ShouldEqual, 5)
			So(opts.client.DB, ShouldEqual, 3)
			So(opts.client.ClientName, ShouldEqual, "x")
			So(opts.client.TLSConfig.ServerName, ShouldEqual, "a")
			So(opts.limit, ShouldEqual, 3*time.Second)
			So(opts.keyPrefix, ShouldEqual, "mine")
		})

		Convey("say by the number of addresses whether it is a cluster", func() {
			opts, _ := parseRedis(map[string]any{"url": "redis://a:1?addr=b:2"})
			So(opts.mode, ShouldEqual, redisCluster)
			So(opts.client.Addrs, ShouldResemble, []string{"a:1", "b:2"})

			opts, _ = parseRedis(map[string]any{"addr": []any{"a:1", "b:2"}})
			So(opts.mode, ShouldEqual, redisCluster)

			opts, _ = parseRedis(map[string]any{"addr": []any{"a:1", "b:2"}, "master_name": "m"})
			So(opts.mode, ShouldEqual, redisSentinel)
		})

		Convey("cannot turn the end of a call off", func() {
			opts, mistakes := parseRedis(map[string]any{"url": "redis://a?read_timeout=-1&dial_timeout=0"})
			So(mistakes, ShouldBeEmpty)
			So(opts.limit, ShouldEqual, 500*time.Millisecond)
			So(opts.client.ReadTimeout, ShouldBeGreaterThan, 0)
		})

		Convey("are checked all at once", func() {
			_, mistakes := parseRedis(map[string]any{
				"addr": 5, "db": -1, "protocol": 4, "pool_size": "many", "dial_timeout": "0s", "read_timeout": "soon",
				"username": true, "nothing": 1,
			})

			var keys []string
			for _, mistake := range mistakes {
				keys = append(keys, mistake.Key)
			}

			So(keys, ShouldResemble, []string{
				"nothing", "addr", "username", "db", "protocol", "pool_size", "dial_timeout", "read_timeout",
			})
		})
	})
}

// TestNoSecretsInMistakes: what looks like a password and is not escaped is not printed,
// whatever the parser takes it for.
func TestNoSecretsInMistakes(t *testing.T) {
	for _, url := range []string{
		"redis://:s3cret@a:b", "redis://u:s3cret/s3cret@a:1", "redis://u:12/s3cret@a:1", "redis://u:12?s3cret@a:1",
		"redis://u:12#s3cret@a:1", "redis://u:12?addr=s3cret@a:1", "s3cret://a", "s3cret@a:1", "redis://u:s3cret@a:1/db",
		"redis://u:s3cret@a:1?pool_size=x", "redis://u:s3cret%", "u:s3cret@a:1",
	} {
		for _, key := range []string{"url", "addr"} {
			mistakes := CheckSettings(RedisName, map[string]any{key: url})
			if err := settingErrors(mistakes); err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s %s: %v", key, url, err)
			}
		}
	}
}

func TestDynamoDBSettings(t *testing.T) {
	Convey("the settings of dynamodb", t, func() {
		Convey("are those of an upstream zot", func() {
			opts, mistakes := parseDynamoDB(map[string]any{
				"region": "us-east-2", "endpoint": "http://localhost:4566", "cachetablename": "BlobTable",
				"repometatablename": "a", "imagemetatablename": "b", "repoblobsinfotablename": "c",
				"userdatatablename": "d", "apikeytablename": "e", "versiontablename": "f",
			})
			So(mistakes, ShouldBeEmpty)
			So(opts, ShouldResemble, dynamoOptions{"us-east-2", "http://localhost:4566", "BlobTable"})
		})

		Convey("are checked all at once", func() {
			_, mistakes := parseDynamoDB(map[string]any{"region": 1, "endpoint": "localhost", "table": "a", "versiontablename": 1})

			var keys []string
			for _, mistake := range mistakes {
				keys = append(keys, mistake.Key)
			}

			So(keys, ShouldResemble, []string{"table", "region", "cacheTablename", "endpoint", "versionTablename"})
		})
	})
}

// TestPutOrder: a clock that stands still, or goes back, does not change the order.
func TestPutOrder(t *testing.T) {
	Convey("numbers of puts grow", t, func() {
		var d DynamoDB

		now := time.Unix(1e9, 0)
		first := d.nextSeq(now)
		So(d.nextSeq(now), ShouldBeGreaterThan, first)
		So(d.nextSeq(now.Add(-time.Hour)), ShouldBeGreaterThan, first+1)
		So(d.nextSeq(now.Add(time.Hour)), ShouldEqual, now.Add(time.Hour).UnixNano())
	})
}

// FuzzRedisURL: whatever is in a file, checking it ends with an answer.
func FuzzRedisURL(f *testing.F) {
	for _, url := range []string{
		"redis://", "rediss://u:p@a:1/3?read_timeout=3s&pool_size=4", "redis://a:1?addr=b:2&addr=[::1]:3",
		"redis://[::1]", "redis://a?protocol=9&db=99999999999999999999", "unix:///tmp/a", "redis:a", ":",
	} {
		f.Add(url)
	}

	f.Fuzz(func(_ *testing.T, url string) {
		parseRedis(map[string]any{"url": url})
	})
}

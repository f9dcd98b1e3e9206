package cache

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/opencontainers/go-digest"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

// RedisName is the name of this driver in a configuration.
const RedisName = "redis"

// redisPage is how many keys one command returns at most: a node does nothing else
// while it answers.
const redisPage = 1000

// redisPut adds the member ARGV[1] to the sorted set KEYS[1], behind all others, unless
// it is there. A server has it compiled after the first time. (To name it by its hash saves nothing,
// and is SHA-1, which not all may compute: docs/operations.md.)
const redisPut = `
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return 0
end
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return redis.call('ZADD', KEYS[1], (tonumber(last[2]) or 0) + 1, ARGV[1])
`

// RedisOptions are what a Redis is opened with.
type RedisOptions struct {
	Namespace string         // the id of the image store, which is in every key
	Settings  map[string]any // docs/cache.md lists them; keys in lower case
	Log       zerolog.Logger
}

// Redis keeps the cache of one image store in a Redis server, a cluster of them, or
// the one that sentinels name. Its methods may be called concurrently.
//
// All that is known of a digest is one sorted set, whose members are the keys and
// whose scores grow by one with each put. So each method is one command or one script,
// in one slot of a cluster, and a server that evicts a digest evicts all of it.
//
// A call that takes longer than the longest of the timeouts that are set (500 ms if
// none is) returns an error.
type Redis struct {
	remote

	client redis.UniversalClient
	prefix string // of all keys
}

// OpenRedis connects to the server. It gives up after openLimit. The caller closes the
// Redis.
//
// Errors: *SettingError.
func OpenRedis(opts RedisOptions) (*Redis, error) {
	parsed, mistakes := parseRedis(opts.Settings)
	if len(mistakes) > 0 {
		return nil, settingErrors(mistakes)
	}

	quietRedis()

	r := &Redis{
		client: redis.NewUniversalClient(parsed.client),
		prefix: parsed.keyPrefix + ":" + url.QueryEscape(opts.Namespace) + ":",
	}
	r.limit = parsed.limit

	if err := r.meet(parsed, opts.Log); err != nil {
		return nil, errors.Join(err, r.Close())
	}

	return r, nil
}

// Name is the name of the driver.
func (r *Redis) Name() string { return RedisName }

// GetBlob returns the first key that was put under dgst and not deleted.
//
// Errors: ErrMiss, ErrClosed.
func (r *Redis) GetBlob(ctx context.Context, dgst digest.Digest) (string, error) {
	keys, err := r.GetAllBlobs(ctx, dgst, 1)
	if err != nil {
		return "", err
	}

	return keys[0], nil
}

// GetAllBlobs returns the first limit keys of dgst in the order in which they were put;
// a negative limit is none.
//
// Errors: ErrMiss, ErrClosed.
func (r *Redis) GetAllBlobs(ctx context.Context, dgst digest.Digest, limit int) ([]string, error) {
	if limit == 0 {
		return nil, ErrMiss
	}

	var (
		keys  []string
		after = "-inf" // the score of the last key
	)

	for {
		page := pageSize(limit, len(keys), redisPage)

		found, err := r.page(ctx, dgst, after, page)
		if err != nil {
			return nil, fmt.Errorf("get %s from redis: %w", dgst, err)
		}

		for _, member := range found {
			after = "(" + strconv.FormatFloat(member.Score, 'f', -1, 64)

			text, _ := member.Member.(string)
			if key, err := decodeKey(dgst, []byte(text)); err == nil { // else it is none of ours
				keys = append(keys, key)
			}
		}

		switch {
		case len(found) == page && len(keys) != limit:
		case len(keys) == 0:
			return nil, ErrMiss
		default:
			return keys, nil
		}
	}
}

// page returns at most count keys of dgst, those whose score is higher than after.
func (r *Redis) page(ctx context.Context, dgst digest.Digest, after string, count int) (found []redis.Z, err error) {
	err = r.call(ctx, func(ctx context.Context) error {
		found, err = r.client.ZRangeByScoreWithScores(ctx, r.key(dgst), &redis.ZRangeBy{
			Min: after, Max: "+inf", Count: int64(count),
		}).Result()

		return err
	})

	return found, err
}

// HasBlob says whether key is remembered under dgst.
//
// Errors: ErrClosed.
func (r *Redis) HasBlob(ctx context.Context, dgst digest.Digest, key string) (bool, error) {
	if !fits(dgst, key) {
		return false, nil // such a pair was never put
	}

	err := r.call(ctx, func(ctx context.Context) error {
		return r.client.ZScore(ctx, r.key(dgst), member(dgst, key)).Err()
	})
	if errors.Is(err, redis.Nil) {
		return false, nil
	}

	if err != nil {
		return false, fmt.Errorf("look for %s in redis: %w", dgst, err)
	}

	return true, nil
}

// PutBlob remembers key under dgst.
//
// Errors: ErrClosed, ErrPair.
func (r *Redis) PutBlob(ctx context.Context, dgst digest.Digest, key string) error {
	err := checkPair(dgst, key)
	if err == nil {
		err = r.call(ctx, func(ctx context.Context) error {
			return r.client.Eval(ctx, redisPut, []string{r.key(dgst)}, member(dgst, key)).Err()
		})
	}

	if err != nil {
		return fmt.Errorf("put %.80s into redis: %w", dgst, err)
	}

	return nil
}

// DeleteBlob forgets key under dgst.
//
// Errors: ErrClosed.
func (r *Redis) DeleteBlob(ctx context.Context, dgst digest.Digest, key string) error {
	if !fits(dgst, key) {
		return nil // such a pair was never put
	}

	err := r.call(ctx, func(ctx context.Context) error {
		return r.client.ZRem(ctx, r.key(dgst), member(dgst, key)).Err()
	})
	if err != nil {
		return fmt.Errorf("delete %s from redis: %w", dgst, err)
	}

	return nil
}

// Close closes the connections.
func (r *Redis) Close() error {
	if r.closed.Swap(true) {
		return nil
	}

	return r.client.Close()
}

// key is the key of the sorted set of dgst.
func (r *Redis) key(dgst digest.Digest) string { return r.prefix + string(dgst) }

// member is key as it stands in the sorted set of dgst.
func member(dgst digest.Digest, key string) string { return string(encodeKey(dgst, key)) }

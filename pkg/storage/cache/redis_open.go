package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/rs/zerolog"
)

// quietRedis keeps go-redis from writing to standard error. All that it has to say is
// in the errors of our calls.
var quietRedis = sync.OnceFunc(logging.Disable)

// meet finds out whether the server answers us, and is one that we can use.
func (r *Redis) meet(opts redisOptions, log zerolog.Logger) error {
	ctx, cancel := opening(openLimit)
	defer cancel()

	for {
		info, err := r.info(ctx)
		if err == nil {
			return checkRedis(info, opts, log)
		}

		if wrong := redisRefusal(err, opts); wrong != nil {
			return wrong
		}

		if !sleep(ctx, openRetry) {
			return &SettingError{
				Key:     opts.where,
				Problem: fmt.Sprintf("redis at %s does not answer", strings.Join(opts.client.Addrs, ", ")),
				Remedy:  remedyNoAnswer(opts),
				Err:     err,
			}
		}
	}
}

// remedyNoAnswer is for a server that does not answer. One that speaks TLS takes what
// does not for noise, and the other way round.
func remedyNoAnswer(opts redisOptions) string {
	if opts.client.TLSConfig != nil {
		return "start it, or correct the address, or write redis:// if it has no TLS"
	}

	return "start it, or correct the address, or write rediss:// in url if it wants TLS"
}

// info returns what the server says about itself, "" if we may not ask. Who may not
// ask for INFO may be allowed all that we need.
func (r *Redis) info(ctx context.Context) (info string, err error) {
	err = r.call(ctx, func(ctx context.Context) error {
		if err := r.client.Ping(ctx).Err(); err != nil && !hasPrefix(err, "NOPERM") {
			return err
		}

		info, err = r.client.Info(ctx).Result()
		if hasPrefix(err, "NOPERM") {
			return nil
		}

		return err
	})

	return info, err
}

// redisRefusal returns the setting that is wrong where the server answers, and says
// no; nil where waiting may help.
func redisRefusal(err error, opts redisOptions) error {
	refusal := func(key, problem, remedy string) error {
		return &SettingError{Key: key, Problem: problem, Remedy: remedy, Err: err}
	}

	var answered redis.Error

	text := err.Error()

	switch {
	case strings.Contains(text, "WRONGPASS"), strings.Contains(text, "invalid password"):
		return refusal(secretKey(opts, text), "redis does not accept it", "correct username and password")
	case strings.Contains(text, "NOAUTH"):
		return refusal(secretKey(opts, text), "redis asks for a password", "set username and password")
	case strings.Contains(text, "NOPERM"):
		return refusal(secretKey(opts, text), "this user may not do what zot needs", "allow it +@connection, +@sortedset, +@scripting on the keys")
	case strings.Contains(text, "DB index is out of range"):
		return refusal("db", fmt.Sprintf("redis has no database %d", opts.client.DB), "write a smaller number")
	case strings.Contains(text, "tls:"), strings.Contains(text, "x509:"):
		return refusal(opts.where, "no TLS with redis", "write redis:// if it has none; trust its certificate if it has")
	case opts.mode == redisSentinel && strings.HasSuffix(text, redis.Nil.Error()):
		return refusal("master_name", "the sentinels know no such master", "correct the name")
	case opts.mode == redisCluster && strings.Contains(text, "cluster support disabled"):
		return refusal(opts.where, "this redis is no cluster", "give one address only")
	case errors.As(err, &answered) && !hasPrefix(err, "LOADING") && !hasPrefix(err, "CLUSTERDOWN"):
		return refusal(opts.where, "redis refuses", "look at what it says")
	}

	return nil
}

// secretKey is the key of the setting that holds the password which is not accepted.
func secretKey(opts redisOptions, text string) string {
	switch {
	case opts.mode == redisSentinel && strings.Contains(text, "sentinels"):
		return "sentinel_password"
	case opts.where == "url":
		return "url"
	}

	return "password"
}

// hasPrefix says whether err is an answer of the server that begins so.
func hasPrefix(err error, prefix string) bool {
	return err != nil && strings.HasPrefix(err.Error(), prefix)
}

// checkRedis compares the server with what we took it for. One that could evict our
// keys is used, with a warning.
func checkRedis(info string, opts redisOptions, log zerolog.Logger) error {
	mode := redisMode(infoField(info, "redis_mode"))

	switch {
	case mode == redisCluster && opts.mode != redisCluster:
		return &SettingError{
			Key: opts.where, Problem: "this redis is a node of a cluster",
			Remedy: "name two or more of its nodes: a list in addr, or addr= in the query of the URL",
		}
	case mode == redisSentinel && opts.mode != redisSentinel:
		return &SettingError{
			Key: opts.where, Problem: "this is a sentinel",
			Remedy: "name the master that it watches in master_name",
		}
	}

	policy := infoField(info, "maxmemory_policy")
	if strings.HasPrefix(policy, "allkeys-") && infoField(info, "maxmemory") != "0" {
		log.Warn().Str("maxmemory-policy", policy).
			Msg("redis evicts entries of the cache when its memory is full; those blobs are stored again." +
				" Set maxmemory-policy to noeviction or to a volatile one")
	}

	return nil
}

// infoField returns a field of the answer to INFO.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}

	return ""
}

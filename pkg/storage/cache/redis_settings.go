package cache

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"math"
	"net"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// redisKeys are the settings of a Redis.
var redisKeys = []string{
	"url", "addr", "username", "password", "db", "client_name", "protocol", "master_name",
	"sentinel_username", "sentinel_password", "keyprefix", "pool_size", "pool_timeout",
	"dial_timeout", "read_timeout", "write_timeout", "max_retries", "min_idle_conns",
	"max_idle_conns", "conn_max_idle_time", "conn_max_lifetime",
}

// Defaults. A request that has waited half a second for a hint goes on without one.
const (
	redisKeyPrefix = "zot"
	redisTimeout   = 500 * time.Millisecond
)

// maxRedisConns is a number of connections that no server takes. go-redis panics if it
// is larger than 31 bits.
const maxRedisConns = 1 << 20

// redisMode is what an address is the address of.
type redisMode string

// The values are those of redis_mode in the answer to INFO.
const (
	redisSingle   redisMode = "standalone"
	redisCluster  redisMode = "cluster"
	redisSentinel redisMode = "sentinel"
)

// redisOptions are the settings of a Redis, read and completed.
type redisOptions struct {
	client    *redis.UniversalOptions
	mode      redisMode
	where     string // the key that says where the server is: "url" or "addr"
	keyPrefix string
	limit     time.Duration // a call as a whole gives up after this long
}

// parseRedis reads settings and says all that is wrong with them.
func parseRedis(given map[string]any) (redisOptions, []*SettingError) {
	s := &settings{given: given}
	s.onlyKnown(redisKeys...)

	opts := redisOptions{
		client:    &redis.UniversalOptions{},
		mode:      redisSingle,
		where:     "addr",
		keyPrefix: cmp.Or(s.text("keyprefix"), redisKeyPrefix),
	}

	if _, ok := s.value("url"); ok {
		opts.where = "url"
		opts.readURL(s)
	}

	opts.readServer(s)
	opts.readPool(s)
	opts.complete()

	return opts, s.mistakes
}

// readURL takes what is in the URL, in the language that go-redis has for it. No value
// in it is quoted: what is special and not escaped makes a path of half a password.
func (o *redisOptions) readURL(s *settings) {
	const remedy = `write it as "redis://host:6379/0?read_timeout=1s", and %2F for a "/" in a password`

	text := s.text("url")

	address, err := url.Parse(text)
	if err != nil || strings.Contains(address.Path+address.RawQuery+address.Fragment, "@") {
		s.wrong("url", "is no URL", remedy)

		return
	}

	switch port := address.Port(); {
	case address.Scheme != "redis" && address.Scheme != "rediss":
		s.wrong("url", "has another scheme than redis and rediss", remedy)
	case port != "" && !isPort(port): // go-redis takes 6379 instead
		s.wrong("url", "has a port that is none", "write a port from 1 to 65535")
	case address.Query().Has("addr"):
		o.mode = redisCluster
		err = o.readClusterURL(text)
	default:
		err = o.readNodeURL(text)
	}

	if err != nil {
		s.wrong("url", strings.TrimPrefix(err.Error(), "redis: "), remedy)
	}

	if to := o.client; to.ReadOnly || to.RouteByLatency || to.RouteRandomly {
		s.wrong("url", "asks replicas, which learn later what was put", "remove read_only, route_by_latency, route_randomly")
	}
}

func (o *redisOptions) readClusterURL(text string) error {
	from, err := redis.ParseClusterURL(text)
	if err != nil {
		return err
	}

	sameFields(o.client, from)
	o.client.IsClusterMode = true

	return nil
}

func (o *redisOptions) readNodeURL(text string) error {
	from, err := redis.ParseURL(text)
	if err != nil {
		return err
	}

	sameFields(o.client, from)
	o.client.Addrs = []string{from.Addr}

	return nil
}

// sameFields copies the exported fields of one struct that another one has as well.
func sameFields(to *redis.UniversalOptions, from any) {
	source, target := reflect.ValueOf(from).Elem(), reflect.ValueOf(to).Elem()

	for field, value := range source.Fields() {
		if same := target.FieldByName(field.Name); field.IsExported() && same.IsValid() && same.Type() == field.Type {
			same.Set(value)
		}
	}
}

// readServer takes the keys that say which server, and who we are there. A key wins
// over the same thing in the URL.
func (o *redisOptions) readServer(s *settings) {
	o.readAddrs(s)

	to := o.client
	to.Username = cmp.Or(s.text("username"), to.Username)
	to.Password = cmp.Or(s.text("password"), to.Password)
	to.ClientName = cmp.Or(s.text("client_name"), to.ClientName)
	to.DB = cmp.Or(s.number("db", 0, math.MaxInt32), to.DB)
	to.Protocol = cmp.Or(s.number("protocol", 2, 3), to.Protocol)
	to.MasterName = s.text("master_name")
	to.SentinelUsername, to.SentinelPassword = s.text("sentinel_username"), s.text("sentinel_password")

	o.decideMode(s)
}

// decideMode decides what the addresses are addresses of.
func (o *redisOptions) decideMode(s *settings) {
	const remedy = "name the master that the sentinels watch, or remove it"

	to := o.client

	switch {
	case to.MasterName != "":
		o.mode, to.IsClusterMode = redisSentinel, false
	case to.SentinelUsername != "":
		s.wrong("sentinel_username", "is set without master_name", remedy)
	case to.SentinelPassword != "":
		s.wrong("sentinel_password", "is set without master_name", remedy)
	case len(to.Addrs) > 1:
		o.mode, to.IsClusterMode = redisCluster, true
	}

	if o.mode == redisCluster && to.DB != 0 {
		s.wrong("db", fmt.Sprintf("is %d, but a cluster has only database 0", to.DB), "remove it")
	}
}

func (o *redisOptions) readAddrs(s *settings) {
	addrs := s.texts("addr")

	if _, both := s.value("url"); both && len(addrs) > 0 {
		s.wrong("addr", "is set beside url", "remove one of the two; further nodes are addr= in the query of the URL")

		return
	}

	if o.where == "url" {
		return
	}

	if len(addrs) == 0 && s.ok("addr") {
		s.wrong("url", "is missing", `say where redis is, as "redis://host:6379/0", or give addr`)
	}

	for i, addr := range addrs {
		host, port, err := net.SplitHostPort(addr)
		if err != nil || host == "" || strings.Contains(host, "@") || !isPort(port) {
			s.wrong("addr", fmt.Sprintf("number %d is no address", i+1), `write "host:6379", without user and password`)
		}
	}

	o.client.Addrs = addrs
}

func isPort(text string) bool {
	port, err := strconv.Atoi(text)

	return err == nil && port > 0 && port < 1<<16
}

// readPool takes the keys that say how connections are made and kept.
func (o *redisOptions) readPool(s *settings) {
	to := o.client
	to.PoolSize = cmp.Or(s.number("pool_size", 1, maxRedisConns), to.PoolSize)
	to.MinIdleConns = cmp.Or(s.number("min_idle_conns", 0, maxRedisConns), to.MinIdleConns)
	to.MaxIdleConns = cmp.Or(s.number("max_idle_conns", 0, maxRedisConns), to.MaxIdleConns)
	to.MaxRetries = cmp.Or(s.number("max_retries", -1, 100), to.MaxRetries)
	to.PoolTimeout = cmp.Or(s.duration("pool_timeout"), to.PoolTimeout)
	to.DialTimeout = cmp.Or(s.duration("dial_timeout"), to.DialTimeout)
	to.ReadTimeout = cmp.Or(s.duration("read_timeout"), to.ReadTimeout)
	to.WriteTimeout = cmp.Or(s.duration("write_timeout"), to.WriteTimeout)
	to.ConnMaxIdleTime = cmp.Or(s.duration("conn_max_idle_time"), to.ConnMaxIdleTime)
	to.ConnMaxLifetime = cmp.Or(s.duration("conn_max_lifetime"), to.ConnMaxLifetime)

	if max(to.PoolSize, to.MinIdleConns, to.MaxIdleConns, to.MaxActiveConns) > maxRedisConns {
		s.wrong("url", "has a number of connections that is too large", fmt.Sprintf("write at most %d", maxRedisConns))
	}
}

// complete puts in what was left open. The defaults of go-redis are for programs that
// cannot go on without an answer: seconds to wait, five dials, three retries.
func (o *redisOptions) complete() {
	to := o.client

	// 0 is absent, and below 0 is "none", which a cache must not have.
	for _, timeout := range []*time.Duration{&to.DialTimeout, &to.ReadTimeout, &to.WriteTimeout, &to.PoolTimeout} {
		if *timeout <= 0 {
			*timeout = redisTimeout
		}

		o.limit = max(o.limit, *timeout)
	}

	if to.MaxRetries == 0 {
		to.MaxRetries = -1 // go-redis takes 0 for 3
	}

	to.DialerRetries = 1
	to.ContextTimeoutEnabled = true // else a call could outlive its context
	to.PipelinePoolSize = -1        // we send one command at a time
	to.DisableIdentity = true       // else each connection begins with two more commands
	to.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}

	if to.TLSConfig != nil {
		to.TLSConfig.MinVersion = tls.VersionTLS12
	}
}

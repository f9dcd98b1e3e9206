package api

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/auth"
)

// clientsMost bounds the clients that are remembered, a few MB. The one that has been
// idle for longest goes; when it comes back, it has its burst anew.
const clientsMost = 16384

// limitError is returned for a request that comes too early.
type limitError struct {
	of    string        // whose limit it is
	after time.Duration // when to try again
}

func (e *limitError) Error() string {
	return fmt.Sprintf("too many requests %s: try again in %s", e.of, max(time.Second, e.after.Round(time.Second)))
}

// limits bound requests per second (docs/limits.md). nil is no bound. Methods may be
// called concurrently.
type limits struct {
	all     *rate.Limiter            // nil = no bound
	methods map[string]*rate.Limiter // by method
	clients *clients                 // nil = no bound
	now     func() time.Time
}

func newLimits(cfg *config.RateLimit) (*limits, error) {
	if cfg == nil {
		return nil, nil //nolint:nilnil // no bound
	}

	l := &limits{methods: map[string]*rate.Limiter{}, now: time.Now}

	if cfg.Rate > 0 {
		l.all = perSecond(cfg.Rate, cfg.Rate)
	}

	for _, method := range cfg.Methods {
		if method.Rate > 0 {
			l.methods[method.Method] = perSecond(method.Rate, method.Rate)
		}
	}

	if client := cfg.PerClient; client != nil && client.Rate > 0 {
		var err error
		if l.clients, err = newClients(client.Rate, max(client.Rate, client.Burst)); err != nil {
			return nil, err
		}
	}

	return l, nil
}

func perSecond(n, burst int) *rate.Limiter { return rate.NewLimiter(rate.Limit(n), burst) }

// admit is asked before anything that costs. A request that will be asked who sends it
// is charged to its address by settle, if to that at all; any other one is at once. A
// client is asked first: what it is refused the others may still have.
//
// Errors: *limitError.
func (l *limits) admit(r *request, identifies bool) error {
	if l == nil || r.endpoint.health() {
		return nil
	}

	if err := l.admitAddress(r, identifies); err != nil {
		return err
	}

	if err := take(l.methods[r.Method], l.now(), r.Method); err != nil {
		return err
	}

	return take(l.all, l.now(), "to this registry")
}

func (l *limits) admitAddress(r *request, identifies bool) error {
	if l.clients == nil {
		return nil
	}

	bucket := l.clients.of(addressOf(r))

	if !identifies {
		r.charged = true

		return take(bucket, l.now(), ofAddress)
	}

	if missing := 1 - bucket.TokensAt(l.now()); missing > 0 {
		return &limitError{of: ofAddress, after: seconds(missing / float64(bucket.Limit()))}
	}

	return nil
}

// settle charges a request once it is known who sends it: the user, or the address if
// it is nobody or failed to say so.
//
// Errors: *limitError.
func (l *limits) settle(r *request, failed error) error {
	if l == nil || l.clients == nil || r.charged || r.endpoint.health() {
		return failed
	}

	r.charged = true
	bucket := l.clients.of(addressOf(r))

	switch {
	case failed != nil:
		// Many at once that fail put the address in debt: they are no way around the limit.
		bucket.ReserveN(l.now(), 1)

		return failed
	case r.user.Name == "":
		return take(bucket, l.now(), ofAddress)
	default:
		return take(l.clients.of(clientOf(r)), l.now(), "of this user")
	}
}

const ofAddress = "from this address"

// addressOf names the client of a request by its address.
func addressOf(r *request) string { return "address " + auth.Network(r.RemoteAddr) }

// clientOf names it by its user, or by its address where there is none.
func clientOf(r *request) string {
	if r.user.Name == "" {
		return addressOf(r)
	}

	return "user " + r.user.Name
}

// take takes one request out of a bucket, if it is there.
//
// Errors: *limitError.
func take(bucket *rate.Limiter, now time.Time, of string) error {
	if bucket == nil || bucket.AllowN(now, 1) {
		return nil
	}

	missing := max(0, 1-bucket.TokensAt(now))

	return &limitError{of: of, after: seconds(missing / float64(bucket.Limit()))}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// clients are the buckets of users and addresses.
type clients struct {
	rate, burst int

	mu      sync.Mutex // guards buckets
	buckets *simplelru.LRU[string, *rate.Limiter]
}

func newClients(perSecond, burst int) (*clients, error) {
	buckets, err := simplelru.NewLRU[string, *rate.Limiter](clientsMost, nil)
	if err != nil {
		return nil, fmt.Errorf("limits of clients: %w", err)
	}

	return &clients{rate: perSecond, burst: burst, buckets: buckets}, nil
}

// of returns the bucket of a client, full if it is new.
func (c *clients) of(name string) *rate.Limiter {
	c.mu.Lock()
	defer c.mu.Unlock()

	if bucket, ok := c.buckets.Get(name); ok {
		return bucket
	}

	bucket := perSecond(c.rate, c.burst)
	c.buckets.Add(name, bucket)

	return bucket
}

// identifies says whether a request says who sends it, in a way that somebody will check.
func (r *request) identifies() bool {
	if !r.doors.ways.Any() || r.Method == http.MethodOptions {
		return false
	}

	if openID := r.doors.ways.OpenID(); openID != nil && openID.HasSession(r.Request) {
		return true
	}

	return r.Header.Get("Authorization") != "" || r.TLS != nil && len(r.TLS.PeerCertificates) > 0
}

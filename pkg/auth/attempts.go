package auth

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// limit is how many attempts may fail: burst at once, and then one in every.
type limit struct {
	burst int
	every time.Duration
}

// What may fail before a client has to wait. Who guesses from one address gets 10 a
// minute at one user, 30 at all; all who guess at one user get 30 together.
var (
	pairLimit    = limit{burst: 20, every: 6 * time.Second}
	addressLimit = limit{burst: 60, every: 2 * time.Second}
	userLimit    = limit{burst: 60, every: 2 * time.Second}
)

const (
	// provenFor is how long an address from which a user has logged in is spared for
	// what others do: guess at that user, or from behind the same proxy at another.
	provenFor = time.Hour

	// attemptsMost bounds what is remembered of each, about 2 MB. What is oldest goes.
	attemptsMost = 16384
)

// TooManyError is returned where too many attempts to log in have failed, whatever
// the password is.
type TooManyError struct {
	RetryAfter time.Duration // when to try again
}

func (e *TooManyError) Error() string {
	return fmt.Sprintf("too many attempts to log in have failed: try again in %s", e.RetryAfter.Round(time.Second))
}

// attemptKey stands for a user, an address, or both.
type attemptKey [sha256.Size]byte

// attempts counts those that failed. Methods may be called concurrently.
type attempts struct {
	mu     sync.Mutex                        // guards what follows
	debts  *lru.Cache[attemptKey, time.Time] // when all that failed will be forgotten
	proven *lru.Cache[attemptKey, time.Time] // until when a user of an address is spared
}

func newAttempts() (*attempts, error) {
	debts, err := lru.New[attemptKey, time.Time](attemptsMost)
	if err != nil {
		return nil, fmt.Errorf("attempts: %w", err)
	}

	proven, err := lru.New[attemptKey, time.Time](attemptsMost)
	if err != nil {
		return nil, fmt.Errorf("attempts: %w", err)
	}

	return &attempts{debts: debts, proven: proven}, nil
}

// attempt is one user at one address.
type attempt struct {
	all           *attempts
	user, address string
	pair          attemptKey
}

// of returns the attempt of a client at remote ("host:port").
func (a *attempts) of(user, remote string) attempt {
	address := Network(remote)

	return attempt{all: a, user: user, address: address, pair: keyOf("pair", address, user)}
}

func keyOf(parts ...string) attemptKey { return sha256.Sum256([]byte(strings.Join(parts, "\x00"))) }

func (t attempt) userKey() attemptKey    { return keyOf("user", t.user) }
func (t attempt) addressKey() attemptKey { return keyOf("address", t.address) }

// Network is what belongs to one client: an IPv4 address, or the /64 of an IPv6 one.
func Network(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}

	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}

	addr = addr.Unmap()
	if addr.Is4() {
		return addr.String()
	}

	return netip.PrefixFrom(addr.WithZone(""), 64).Masked().String()
}

// allowed says whether the attempt may be made.
//
// Errors: *TooManyError.
func (t attempt) allowed(now time.Time) error {
	t.all.mu.Lock()
	defer t.all.mu.Unlock()

	wait := t.all.wait(t.pair, pairLimit, now)

	if until, ok := t.all.proven.Get(t.pair); !ok || !now.Before(until) {
		wait = max(wait, t.all.wait(t.userKey(), userLimit, now), t.all.wait(t.addressKey(), addressLimit, now))
	}

	if wait > 0 {
		return &TooManyError{RetryAfter: wait}
	}

	return nil
}

// wait is how long one has to wait until less than the burst has failed; a.mu is held.
func (a *attempts) wait(key attemptKey, l limit, now time.Time) time.Duration {
	debt, ok := a.debts.Get(key)
	if !ok {
		return 0
	}

	return debt.Sub(now) - time.Duration(l.burst-1)*l.every
}

// failed counts the attempt.
func (t attempt) failed(now time.Time) {
	t.all.mu.Lock()
	defer t.all.mu.Unlock()

	t.all.owe(t.pair, pairLimit, now)
	t.all.owe(t.userKey(), userLimit, now)
	t.all.owe(t.addressKey(), addressLimit, now)
}

// owe adds one that failed; a.mu is held.
func (a *attempts) owe(key attemptKey, l limit, now time.Time) {
	debt, _ := a.debts.Get(key)
	if debt.Before(now) {
		debt = now
	}

	a.debts.Add(key, debt.Add(l.every))
}

// succeeded notes that the user has logged in from there.
func (t attempt) succeeded(now time.Time) {
	t.all.mu.Lock()
	defer t.all.mu.Unlock()

	t.all.proven.Add(t.pair, now.Add(provenFor))
}

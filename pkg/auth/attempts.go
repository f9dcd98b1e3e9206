package auth

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
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

	// provenAnew is after how much of that a login is worth to be noted again: each request is one.
	provenAnew = time.Minute

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

// attemptKey stands for a user, an address, or both: a hash, since clients choose how long their
// names are. Its seed they do not know.
type attemptKey uint64

// attemptOf is what an attemptKey stands for.
type attemptOf struct {
	kind    string
	network network
	user    string
}

// attempts counts those that failed. Methods may be called concurrently.
type attempts struct {
	seed maphash.Seed

	mu     sync.Mutex                            // guards what follows
	debts  *simplelru.LRU[attemptKey, time.Time] // when all that failed will be forgotten
	proven *simplelru.LRU[attemptKey, time.Time] // until when a user of an address is spared
}

func newAttempts() (*attempts, error) {
	debts, err := simplelru.NewLRU[attemptKey, time.Time](attemptsMost, nil)
	if err != nil {
		return nil, fmt.Errorf("attempts: %w", err)
	}

	proven, err := simplelru.NewLRU[attemptKey, time.Time](attemptsMost, nil)
	if err != nil {
		return nil, fmt.Errorf("attempts: %w", err)
	}

	return &attempts{seed: maphash.MakeSeed(), debts: debts, proven: proven}, nil
}

// attempt is one user at one address.
type attempt struct {
	all     *attempts
	user    string
	network network
	pair    attemptKey
	proven  time.Time // until when it is, as allowed has seen
}

// of returns the attempt of a client at remote ("host:port").
func (a *attempts) of(user, remote string) *attempt {
	from := networkOf(remote)
	user = strings.ToLower(strings.TrimSpace(user)) // to a directory that is one user

	return &attempt{all: a, user: user, network: from, pair: a.key(attemptOf{"pair", from, user})}
}

func (a *attempts) key(of attemptOf) attemptKey { return attemptKey(maphash.Comparable(a.seed, of)) }

func (t *attempt) userKey() attemptKey { return t.all.key(attemptOf{kind: "user", user: t.user}) }

func (t *attempt) networkKey() attemptKey {
	return t.all.key(attemptOf{kind: "network", network: t.network})
}

// network is what belongs to one client: an IPv4 address, or the /64 of an IPv6 one.
type network struct {
	prefix netip.Prefix
	other  string // what is no address and port
}

func networkOf(remote string) network {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return network{other: remote}
	}

	addr := at.Addr().Unmap().WithZone("")
	bits := 64

	if addr.Is4() {
		bits = addr.BitLen()
	}

	return network{prefix: netip.PrefixFrom(addr, bits).Masked()}
}

// Network names the network of a client at remote ("host:port").
func Network(remote string) string {
	from := networkOf(remote)

	switch {
	case from.other != "":
		return from.other
	case from.prefix.IsSingleIP():
		return from.prefix.Addr().String()
	}

	return from.prefix.String()
}

// allowed says whether the attempt may be made.
//
// Errors: *TooManyError.
func (t *attempt) allowed(now time.Time) error {
	t.all.mu.Lock()
	defer t.all.mu.Unlock()

	wait := t.all.wait(t.pair, pairLimit, now)

	t.proven, _ = t.all.proven.Get(t.pair)

	if !now.Before(t.proven) {
		wait = max(wait, t.all.wait(t.userKey(), userLimit, now), t.all.wait(t.networkKey(), addressLimit, now))
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
func (t *attempt) failed(now time.Time) {
	t.all.mu.Lock()
	defer t.all.mu.Unlock()

	t.all.owe(t.pair, pairLimit, now)
	t.all.owe(t.userKey(), userLimit, now)
	t.all.owe(t.networkKey(), addressLimit, now)
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
func (t *attempt) succeeded(now time.Time) {
	if t.proven.After(now.Add(provenFor - provenAnew)) {
		return
	}

	t.all.mu.Lock()
	defer t.all.mu.Unlock()

	t.all.proven.Add(t.pair, now.Add(provenFor))
}

package auth

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"
)

const (
	// ldapConnections is how many logins are checked at a time.
	ldapConnections = 8

	// ldapIdle is how long a connection is kept without use: firewalls forget them.
	ldapIdle = time.Minute

	// ldapRest is how long a directory that could not be reached is left alone, so that
	// requests do not queue up for a timeout each.
	ldapRest = time.Second
)

// errResting: the directory could not be reached a moment ago.
var errResting = errors.New("the directory could not be reached a moment ago")

// ldapPool is connections to a directory. Methods may be called concurrently.
type ldapPool struct {
	dial  func(ctx context.Context) (*ldap.Conn, error)
	slots chan pooled // one for each connection that there may be

	mu        sync.Mutex // guards what follows
	restUntil time.Time
	closed    bool
}

// pooled is a connection that nobody uses; without one its place is free.
type pooled struct {
	conn *ldap.Conn
	used time.Time
}

func newLDAPPool(dial func(context.Context) (*ldap.Conn, error)) *ldapPool {
	p := &ldapPool{dial: dial, slots: make(chan pooled, ldapConnections)}
	for range ldapConnections {
		p.slots <- pooled{}
	}

	return p
}

// do calls f with a connection, which is as the one before left it. Where it turns out to
// be broken, f is called once more with a new one. It goes on when the client has left, for
// as long as the timeouts say.
func (p *ldapPool) do(ctx context.Context, f func(*ldap.Conn) error) error {
	var slot pooled
	select {
	case slot = <-p.slots:
	case <-ctx.Done():
		return ctx.Err()
	}

	defer func() { p.put(slot) }()

	if slot.conn != nil && slot.conn.IsClosing() || time.Since(slot.used) > ldapIdle {
		slot.drop()
	}

	old := slot.conn != nil

	err := p.try(ctx, &slot, f)
	if old && slot.conn == nil && err != nil {
		err = p.try(ctx, &slot, f)
	}

	return err
}

// try calls f once. A connection that fails is dropped.
func (p *ldapPool) try(ctx context.Context, slot *pooled, f func(*ldap.Conn) error) error {
	fresh := slot.conn == nil
	if fresh {
		if p.resting() {
			return errResting
		}

		conn, err := p.dial(context.WithoutCancel(ctx))
		if err != nil {
			p.rest()

			return err
		}

		slot.conn = conn
	}

	err := f(slot.conn)
	slot.used = time.Now()

	if ldap.IsErrorWithCode(err, ldap.ErrorNetwork) || slot.conn.IsClosing() {
		slot.drop()

		if fresh {
			p.rest()
		}
	}

	return err
}

// drop closes the connection. That it cannot be closed well is no matter: it is broken, or
// was not used for long.
func (s *pooled) drop() {
	if s.conn != nil {
		_ = s.conn.Close()
	}

	s.conn = nil
}

func (p *ldapPool) resting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()

	return time.Now().Before(p.restUntil)
}

func (p *ldapPool) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.restUntil = time.Now().Add(ldapRest)
}

func (p *ldapPool) put(slot pooled) {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.closed {
		slot.drop()
	}

	p.slots <- slot
}

// Close closes the connections; those in use when they are put back.
func (p *ldapPool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.closed = true

	for range ldapConnections {
		select {
		case slot := <-p.slots:
			slot.drop()

			defer func() { p.slots <- slot }()
		default: // in use
			return nil
		}
	}

	return nil
}

package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// memoryNotes are notes that fail when told to.
type memoryNotes struct {
	mu    sync.Mutex
	all   map[string][]byte
	fail  error
	reads int
}

func (m *memoryNotes) PutNote(_ context.Context, name string, body []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()

	if m.fail == nil {
		m.all[name] = bytes.Clone(body)
	}

	return m.fail
}

func (m *memoryNotes) ReadNote(_ context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()

	m.reads++

	if body, ok := m.all[name]; ok || m.fail != nil {
		return body, m.fail
	}

	return nil, fs.ErrNotExist
}

func (m *memoryNotes) ListNotes(_ context.Context, prefix string) iter.Seq2[string, error] {
	m.mu.Lock()
	names := slices.Sorted(maps.Keys(m.all))
	m.mu.Unlock()

	return func(yield func(string, error) bool) {
		for _, name := range names {
			if strings.HasPrefix(name, prefix) && !yield(name, m.fail) {
				return
			}
		}
	}
}

func (m *memoryNotes) DeleteNote(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()

	if m.fail == nil {
		delete(m.all, name)
	}

	return m.fail
}

// clock is a time that tests move.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

// keysOf opens keys, twice: as two replicas.
func keysOf(t *testing.T) (here, there *Keys, notes *memoryNotes, now *clock) {
	t.Helper()

	notes, now = &memoryNotes{all: map[string][]byte{}}, &clock{time.Now()}
	here, there = openKeys(notes), openKeys(notes)
	here.now, there.now = now.now, now.now

	return here, there, notes, now
}

func (k *Keys) mustCreate(t *testing.T, user User, wanted Key) (Key, string) {
	t.Helper()

	made, secret, err := k.Create(t.Context(), user, wanted)
	if err != nil {
		t.Fatal(err)
	}

	return made, secret
}

func TestAPIKeys(t *testing.T) {
	here, there, notes, now := keysOf(t)
	ann := User{Name: "ann", Groups: []string{"dev"}}
	made, secret := here.mustCreate(t, ann, Key{Label: "ci"})
	_, other := here.mustCreate(t, User{Name: "bob"}, Key{})

	for name, body := range notes.all {
		if strings.Contains(name+string(body), secret[len(keyPrefix):]) {
			t.Errorf("the key is kept: %s: %s", name, body)
		}
	}

	for _, k := range []*Keys{here, there} {
		for range 3 {
			user, err := k.check(t.Context(), unlimited("ann", secret))
			equal(t, err, nil, "error")
			equal(t, fmt.Sprintf("%+v", user), "{Name:ann Groups:[dev] Scope:<nil> ByKey:true ByToken:false}", "user")
		}
	}

	equal(t, notes.reads, 2, "notes read: one for each replica")
	equal(t, len(secret), len(keyPrefix)+64, "256 bits")

	for what, l := range map[string]login{
		"of another user":  unlimited("ann", other),
		"another":          unlimited("ann", secret[:len(secret)-1]+"x"),
		"a part":           unlimited("ann", secret[:len(secret)-1]),
		"the prefix":       unlimited("ann", keyPrefix),
		"no key":           unlimited("ann", "secret"),
		"another's name":   unlimited("bob", secret),
		"no name":          unlimited("", secret),
		"the name of note": unlimited("ann", noteOf("ann", secret)),
	} {
		_, err := here.check(t.Context(), l)
		equal(t, err, errWrong, what)
	}

	list, err := there.List(t.Context(), ann)
	equal(t, err, nil, "error")
	equal(t, fmt.Sprint(list), fmt.Sprint([]Key{made}), "list")

	_, err = here.check(t.Context(), unlimited("ann", secret))
	equal(t, err, nil, "before it is revoked")
	equal(t, errors.Is(here.Revoke(t.Context(), User{Name: "bob"}, made.ID), ErrKeyUnknown), true, "by another")
	equal(t, here.Revoke(t.Context(), ann, made.ID), nil, "revoke")
	equal(t, errors.Is(here.Revoke(t.Context(), ann, made.ID), ErrKeyUnknown), true, "twice")

	_, err = here.check(t.Context(), unlimited("ann", secret))
	equal(t, err, errWrong, "revoked here")

	now.Time = now.Add(keyRemember)
	_, err = there.check(t.Context(), unlimited("ann", secret))
	equal(t, err, errWrong, "revoked there, after a while")
}

func TestExpiry(t *testing.T) {
	here, _, _, now := keysOf(t)
	ann := User{Name: "ann"}
	_, secret := here.mustCreate(t, ann, Key{Expires: now.Add(10 * time.Second)})

	_, err := here.check(t.Context(), unlimited("ann", secret))
	equal(t, err, nil, "before")

	now.Time = now.Add(10 * time.Second)
	_, err = here.check(t.Context(), unlimited("ann", secret))
	equal(t, err, errWrong, "after")

	list, err := here.List(t.Context(), ann)
	equal(t, err == nil && len(list) == 1 && list[0].Expired, true, fmt.Sprint(list, err))
}

func TestKeyScope(t *testing.T) {
	here, _, _, _ := keysOf(t)
	_, secret := here.mustCreate(t, User{Name: "ann"}, Key{Scopes: []string{"a/b"}})

	user, err := here.check(t.Context(), unlimited("ann", secret))
	equal(t, err, nil, "error")
	equal(t, user.Scope.Allows(Access{"repository", "a/b", []string{"pull", "push", "delete"}}), true, "its repository")
	equal(t, user.Scope.Allows(Access{"repository", "a", []string{"pull"}}), false, "another")
	equal(t, user.Scope.Allows(Access{"registry", "catalog", []string{"*"}}), false, "the catalog")
}

func TestBadKeyRequests(t *testing.T) {
	here, _, notes, now := keysOf(t)

	for what, wanted := range map[string]Key{
		"expired":          {Expires: now.Time},
		"a long label":     {Label: strings.Repeat("x", maxLabel+1)},
		"many scopes":      {Scopes: make([]string, maxScopes+1)},
		"an empty scope":   {Scopes: []string{""}},
		"a scope too long": {Scopes: []string{strings.Repeat("x", maxScopeBytes+1)}},
	} {
		_, _, err := here.Create(t.Context(), User{Name: "ann"}, wanted)
		equal(t, errors.Is(err, ErrKeyInvalid), true, fmt.Sprint(what, ": ", err))
	}

	for range maxKeys {
		here.mustCreate(t, User{Name: "ann"}, Key{})
	}

	_, _, err := here.Create(t.Context(), User{Name: "ann"}, Key{})
	equal(t, errors.Is(err, ErrKeyInvalid), true, fmt.Sprint(err))
	equal(t, len(notes.all), maxKeys, "keys")
}

func TestKeysUnavailable(t *testing.T) {
	here, _, notes, _ := keysOf(t)
	made, secret := here.mustCreate(t, User{Name: "ann"}, Key{})
	notes.fail = errors.New("no bucket")

	_, err := here.check(t.Context(), unlimited("ann", secret))
	equal(t, errors.Is(err, ErrUnavailable), true, fmt.Sprint(err))

	_, _, err = here.Create(t.Context(), User{Name: "ann"}, Key{})
	equal(t, errors.Is(err, notes.fail), true, fmt.Sprint(err))
	equal(t, errors.Is(here.Revoke(t.Context(), User{Name: "ann"}, made.ID), notes.fail), true, "revoke")

	_, err = here.List(t.Context(), User{Name: "ann"})
	equal(t, errors.Is(err, notes.fail), true, fmt.Sprint(err))
}

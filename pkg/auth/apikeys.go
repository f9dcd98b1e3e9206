package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Errors of API keys.
var (
	// ErrKeyUnknown: the user has no such key.
	ErrKeyUnknown = errors.New("no such API key")

	// ErrKeyInvalid: a key cannot be as it was asked for.
	ErrKeyInvalid = errors.New("invalid API key")
)

const (
	// keyPrefix is what API keys begin with, so that people and scanners know them.
	keyPrefix = "zak_"

	// keyRemember is how long a key that was right is not looked up again: for so long
	// other replicas take one that was revoked.
	keyRemember = time.Minute

	// Bounds of what a user may have kept.
	maxKeys       = 100
	maxLabel      = 256
	maxScopes     = 100
	maxScopeBytes = 256
)

// Notes is where keys are kept (storage.Notes).
type Notes interface {
	PutNote(ctx context.Context, name string, body []byte) error
	ReadNote(ctx context.Context, name string) ([]byte, error) // fs.ErrNotExist
	ListNotes(ctx context.Context, prefix string) iter.Seq2[string, error]
	DeleteNote(ctx context.Context, name string) error
}

// Key describes an API key. It does not hold the key.
type Key struct {
	ID      string    `json:"uuid"`
	Label   string    `json:"label"`
	Scopes  []string  `json:"scopes"` // repositories, by name; none = no limit
	Created time.Time `json:"createdAt"`
	Expires time.Time `json:"expirationDate,omitzero"` // zero = never
	Expired bool      `json:"isExpired"`
}

// keyNote is what is kept of a key.
type keyNote struct {
	Key

	User   string   `json:"user"`
	Groups []string `json:"groups,omitempty"` // those of the user when it was made
}

// Keys are API keys, which users send in place of a password. A key is 256 random bits, of
// which only the SHA-256 is kept: there is nothing to guess. Methods may be called
// concurrently.
type Keys struct {
	notes Notes
	known *remembered
	now   func() time.Time
}

func openKeys(notes Notes) *Keys {
	return &Keys{notes: notes, known: newRemembered(keyRemember), now: time.Now}
}

// notesOf is where the keys of a user are.
func notesOf(user string) string {
	return "apikeys/" + hashHex(user) + "/"
}

func noteOf(user, secret string) string {
	return notesOf(user) + hashHex(secret)
}

// check implements directory.
func (k *Keys) check(ctx context.Context, l login) (User, error) {
	if !strings.HasPrefix(l.password, keyPrefix) {
		return User{}, errWrong
	}

	name := noteOf(l.user, l.password)
	mark := k.known.mark(l.user, name)

	if user, ok := k.known.get(mark, k.now()); ok {
		return user, nil
	}

	note, err := k.read(ctx, name)

	switch {
	case errors.Is(err, fs.ErrNotExist):
		return User{}, errWrong
	case err != nil:
		return User{}, fmt.Errorf("%w: API keys: %w", ErrUnavailable, err)
	case note.Expired || note.User != l.user:
		return User{}, errWrong
	}

	user := User{Name: note.User, Groups: note.Groups, Scope: scopeOf(note.Scopes), ByKey: true}
	now := k.now()
	k.known.addUntil(mark, user, now, earliest(now.Add(k.known.life), note.Expires))

	return user, nil
}

// earliest returns the earlier one; the zero time is never.
func earliest(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}

	return b
}

// scopeOf allows everything in some repositories, and nothing else.
func scopeOf(repositories []string) *Scope {
	if len(repositories) == 0 {
		return nil
	}

	scope := &Scope{}
	for _, name := range repositories {
		scope.access = append(scope.access, Access{Type: "repository", Name: name, Actions: []string{"*"}})
	}

	return scope
}

func (k *Keys) read(ctx context.Context, name string) (keyNote, error) {
	data, err := k.notes.ReadNote(ctx, name)
	if err != nil {
		return keyNote{}, err
	}

	var note keyNote
	if err := json.Unmarshal(data, &note); err != nil {
		return keyNote{}, fmt.Errorf("note %s: %w", name, err)
	}

	note.Expired = !note.Expires.IsZero() && !k.now().Before(note.Expires)

	return note, nil
}

// Create makes a key for a user, who keeps his groups of this moment with it. expires may
// be zero. The key itself, secret, is nowhere kept.
//
// Errors: ErrKeyInvalid.
func (k *Keys) Create(ctx context.Context, user User, wanted Key) (made Key, secret string, err error) {
	if err := k.validate(wanted); err != nil {
		return Key{}, "", err
	}

	all, err := k.List(ctx, user)
	if err != nil {
		return Key{}, "", err
	}

	if len(all) >= maxKeys {
		return Key{}, "", fmt.Errorf("%w: there are %d already", ErrKeyInvalid, len(all))
	}

	secret = keyPrefix + randomHex()
	note := keyNote{User: user.Name, Groups: user.Groups, Key: Key{
		ID: uuid.NewString(), Label: wanted.Label, Scopes: wanted.Scopes, Created: k.now().UTC(), Expires: wanted.Expires.UTC(),
	}}

	data, err := json.Marshal(note)
	if err != nil {
		return Key{}, "", fmt.Errorf("make API key: %w", err)
	}

	if err := k.notes.PutNote(ctx, noteOf(user.Name, secret), data); err != nil {
		return Key{}, "", fmt.Errorf("make API key: %w", err)
	}

	return note.Key, secret, nil
}

func (k *Keys) validate(wanted Key) error {
	switch {
	case len(wanted.Label) > maxLabel:
		return fmt.Errorf("%w: the label is longer than %d bytes", ErrKeyInvalid, maxLabel)
	case len(wanted.Scopes) > maxScopes:
		return fmt.Errorf("%w: there are more than %d scopes", ErrKeyInvalid, maxScopes)
	case slices.ContainsFunc(wanted.Scopes, func(s string) bool { return s == "" || len(s) > maxScopeBytes }):
		return fmt.Errorf("%w: a scope is no name of a repository", ErrKeyInvalid)
	case !wanted.Expires.IsZero() && !k.now().Before(wanted.Expires):
		return fmt.Errorf("%w: it would have expired", ErrKeyInvalid)
	}

	return nil
}

// List returns the keys of a user, the oldest first.
func (k *Keys) List(ctx context.Context, user User) ([]Key, error) {
	all := []Key{} // [], not null

	err := k.each(ctx, user, func(_ string, note keyNote) error {
		all = append(all, note.Key)

		return nil
	})

	slices.SortFunc(all, func(a, b Key) int { return a.Created.Compare(b.Created) })

	return all, err
}

// Revoke ends a key of a user. Other replicas, and a login that looks it up at this moment,
// may have it taken for another keyRemember.
//
// Errors: ErrKeyUnknown.
func (k *Keys) Revoke(ctx context.Context, user User, id string) error {
	found := false

	err := k.each(ctx, user, func(name string, note keyNote) error {
		if note.ID != id {
			return nil
		}

		found = true

		if err := k.notes.DeleteNote(ctx, name); err != nil {
			return err
		}

		k.known.forget(k.known.mark(user.Name, name))

		return nil
	})
	if err != nil {
		return fmt.Errorf("revoke API key: %w", err)
	}

	if !found {
		return fmt.Errorf("%w: %q", ErrKeyUnknown, id)
	}

	return nil
}

// each calls f with the keys of a user.
func (k *Keys) each(ctx context.Context, user User, f func(name string, note keyNote) error) error {
	for name, err := range k.notes.ListNotes(ctx, notesOf(user.Name)) {
		if err != nil {
			return fmt.Errorf("list API keys: %w", err)
		}

		note, err := k.read(ctx, name)
		if errors.Is(err, fs.ErrNotExist) { // revoked meanwhile
			continue
		}

		if err == nil {
			err = f(name, note)
		}

		if err != nil {
			return fmt.Errorf("list API keys: %w", err)
		}
	}

	return nil
}

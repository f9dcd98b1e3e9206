package auth

import (
	"errors"
	"reflect"
	"slices"

	"zotregistry.io/zot/pkg/api/config"
)

// Renew opens the ways anew, as cfg and the files that it names say now. w stays as it is, for
// requests under way; Retire closes what it alone has.
//
// What was opened from the same settings and the same files is shared: connections, and who is
// remembered. So are failed attempts, and API keys and logins by browsers whatever cfg says of
// these.
func (w *Ways) Renew(cfg config.HTTP) (*Ways, error) {
	next := &Ways{keys: w.keys, openID: w.openID, attempts: w.attempts}

	if err := next.open(cfg, w); err != nil {
		return nil, err
	}

	return next, nil
}

// Retire closes what w keeps open, and next does not use. Requests may still be under way.
func (w *Ways) Retire(next *Ways) error {
	var (
		used = next.closers()
		errs []error
	)

	for _, open := range w.closers() {
		if !slices.Contains(used, open) {
			errs = append(errs, open.Close())
		}
	}

	return errors.Join(errs...)
}

// orSame returns old if it takes the same tokens.
func (b *bearer) orSame(old *bearer) *bearer {
	if old != nil && b.realm == old.realm && b.service == old.service && reflect.DeepEqual(b.keys, old.keys) {
		return old
	}

	return b
}

// keep takes the directories of old that know the same users.
func (b *basic) keep(old *basic) {
	if old == nil {
		return
	}

	for i, d := range b.directories {
		for _, before := range old.directories {
			if sameDirectory(d, before) {
				b.directories[i] = before
			}
		}
	}
}

func sameDirectory(a, b directory) bool {
	switch a := a.(type) {
	case *htpasswd:
		b, ok := b.(*htpasswd)

		return ok && a.decoys.key == b.decoys.key // the digest of the file
	case *ldapDirectory:
		b, ok := b.(*ldapDirectory)

		return ok && a.same(b)
	}

	return false
}

// same says whether both ask the same directory in the same way.
func (d *ldapDirectory) same(other *ldapDirectory) bool {
	return d.cfg == other.cfg &&
		d.search.user == other.search.user && d.search.password == other.search.password &&
		(d.authorities == nil) == (other.authorities == nil) &&
		(d.authorities == nil || d.authorities.Equal(other.authorities))
}

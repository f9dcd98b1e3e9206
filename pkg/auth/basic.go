package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"zotregistry.io/zot/internal/pause"
	"zotregistry.io/zot/pkg/api/config"
)

// errWrong: this place does not know such a user with such a password.
var errWrong = errors.New("wrong name or password")

// maxName is how long a user's name may be, in bytes: no directory is asked for a longer one.
const maxName = 256

// login is a name and a password that a client has sent.
type login struct {
	user, password string

	// allowed is asked again by who made the login wait, so that many at once are no
	// way around the limit.
	allowed func() error
}

// directory is a place that knows users and passwords. Methods are called concurrently.
type directory interface {
	// check returns the user.
	//
	// Errors: errWrong, ErrUnavailable, *TooManyError; that of the context if the client
	// has left.
	check(ctx context.Context, l login) (User, error)
}

// basic is the way of names and passwords (RFC 7617). Directories are asked one after the
// other until one says yes: those that are near first.
type basic struct {
	directories []directory
	attempts    *attempts
	failDelay   time.Duration
	realm       string
}

// openBasic returns nil if cfg names no directory.
func openBasic(cfg config.HTTP, keys *Keys, attempts *attempts) (*basic, error) {
	directories, err := openDirectories(cfg.Auth, keys)
	if err != nil || len(directories) == 0 {
		return nil, err
	}

	return &basic{
		directories: directories,
		attempts:    attempts,
		failDelay:   time.Duration(cfg.Auth.FailDelay) * time.Second,
		realm:       cfg.Realm,
	}, nil
}

// openDirectories opens those that are configured, the nearest first.
func openDirectories(cfg config.Auth, keys *Keys) ([]directory, error) {
	var all []directory

	if keys != nil {
		all = append(all, keys)
	}

	if cfg.HTPasswd != nil {
		file, err := openHTPasswd(cfg.HTPasswd.Path)
		if err != nil {
			return nil, err
		}

		all = append(all, file)
	}

	if cfg.LDAP != nil {
		remote, err := openLDAP(*cfg.LDAP)
		if err != nil {
			return nil, err
		}

		all = append(all, remote)
	}

	return all, nil
}

// closers are the directories that keep something open.
func (b *basic) closers() []io.Closer {
	var all []io.Closer

	for _, d := range b.directories {
		if open, ok := d.(io.Closer); ok {
			all = append(all, open)
		}
	}

	return all
}

// defaultRealm is what http.realm is when it is not set.
const defaultRealm = "zot"

// Challenge implements Way: RFC 7617, 2.
func (b *basic) Challenge(error, Access) string {
	return "Basic realm=" + quote(cmp.Or(b.realm, defaultRealm)) + `, charset="UTF-8"`
}

// User implements Way.
func (b *basic) User(r *http.Request) (User, error) {
	name, password, ok := r.BasicAuth()
	if !ok {
		return User{}, errNotMine
	}

	attempt := b.attempts.of(name, r.RemoteAddr)
	allowed := func() error { return attempt.allowed(time.Now()) }

	if err := allowed(); err != nil {
		return User{}, err
	}

	user, err := b.ask(r.Context(), login{user: name, password: password, allowed: allowed})
	if err == nil {
		attempt.succeeded(time.Now())

		return user, nil
	}

	if !errors.Is(err, errWrong) {
		return User{}, err
	}

	attempt.failed(time.Now())

	if err := pause.For(r.Context(), b.failDelay); err != nil {
		return User{}, err
	}

	return User{}, fmt.Errorf("%w: %w", ErrUnauthorized, errWrong)
}

// ask asks the directories. Where one cannot be asked and no other says yes, nobody knows.
func (b *basic) ask(ctx context.Context, l login) (User, error) {
	if l.user == "" || len(l.user) > maxName || len(l.password) > maxPassword {
		return User{}, errWrong
	}

	err := errWrong

	for _, d := range b.directories {
		user, failed := d.check(ctx, l)

		switch {
		case failed == nil:
			return user, nil
		case errors.Is(failed, ErrUnavailable):
			err = failed
		case !errors.Is(failed, errWrong):
			return User{}, failed
		}
	}

	return User{}, err
}

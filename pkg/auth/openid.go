package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"zotregistry.io/zot/pkg/api/config"
)

// Errors of logins by a browser.
var (
	// ErrLoginInvalid: no login was begun like this, or not by this browser.
	ErrLoginInvalid = errors.New("invalid login")

	// ErrLoginRefused: the provider does not say who this is.
	ErrLoginRefused = errors.New("login refused")

	// ErrSession is an ErrUnauthorized: there is no such session, any more.
	ErrSession = fmt.Errorf("%w: the session is over", ErrUnauthorized)

	// ErrCrossOrigin: a page of someone else would change something by a user's session.
	ErrCrossOrigin = errors.New("a session changes nothing for other origins")
)

const (
	// CallbackPath is where providers send browsers back to, followed by the provider's name.
	CallbackPath = "/zot/auth/callback/"

	// loginTime is how long a user has to log in at the provider.
	loginTime = 10 * time.Minute
)

// pending is a login that has begun. The browser keeps it, sealed.
type pending struct {
	Provider string
	State    string    // comes back from the provider: this browser has begun it
	Nonce    string    // is in the identity token: it was made for this login
	Verifier string    // proves to the provider that it was begun here (RFC 7636)
	Back     string    // where the browser goes in the end
	Expires  time.Time // it is over by then
}

// OpenID is the way of browsers: a user logs in at an OpenID provider, and his browser has
// a session from then on. A login is the authorization code flow with PKCE, state and nonce
// (OpenID Connect Core, 3.1; RFC 9700, 2.1). Until it is over, nothing is kept of it but a
// cookie that only zot can read. Methods may be called concurrently.
type OpenID struct {
	providers map[string]*provider
	seal      sealer
	sessions  *sessions
	origins   origins
	cookies   cookies
	now       func() time.Time
}

// openOpenID reads the files that cfg names, and asks no provider: zot starts while they are
// down.
func openOpenID(cfg config.HTTP, notes Notes) (*OpenID, error) {
	origins, err := newOrigins(cfg)
	if err != nil {
		return nil, err
	}

	seal, err := newSealer(cfg.Auth.SessionKeysFile, "login")
	if err != nil {
		return nil, fmt.Errorf("http.auth.sessionKeysFile: %w", err)
	}

	o := &OpenID{
		providers: map[string]*provider{},
		seal:      seal,
		sessions:  openSessions(notes),
		origins:   origins,
		cookies:   cookies{secure: cfg.Auth.SecureSession == nil || *cfg.Auth.SecureSession},
		now:       time.Now,
	}

	for name, settings := range cfg.Auth.OpenID.Providers {
		back := strings.TrimRight(cfg.ExternalURL, "/") + CallbackPath + name

		if o.providers[name], err = newProvider(settings, back); err != nil {
			return nil, fmt.Errorf("http.auth.openid.providers[%s].%w", name, err)
		}
	}

	return o, nil
}

// User implements Way. Who sends other credentials besides says by them who he is.
func (o *OpenID) User(r *http.Request) (User, error) {
	if r.Header.Get("Authorization") != "" {
		return User{}, errNotMine
	}

	value, ok := o.cookies.session(r)
	if !ok {
		return User{}, errNotMine
	}

	user, err := o.sessions.user(r.Context(), value)

	switch {
	case errors.Is(err, errWrong):
		return User{}, ErrSession
	case err != nil:
		return User{}, err
	}

	return user, o.origins.check(r)
}

// HasSession says whether a request names a session, whose ever it is.
func (o *OpenID) HasSession(r *http.Request) bool {
	_, ok := o.cookies.session(r)

	return ok
}

// Challenge implements Way: programs send API keys, which have a challenge of their own.
func (o *OpenID) Challenge(error, Access) string { return "" }

// Close closes connections to providers.
func (o *OpenID) Close() error {
	for _, p := range o.providers {
		p.client.CloseIdleConnections()
	}

	return nil
}

// Begin begins a login. It returns where at the provider the browser has to go, and a cookie
// that it has to bring back. In the end it goes to back, a URL of ours or of an origin in
// callbackAllowOrigins; "" = nowhere.
//
// Errors: ErrLoginInvalid, ErrUnavailable.
func (o *OpenID) Begin(ctx context.Context, name, back string) (location string, cookie *http.Cookie, err error) {
	p, ok := o.providers[name]
	if !ok {
		return "", nil, fmt.Errorf("%w: there is no such provider", ErrLoginInvalid)
	}

	if back, err = o.origins.target(back); err != nil {
		return "", nil, err
	}

	begun := newPending(name, back, o.now().Add(loginTime))

	sealed, err := o.seal.seal(begun)
	if err != nil {
		return "", nil, err
	}

	location, err = p.loginURL(ctx, begun)

	return location, o.cookies.login(sealed), err
}

// Login is a login that is over.
type Login struct {
	User User
	Back string // where the browser goes now; "" = nowhere
}

// Finish ends the login with which a provider sends back a browser. The cookies are to be
// set, also if there is an error. A session that the browser had is over.
//
// Errors: ErrLoginInvalid, ErrLoginRefused, ErrUnavailable.
func (o *OpenID) Finish(r *http.Request, name string) (Login, []*http.Cookie, error) {
	set := []*http.Cookie{o.cookies.login("")}

	begun, err := o.begun(r, name)
	if err != nil {
		return Login{}, set, err
	}

	code, err := codeOf(r)
	if err != nil {
		return Login{}, set, err
	}

	user, err := o.providers[name].identify(r.Context(), code, r.URL.Query().Get("iss"), begun)
	if err != nil {
		return Login{}, set, err
	}

	if old, ok := o.cookies.session(r); ok {
		if err := o.sessions.end(r.Context(), old); err != nil {
			return Login{}, set, err
		}
	}

	value, err := o.sessions.create(r.Context(), user)
	if err != nil {
		return Login{}, set, err
	}

	return Login{User: user, Back: begun.Back}, append(set, o.cookies.newSession(value)), nil
}

// begun returns what Begin has put into the browser's cookie, if it is this login.
func (o *OpenID) begun(r *http.Request, name string) (pending, error) {
	sealed, ok := o.cookies.pendingLogin(r)
	if !ok {
		return pending{}, fmt.Errorf("%w: this browser has begun none", ErrLoginInvalid)
	}

	var begun pending

	switch err := o.seal.open(sealed, &begun); {
	case err != nil:
		return pending{}, fmt.Errorf("%w: the cookie: %w", ErrLoginInvalid, err)
	case begun.Provider != name || o.providers[name] == nil:
		return pending{}, fmt.Errorf("%w: it was begun with another provider", ErrLoginInvalid)
	case !o.now().Before(begun.Expires):
		return pending{}, fmt.Errorf("%w: it took longer than %s", ErrLoginInvalid, loginTime)
	case subtle.ConstantTimeCompare([]byte(begun.State), []byte(r.URL.Query().Get("state"))) != 1:
		return pending{}, fmt.Errorf("%w: the state is another one", ErrLoginInvalid)
	}

	return begun, nil
}

// codeOf is the authorization code (RFC 6749, 4.1.2), or the error that came in its place.
func codeOf(r *http.Request) (string, error) {
	query := r.URL.Query()

	if query.Has("error") {
		return "", fmt.Errorf("%w: the provider says %.64q", ErrLoginRefused, query.Get("error"))
	}

	code := query.Get("code")
	if code == "" {
		return "", fmt.Errorf("%w: there is no code", ErrLoginInvalid)
	}

	return code, nil
}

// End ends the session of a browser, if it has one. The cookie is to be set.
//
// Errors: ErrCrossOrigin.
func (o *OpenID) End(r *http.Request) (*http.Cookie, error) {
	value, ok := o.cookies.session(r)
	if !ok {
		return o.Forget(), nil
	}

	if err := o.origins.check(r); err != nil {
		return nil, err
	}

	return o.Forget(), o.sessions.end(r.Context(), value)
}

// Forget is a cookie by which a browser forgets its session.
func (o *OpenID) Forget() *http.Cookie { return o.cookies.newSession("") }

// newPending draws what is secret of a login.
func newPending(provider, back string, expires time.Time) pending {
	return pending{
		Provider: provider, Back: back, Expires: expires,
		State: randomHex(), Nonce: randomHex(), Verifier: oauth2.GenerateVerifier(),
	}
}

//go:build remote

package auth

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/pkg/api/config"
)

// Users log in at a provider that others have written, which gives an address and groups by
// its UserInfo endpoint only.
func TestOpenIDProvider(t *testing.T) {
	program := servers.StartOpenID(t, site+CallbackPath+"idp")
	o := mustOpenID(t, &servers.Issuer{URL: program.Issuer}, nil)

	logIn := func(user string) (*http.Request, Login, error) {
		location, cookie, err := o.Begin(t.Context(), "idp", "/home")
		must(t, location, err)

		back := httptest.NewRequest(http.MethodGet, program.LogIn(t, location, user), nil)
		back.AddCookie(cookie)

		login, _, err := o.Finish(back, "idp")

		return back, login, err
	}

	back, login, err := logIn("ann")
	must(t, login, err)
	equal(t, login.User.Name+" "+strings.Join(login.User.Groups, ","), "ann@example.com dev,ops", "user")
	equal(t, login.Back, site+"/home", "page")

	_, _, err = o.Finish(back, "idp")
	equal(t, kindOf(err), ErrLoginRefused, "the second time")

	_, _, err = logIn("eve")
	equal(t, kindOf(err), ErrLoginRefused, "an address that was not verified")

	// PKCE: the code is worth nothing without what is in the browser's cookie.
	location, _, err := o.Begin(t.Context(), "idp", "")
	must(t, location, err)

	stolen := httptest.NewRequest(http.MethodGet, program.LogIn(t, location, "ann"), nil)
	begun := newPending("idp", "", o.now().Add(loginTime))
	begun.State = stolen.URL.Query().Get("state")

	sealed, err := o.seal.seal(begun)
	must(t, sealed, err)
	stolen.AddCookie(o.cookies.login(sealed))

	_, _, err = o.Finish(stolen, "idp")
	equal(t, kindOf(err), ErrLoginRefused, "a code that was stolen")

	// A client whose secret is wrong, and a provider that is gone.
	wrong := mustOpenID(t, &servers.Issuer{URL: program.Issuer}, func(p *config.Provider) { p.ClientSecret = "wrong" })
	location, cookie, err := wrong.Begin(t.Context(), "idp", "")
	must(t, location, err)

	back = httptest.NewRequest(http.MethodGet, program.LogIn(t, location, "ann"), nil)
	back.AddCookie(cookie)
	_, _, err = wrong.Finish(back, "idp")
	equal(t, kindOf(err), ErrUnavailable, "a wrong secret")

	program.Stop()

	_, _, err = wrong.Finish(back, "idp")
	equal(t, kindOf(err), ErrUnavailable, "no provider")
}

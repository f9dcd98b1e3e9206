package auth

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/pkg/api/config"
)

const site = "https://zot.example"

// mustOpenID opens a way to log in at an issuer.
func mustOpenID(t *testing.T, issuer *servers.Issuer, change func(*config.Provider)) *OpenID {
	t.Helper()

	settings := config.Provider{Issuer: issuer.URL, ClientID: servers.IssuerClient, ClientSecret: servers.IssuerSecret}
	if change != nil {
		change(&settings)
	}

	cfg := config.HTTP{ExternalURL: site, Auth: config.Auth{
		OpenID: &config.OpenID{Providers: map[string]config.Provider{"idp": settings}},
	}}

	o, err := openOpenID(cfg, &memoryNotes{all: map[string][]byte{}})
	must(t, o, err)
	t.Cleanup(func() { must(t, o, o.Close()) })

	return o
}

// atProvider begins a login, and returns the request with which the browser comes back.
func atProvider(t *testing.T, o *OpenID) *http.Request {
	t.Helper()

	location, cookie, err := o.Begin(t.Context(), "idp", "")
	must(t, location, err)

	browser := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, location, nil)
	must(t, req, err)

	resp, err := browser.Do(req)
	must(t, resp, err)
	must(t, resp, resp.Body.Close())

	back := httptest.NewRequest(http.MethodGet, resp.Header.Get("Location"), nil)
	back.AddCookie(cookie)

	return back
}

// kindOf is what of the errors of a login it is.
func kindOf(err error) error {
	for _, kind := range []error{ErrLoginRefused, ErrLoginInvalid, ErrUnavailable} {
		if errors.Is(err, kind) {
			return kind
		}
	}

	return err
}

// Whatever is not right of an identity token, nobody is logged in.
func TestForgedIdentity(t *testing.T) {
	other := servers.NewIssuerKey(t)

	for what, row := range map[string]struct {
		lie  func(*servers.Issuer)
		want error
	}{
		"right":         {func(*servers.Issuer) {}, nil},
		"another nonce": {forge("nonce", "x"), ErrLoginRefused}, "no nonce": {forge("nonce", nil), ErrLoginRefused},
		"another audience": {forge("aud", "x"), ErrLoginRefused}, "no audience": {forge("aud", nil), ErrLoginRefused},
		"several audiences": {forge("aud", []string{"zot", "x"}), ErrLoginRefused},
		"another party":     {forge("azp", "x"), ErrLoginRefused},
		"another issuer":    {forge("iss", "https://evil.example"), ErrLoginRefused},
		"expired":           {forge("exp", time.Now().Add(-time.Hour).Unix()), ErrLoginRefused},
		"another access":    {forge("at_hash", "x"), ErrLoginRefused},
		"another key":       {func(i *servers.Issuer) { i.Key = other }, ErrLoginRefused},
		"an expired code":   {func(i *servers.Issuer) { i.Lapse = true }, ErrLoginRefused},
		"no name":           {forge("email", nil), ErrLoginRefused}, "an empty name": {forge("email", ""), ErrLoginRefused},
		"no text":        {forge("email", 1), ErrLoginRefused},
		"a long name":    {forge("email", strings.Repeat("x", maxName+1)), ErrLoginRefused},
		"a line":         {forge("email", "a\nb"), ErrLoginRefused},
		"not verified":   {forge("email_verified", false), ErrLoginRefused},
		"groups":         {forge("groups", []any{1}), ErrLoginRefused},
		"group":          {forge("groups", 1), ErrLoginRefused},
		"more groups":    {forge("groups", make([]string, maxGroups+1)), ErrLoginRefused},
		"someone else's": {func(i *servers.Issuer) { i.UserInfo = map[string]any{"sub": "2"} }, ErrLoginRefused},
		"down":           {func(i *servers.Issuer) { i.Down = true }, ErrUnavailable},
	} {
		t.Run(what, func(t *testing.T) {
			issuer := servers.StartIssuer(t)
			issuer.UserInfo = map[string]any{"sub": "1"}
			issuer.Claims = map[string]any{"email": "ann"}

			o := mustOpenID(t, issuer, nil)
			back := atProvider(t, o)
			row.lie(issuer)

			login, cookies, err := o.Finish(back, "idp")
			equal(t, kindOf(err), row.want, "error")

			if err != nil {
				equal(t, login.User.Name, "", "user")
				equal(t, len(cookies), 1, "cookies")
				equal(t, cookies[0].MaxAge, -1, "the login is over")
			}
		})
	}
}

func forge(claim string, value any) func(*servers.Issuer) {
	return func(i *servers.Issuer) {
		i.Forge = func(claims jwt.MapClaims) {
			if claims[claim] = value; value == nil {
				delete(claims, claim)
			}
		}
	}
}

// A browser brings back what it was given, in time, and only to the provider where it began.
func TestForgedLogin(t *testing.T) {
	issuer := servers.StartIssuer(t)
	issuer.Claims = map[string]any{"email": "ann"}
	o := mustOpenID(t, issuer, nil)

	for what, change := range map[string]func(o *OpenID, r *http.Request){
		"late":           func(o *OpenID, _ *http.Request) { o.now = func() time.Time { return time.Now().Add(loginTime) } },
		"no code":        func(_ *OpenID, r *http.Request) { setQuery(r, "code", "") },
		"no state":       func(_ *OpenID, r *http.Request) { setQuery(r, "state", "") },
		"no cookie":      func(_ *OpenID, r *http.Request) { r.Header.Del("Cookie") },
		"another cookie": func(_ *OpenID, r *http.Request) { r.Header.Set("Cookie", "__Host-zot-login=x") },
		"of another key": func(_ *OpenID, r *http.Request) {
			foreign := mustOpenID(t, issuer, nil)
			sealed, err := foreign.seal.seal(pending{Provider: "idp", State: r.URL.Query().Get("state"), Expires: time.Now().Add(time.Hour)})
			must(t, sealed, err)
			r.Header.Set("Cookie", "__Host-zot-login="+sealed)
		},
	} {
		changed := *o
		back := atProvider(t, o)
		change(&changed, back)

		_, _, err := changed.Finish(back, "idp")
		equal(t, kindOf(err), ErrLoginInvalid, what)
	}

	back := atProvider(t, o)
	setQuery(back, "error", "access_denied")

	_, _, err := o.Finish(back, "idp")
	equal(t, kindOf(err), ErrLoginRefused, "an error of the provider")

	_, _, err = o.Finish(atProvider(t, o), "other")
	equal(t, kindOf(err), ErrLoginInvalid, "another provider")

	back = atProvider(t, o)
	_, _, err = o.Finish(back, "idp")
	equal(t, err, nil, "the first time")

	_, _, err = o.Finish(back, "idp")
	equal(t, kindOf(err), ErrLoginRefused, "the second time")
}

func setQuery(r *http.Request, key, value string) {
	query := r.URL.Query()
	query.Set(key, value)
	r.URL.RawQuery = query.Encode()
}

func TestClaims(t *testing.T) {
	issuer := servers.StartIssuer(t)
	issuer.Claims = map[string]any{"login": "ann", "roles": "dev"}
	issuer.UserInfo = map[string]any{"sub": "1", "email": "ann@example.com", "groups": []string{"a", "b"}, "login": "eve"}

	mapped := mustOpenID(t, issuer, func(p *config.Provider) {
		p.ClaimMapping = config.ProviderClaimMapping{Username: "login", Groups: "roles"}
	})
	login, _, err := mapped.Finish(atProvider(t, mapped), "idp")
	must(t, login, err)
	equal(t, login.User.Name+" "+strings.Join(login.User.Groups, ","), "ann dev", "of the identity token")

	plain := mustOpenID(t, issuer, nil)
	login, _, err = plain.Finish(atProvider(t, plain), "idp")
	must(t, login, err)
	equal(t, login.User.Name+" "+strings.Join(login.User.Groups, ","), "ann@example.com a,b", "of UserInfo")
}

// A provider that was down is asked again, and not by each request.
func TestProviderComesBack(t *testing.T) {
	issuer := servers.StartIssuer(t)
	issuer.Down = true
	o := mustOpenID(t, issuer, nil)

	_, _, err := o.Begin(t.Context(), "idp", "")
	equal(t, kindOf(err), ErrUnavailable, "down")

	issuer.Down = false
	_, _, err = o.Begin(t.Context(), "idp", "")
	equal(t, kindOf(err), ErrUnavailable, "left alone")

	p := o.providers["idp"]
	p.since = p.since.Add(-2 * providerPause)
	_, _, err = o.Begin(t.Context(), "idp", "")
	equal(t, err, nil, "up")

	wrong := mustOpenID(t, issuer, func(p *config.Provider) { p.ClientSecret = "wrong" })
	_, _, err = wrong.Finish(atProvider(t, wrong), "idp")
	equal(t, kindOf(err), ErrUnavailable, "it does not take us")
}

func TestTargets(t *testing.T) {
	o, err := newOrigins(config.HTTP{ExternalURL: site + "/zot", Auth: config.Auth{
		OpenID: &config.OpenID{CallbackAllowOrigins: []string{"https://ui.example:8443"}},
	}})
	must(t, o, err)

	for back, want := range map[string]string{
		"": "", "/": site + "/", "/home?a=b#c": site + "/home?a=b#c", site: site + "/", "https://ZOT.example/x": site + "/x",
		"https://ui.example:8443/x": "https://ui.example:8443/x", `/\evil.example`: site + "/%5Cevil.example",
		"https://zot.example//evil.example": site + "/evil.example", "///evil.example//": site + "/evil.example//",
	} {
		got, err := o.target(back)
		must(t, got, err)
		equal(t, got, want, back)
	}

	for _, back := range []string{
		"https://evil.example/", "//evil.example", "http://zot.example/", "https://zot.example:444/", "https://ui.example/",
		"https://zot.example@evil.example/", "https://zot.example.evil.example/", "javascript:alert(1)", "https:zot.example",
		`https://evil.example\@zot.example/`, "https://a:b@zot.example/", "data:,x", "\x00", "/" + strings.Repeat("x", maxBack),
	} {
		got, err := o.target(back)
		equal(t, got, "", back)
		equal(t, kindOf(err), ErrLoginInvalid, back)
	}
}

// Replicas that have the same file open what others have sealed.
func TestSessionKeysFile(t *testing.T) {
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "keys.json")

		return must(t, path, os.WriteFile(path, []byte(text), 0o600))
	}

	long := strings.Repeat("k", minHashKey)
	path := write(`{"hashKey": "` + long + `"}`)

	one, err := newSealer(path, "login")
	must(t, one, err)

	two, err := newSealer(path, "login")
	must(t, two, err)

	three, err := newSealer(write(`{"hashKey": "`+long+`", "encryptKey": "x"}`), "login")
	must(t, three, err)

	sealed, err := one.seal(pending{State: "s"})
	must(t, sealed, err)

	var got pending

	must(t, got, two.open(sealed, &got))
	equal(t, got.State, "s", "state")
	equal(t, three.open(sealed, &got), errSeal, "another key")

	other, err := newSealer(path, "another use")
	must(t, other, err)
	equal(t, other.open(sealed, &got), errSeal, "another use")

	for _, text := range []string{`{}`, `{"hashKey": "short"}`, `{"hashKey": "` + long + `", "other": "x"}`, `[]`, `x`} {
		_, err := newSealer(write(text), "login")
		if err == nil || strings.Contains(err.Error(), long) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

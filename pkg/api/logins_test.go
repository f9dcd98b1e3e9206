package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/pkg/api/config"
)

// site is how browsers see the server under test.
const site = "https://zot.example"

// byOpenID lets everyone log in at an issuer.
func byOpenID(issuer *servers.Issuer) func(cfg *config.HTTP) {
	return func(cfg *config.HTTP) {
		cfg.ExternalURL = site
		cfg.Auth.OpenID = &config.OpenID{
			CallbackAllowOrigins: []string{"https://ui.example"},
			Providers: map[string]config.Provider{"idp": {
				Issuer: issuer.URL, ClientID: servers.IssuerClient, ClientSecret: servers.IssuerSecret,
			}},
		}
	}
}

// setCookies is what a browser sends after an answer.
func (a answer) setCookies() []string {
	var all []string

	for _, cookie := range a.Cookies() {
		if cookie.MaxAge >= 0 {
			all = append(all, "Cookie: "+cookie.Name+"="+cookie.Value)
		}
	}

	return all
}

// atProvider begins a login, and returns the path of the callback and the browser's cookies.
func (c *client) atProvider(query string) (string, []string) {
	c.t.Helper()

	begun := c.get("/zot/auth/login?"+query).expect(c.t, http.StatusFound)
	asked := c.get(begun.Header.Get("Location")).expect(c.t, http.StatusFound)

	back, ok := strings.CutPrefix(asked.Header.Get("Location"), site)
	equal(c.t, ok, true, "back at "+asked.Header.Get("Location"))

	return back, begun.setCookies()
}

// logIn returns the headers of a user who logs in.
func (c *client) logIn(issuer *servers.Issuer, user string) []string {
	c.t.Helper()

	issuer.Claims = map[string]any{"email": user}
	back, cookies := c.atProvider("provider=idp")

	return append(c.get(back, cookies...).expect(c.t, http.StatusOK).setCookies(), "Origin: "+site)
}

func bySession(t *testing.T) way {
	t.Helper()

	issuer := servers.StartIssuer(t)
	made := map[*client]map[string][]string{}

	return way{
		name:      "session",
		configure: byOpenID(issuer),
		as: func(c *client, user string) []string {
			if made[c] == nil {
				made[c] = map[string][]string{}
			}

			if user != "" && made[c][user] == nil {
				made[c][user] = c.logIn(issuer, user)
			}

			return made[c][user]
		},
		wrong: []string{
			"Cookie: __Host-zot-session=", "Cookie: __Host-zot-session=all", "Authorization: Bearer right", basic("all", "right"),
			"Cookie: __Host-zot-session=00ffffffff" + strings.Repeat("0", 64),
			"Cookie: __Host-zot-session=00ffffffff" + strings.Repeat("/", 64),
		},
		challenge: "Basic ",
	}
}

// A user logs in, makes a key, uses it as docker does, and logs out.
func TestLogin(t *testing.T) {
	issuer := servers.StartIssuer(t)
	c := locked(t, byOpenID(issuer))

	issuer.Claims = map[string]any{"email": "ann@example.com", "groups": []string{"dev"}}
	back, cookies := c.atProvider("provider=idp&callback_ui=" + url.QueryEscape("https://ui.example/home?a=b#c"))

	done := c.get(back, cookies...).expect(t, http.StatusFound)
	equal(t, done.Header.Get("Location"), "https://ui.example/home?a=b#c", "page")
	equal(t, done.Header.Get("Cache-Control"), "no-store", "caching")

	for _, cookie := range done.Cookies() {
		if !cookie.HttpOnly || !cookie.Secure || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" {
			t.Errorf("cookie %v", cookie)
		}
	}

	session := done.setCookies()
	c.get("/v2/", session...).expect(t, http.StatusOK)
	equal(t, strings.Contains(c.log.String(), "ann@example.com"), true, "the log names her")

	for _, forged := range [][]string{
		nil,
		{"Origin: https://evil.example"},
		{"Origin: null"},
		{"Sec-Fetch-Site: cross-site"},
		{"Sec-Fetch-Site: same-site", "Origin: https://x.zot.example"},
		{"Origin: https://ui.example"},
	} {
		headers := slices.Concat(forged, session)
		c.send(http.MethodPost, "/zot/auth/apikey", "{}", headers...).refused(t, http.StatusForbidden, "DENIED")
		c.send(http.MethodPost, "/v2/a/blobs/uploads/", "", headers...).refused(t, http.StatusForbidden, "DENIED")
		c.send(http.MethodPost, "/zot/auth/logout", "", headers...).refused(t, http.StatusForbidden, "DENIED")
	}

	session = append(session, "Origin: "+site)
	key := c.makeKey("{}", session...)
	c.as("ann@example.com", key.APIKey).expect(t, http.StatusOK)

	// Who has logged in again has left the session before.
	back, cookies = c.atProvider("provider=idp")
	again := append(c.get(back, append(cookies, session...)...).expect(t, http.StatusOK).setCookies(), "Origin: "+site)
	equal(t, again[0] == session[0], false, "the same session")
	gone := c.get("/v2/", session...).refused(t, http.StatusUnauthorized, "UNAUTHORIZED")
	equal(t, gone.Cookies()[0].MaxAge, -1, "the browser forgets it")

	c.send(http.MethodPost, "/zot/auth/logout", "", again...).expect(t, http.StatusOK)
	c.get("/v2/", again...).refused(t, http.StatusUnauthorized, "UNAUTHORIZED")
	c.send(http.MethodPost, "/zot/auth/logout", "", again...).expect(t, http.StatusOK)
	c.as("ann@example.com", key.APIKey).expect(t, http.StatusOK)
}

// What is refused of a login leaves no session.
func TestLoginIsRefused(t *testing.T) {
	issuer := servers.StartIssuer(t)
	c := locked(t, byOpenID(issuer))
	issuer.Claims = map[string]any{"email": "ann"}

	for _, query := range []string{
		"", "provider=other", "provider=idp&callback_ui=https%3A%2F%2Fevil.example", "provider=idp&callback_ui=//evil.example/",
	} {
		c.get("/zot/auth/login?"+query).refused(t, http.StatusBadRequest, "UNSUPPORTED")
	}

	back, cookies := c.atProvider("provider=idp")
	_, others := c.atProvider("provider=idp")

	for what, row := range map[string]struct {
		path    string
		cookies []string
		status  int
	}{
		"no cookie":             {back, nil, 400},
		"that of another login": {back, others, 400},
		"a changed one":         {back, []string{cookies[0] + "A"}, 400},
		"two":                   {back, append(others, cookies...), 400},
		"another provider":      {strings.Replace(back, "/idp?", "/other?", 1), cookies, 400},
		"another state":         {strings.Replace(back, "state=", "state=0", 1), cookies, 400},
		"an error":              {"/zot/auth/callback/idp?error=access_denied", cookies, 400},
		"a code of nobody":      {strings.Replace(back, "code=", "code=0", 1), cookies, 403},
		"another issuer":        {strings.Replace(back, "iss=", "iss=0", 1), cookies, 403},
	} {
		a := c.get(row.path, row.cookies...).expect(t, row.status)
		equal(t, len(a.setCookies()), 0, what)
	}

	c.get(back, cookies...).expect(t, http.StatusOK)
	c.get(back, cookies...).refused(t, http.StatusForbidden, "DENIED") // the code was used

	for _, path := range []string{"/zot/auth/callback/", "/zot/auth/callback"} {
		c.get(path).refused(t, http.StatusNotFound, "UNSUPPORTED")
	}

	c.send(http.MethodPost, back, "", cookies...).refused(t, http.StatusMethodNotAllowed, "UNSUPPORTED")
}

// Without a provider there is no login; while it is down, all else goes on.
func TestLoginWithoutProvider(t *testing.T) {
	dial(t).get("/zot/auth/login?provider=idp").refused(t, http.StatusNotFound, "UNSUPPORTED")

	issuer := servers.StartIssuer(t)
	issuer.Down = true

	c := locked(t, byOpenID(issuer))
	a := c.get("/zot/auth/login?provider=idp").refused(t, http.StatusServiceUnavailable, "UNKNOWN")
	equal(t, a.Header.Get("Retry-After"), "1", "Retry-After")
	c.get("/v2/").refused(t, http.StatusUnauthorized, "UNAUTHORIZED")
}

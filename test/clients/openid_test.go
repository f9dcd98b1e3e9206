//go:build clients

package clients

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/internal/servers"
)

// TestBrowserLogin does what a user of OpenID Connect does: he logs in by a browser, makes an API
// key there, and pushes with it from the command line.
func TestBrowserLogin(t *testing.T) {
	addr, err := daemon.FreeAddr()
	must(t, err)

	site := "http://" + addr
	provider := servers.StartOpenID(t, site+"/zot/auth/callback/idp")

	zot := &daemon.Zot{Addr: addr, HTTP: map[string]any{
		"externalUrl": site,
		"auth": map[string]any{
			"secureSession": false,
			"openid": map[string]any{"providers": map[string]any{"idp": map[string]any{
				"issuer": provider.Issuer, "clientid": servers.IssuerClient, "clientsecret": servers.IssuerSecret,
			}}},
		},
		"accessControl": map[string]any{"repositories": map[string]any{"ann/**": map[string]any{"policies": []any{
			map[string]any{"groups": []string{"dev"}, "actions": []string{"read", "create", "update"}},
		}}}},
	}}
	zot.Start(t)

	b := newBrowser(t)
	asked := b.send(t, http.MethodGet, site+"/zot/auth/login?provider=idp", "", http.StatusFound)
	back := provider.LogIn(t, asked.Header.Get("Location"), "ann")

	if who := read(t, b.send(t, http.MethodGet, back, "", http.StatusOK)); !strings.Contains(who, "ann@example.com") {
		t.Errorf("logged in as %s", who)
	}

	var made struct{ APIKey string }

	must(t, json.Unmarshal([]byte(read(t, b.send(t, http.MethodPost, site+"/zot/auth/apikey", "{}", http.StatusCreated))), &made))

	const address = "ann@example.com"

	l := newLayout(t, "amd64")

	for _, c := range copiers {
		t.Run(c.name, func(t *testing.T) {
			sh, ref := newShell(t), addr+"/ann/"+c.name+":"+tag

			sh.run(t, join(login(addr)[c.name], []string{"-u", address, "-p", made.APIKey, addr})...)
			c.push(t, sh, addr, ref, l.dir)
		})
	}

	b.send(t, http.MethodPost, site+"/zot/auth/logout", "", http.StatusOK)
	b.send(t, http.MethodPost, site+"/zot/auth/apikey", "{}", http.StatusUnauthorized)
}

// browser keeps cookies, and is told of redirects.
type browser struct{ client *http.Client }

func newBrowser(t *testing.T) browser {
	t.Helper()

	jar, err := cookiejar.New(nil)
	must(t, err)

	return browser{&http.Client{
		Jar:           jar,
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// send sends what a page of the site itself would.
func (b browser) send(t *testing.T, method, url, body string, want int) *http.Response {
	t.Helper()

	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	must(t, err)
	req.Header.Set("Sec-Fetch-Site", "same-origin")

	resp, err := b.client.Do(req)
	must(t, err)
	t.Cleanup(func() { must(t, resp.Body.Close()) })

	if resp.StatusCode != want {
		t.Fatalf("%s %s: %s: %s", method, url, resp.Status, read(t, resp))
	}

	return resp
}

func read(t *testing.T, resp *http.Response) string {
	t.Helper()

	data, err := io.ReadAll(resp.Body)
	must(t, err)

	return string(data)
}

package servers

import (
	_ "embed"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

//go:embed oidc-provider.mjs
var openIDScript []byte

// OpenID is the program oidc-provider, with a client: IssuerClient, IssuerSecret.
type OpenID struct {
	*Server

	Issuer string

	back string
}

// StartOpenID starts one that sends browsers back to a URL. Whoever logs in is who he says, in
// the groups dev and ops, and his address is that name at example.com; eve's is not verified.
func StartOpenID(tb testing.TB, back string) *OpenID {
	tb.Helper()

	tools, err := filepath.Abs(os.Getenv(ToolsEnv))
	must(tb, err)

	if _, err := os.Stat(filepath.Join(tools, "node_modules", "oidc-provider")); err != nil {
		tb.Fatalf("oidc-provider is not below $%s: run make remote, which installs it (%v)", ToolsEnv, err)
	}

	script := filepath.Join(tb.TempDir(), "oidc-provider.mjs")
	must(tb, os.WriteFile(script, openIDScript, 0o600))

	addr := freeAddr(tb)

	return &OpenID{
		Server: start(tb, addr, program(tb, "node", "nodejs"), script, addr, IssuerClient, IssuerSecret, back, tools),
		Issuer: "http://" + addr, back: back,
	}
}

// formAction is where a page's form goes.
var formAction = regexp.MustCompile(`action="([^"]+)"`)

// LogIn does what a user does in a browser: he logs in, and consents. It returns the URL where
// the provider sends him back to.
func (o *OpenID) LogIn(tb testing.TB, location, user string) string {
	tb.Helper()

	jar, err := cookiejar.New(nil)
	must(tb, err)

	browser := &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}
	browser.CheckRedirect = func(next *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(next.URL.String(), o.back) {
			return http.ErrUseLastResponse
		}

		return nil
	}

	form := url.Values(nil)

	for _, prompt := range []string{"login", "consent", ""} {
		next, page := o.send(tb, browser, location, form)
		if next != "" {
			return next
		}

		action := formAction.FindStringSubmatch(page)
		if action == nil {
			tb.Fatalf("the provider has no form: %s", page)
		}

		location, form = action[1], url.Values{"prompt": {prompt}, "login": {user}, "password": {"any"}}
	}

	tb.Fatal("the provider does not come to an end")

	return ""
}

// send opens a page, or sends its form. It returns where that leads out, or the next page.
func (o *OpenID) send(tb testing.TB, browser *http.Client, location string, form url.Values) (next, page string) {
	tb.Helper()

	method := http.MethodGet
	if form != nil {
		method = http.MethodPost
	}

	req, err := http.NewRequestWithContext(tb.Context(), method, location, strings.NewReader(form.Encode()))
	must(tb, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")

	resp, err := browser.Do(req)
	must(tb, err)

	defer resp.Body.Close()

	body, err := io.ReadAll(resp.Body)
	must(tb, err)

	return resp.Header.Get("Location"), string(body)
}

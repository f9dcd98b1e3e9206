//go:build clients

package clients

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"zotregistry.io/zot/internal/daemon"
)

// tokenService gives tokens for whatever is asked of it below own/ to the user, and for
// pulls from open/ to everyone.
type tokenService struct {
	key *ecdsa.PrivateKey
}

// claim is what a token allows in a repository.
type claim struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// ServeHTTP answers a GET (distribution's "token" API) and a POST (its "oauth" API).
func (s *tokenService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, secret, sent := r.BasicAuth()
	if r.Method == http.MethodPost {
		name, secret, sent = r.FormValue("username"), r.FormValue("password"), true
	}

	if sent && (name != user || secret != password) {
		w.WriteHeader(http.StatusUnauthorized)

		return
	}

	if err := r.ParseForm(); err != nil {
		w.WriteHeader(http.StatusBadRequest)

		return
	}

	token, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"sub": name, "aud": r.Form.Get("service"), "exp": time.Now().Add(5 * time.Minute).Unix(),
		"access": granted(sent, strings.Fields(strings.Join(r.Form["scope"], " "))),
	}).SignedString(s.key)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)

		return
	}

	w.Header().Set("Content-Type", "application/json")

	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "access_token": token, "expires_in": 300})
}

// granted is what of the scopes a client gets.
func granted(known bool, scopes []string) []claim {
	access := []claim{}

	for _, scope := range scopes {
		parts := strings.Split(scope, ":")
		if len(parts) != 3 {
			continue
		}

		switch {
		case known && strings.HasPrefix(parts[1], "own/"):
			access = append(access, claim{parts[0], parts[1], strings.Split(parts[2], ",")})
		case strings.HasPrefix(parts[1], "open/"):
			access = append(access, claim{parts[0], parts[1], []string{"pull"}})
		}
	}

	return access
}

// tokens starts the binary, which trusts a token service alone, and returns the address of a
// proxy that has both: crane and oras fetch tokens from no private address but that of the
// registry itself.
func tokens(t *testing.T) (addr string) {
	t.Helper()

	key := newKey(t)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	must(t, err)

	mux := http.NewServeMux()
	front := httptest.NewServer(mux)
	t.Cleanup(front.Close)

	zot := &daemon.Zot{HTTP: map[string]any{"auth": map[string]any{"bearer": map[string]any{
		"realm": front.URL + "/token", "service": "zot",
		"cert": writePEM(t, filepath.Join(t.TempDir(), "public.pem"), "PUBLIC KEY", der),
	}}}}
	back := &url.URL{Scheme: "http", Host: zot.Start(t).Addr}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)

	mux.Handle("/token", &tokenService{key: key})
	mux.Handle("/", &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(back) },
	})

	return strings.TrimPrefix(front.URL, "http://")
}

// login are the commands that note a name and a password, which follow, for an address.
func login(addr string) map[string][]string {
	return map[string][]string{
		"skopeo": {"skopeo", "login", "--tls-verify=false"},
		"oras":   {"oras", "login", "--plain-http"},
		"crane":  {"crane", "auth", "login"},
		"regctl": {"regctl", "--host", "reg=" + addr + ",tls=disabled", "registry", "login"},
	}
}

// TestCopiersWithTokens pushes and pulls with tokens that clients fetch by themselves.
func TestCopiersWithTokens(t *testing.T) {
	addr := tokens(t)
	l := newLayout(t, "amd64", "arm64")

	for _, c := range copiers {
		t.Run(c.name, func(t *testing.T) {
			nobody, somebody := newShell(t), newShell(t)
			own := addr + "/own/" + c.name + ":" + tag

			somebody.run(t, join(login(addr)[c.name], []string{"-u", user, "-p", password, addr})...)
			c.push(t, somebody, addr, own, l.dir)

			dir := filepath.Join(t.TempDir(), c.name)
			c.pull(t, somebody, addr, own, dir)
			verifyPulled(t, l, dir)

			nobody.refused(t, "skopeo", "inspect", "--tls-verify=false", "docker://"+own)
			somebody.refused(t, "skopeo", "copy", "--dest-tls-verify=false", "oci:"+l.dir+":"+tag, "docker://"+addr+"/others/app:"+tag)
			somebody.refused(t, "skopeo", "copy", "--dest-tls-verify=false", "oci:"+l.dir+":"+tag, "docker://"+addr+"/open/app:"+tag)
		})
	}
}

// TestEnginesWithTokens does so with the engines.
func TestEnginesWithTokens(t *testing.T) {
	addr := tokens(t)

	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			sh := newShell(t)
			own := addr + "/own/" + e.name + ":" + tag
			full := e.open(t, sh)

			call(t, sh, full, e.build, []string{"-t", own, buildContext(t)})
			sh.refused(t, join(full, []string{"push"}, e.noTLS, []string{own})...)
			sh.refused(t, join(full, []string{"login", "-u", user, "-p", "wrong"}, e.noTLS, []string{addr})...)

			call(t, sh, full, []string{"login", "-u", user, "-p", password}, e.noTLS, []string{addr})
			call(t, sh, full, []string{"push"}, e.noTLS, []string{own})

			empty := e.open(t, sh)
			call(t, sh, empty, []string{"pull"}, e.noTLS, []string{own})
			verifySame(t, e.layers(t, sh, full, own), e.layers(t, sh, empty, own))
		})
	}
}

// TestCopiersWithAPIKeys logs in with a key, until it is revoked.
func TestCopiersWithAPIKeys(t *testing.T) {
	zot := &daemon.Zot{HTTP: map[string]any{
		"auth": map[string]any{"htpasswd": map[string]any{"path": passwords(t)}, "apikey": true},
	}}
	addr := zot.Start(t).Addr
	l := newLayout(t, "amd64")

	for _, c := range copiers {
		t.Run(c.name, func(t *testing.T) {
			id, key := makeAPIKey(t, addr)
			sh, ref := newShell(t), addr+"/keyed/"+c.name+":"+tag

			sh.run(t, join(login(addr)[c.name], []string{"-u", user, "-p", key, addr})...)
			c.push(t, sh, addr, ref, l.dir)

			dir := filepath.Join(t.TempDir(), c.name)
			c.pull(t, sh, addr, ref, dir)
			verifyPulled(t, l, dir)

			askAPIKey(t, http.MethodDelete, addr, "?id="+id, "")
			sh.refused(t, "skopeo", "inspect", "--tls-verify=false", "docker://"+ref)
		})
	}
}

func makeAPIKey(t *testing.T, addr string) (id, key string) {
	t.Helper()

	var made struct{ UUID, APIKey string }

	must(t, json.Unmarshal(askAPIKey(t, http.MethodPost, addr, "", `{"label": "test"}`), &made))

	return made.UUID, made.APIKey
}

// askAPIKey sends a request of the user's about keys, and returns the answer.
func askAPIKey(t *testing.T, method, addr, query, body string) []byte {
	t.Helper()

	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+"/zot/auth/apikey"+query, strings.NewReader(body))
	must(t, err)
	req.SetBasicAuth(user, password)

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	must(t, err)

	defer resp.Body.Close()

	answer, err := io.ReadAll(resp.Body)
	must(t, err)

	if resp.StatusCode >= http.StatusBadRequest {
		t.Fatalf("%s: %s", resp.Status, answer)
	}

	return answer
}

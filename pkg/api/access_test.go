package api

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"
	"golang.org/x/crypto/bcrypt"

	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/storage"
)

// wanted says what docs/access.md promises: any of the actions named lets a user do what the
// method does. "entry" is any action anywhere, "login" a name, "admin" is delete by adminPolicy, "metrics" is to be named for them, "insight" is read by adminPolicy, "token" is to
// be whoever one says, "-" asks nobody. An endpoint or method that is not here fails the tests.
var wanted = map[endpoint]map[string]string{
	endpointBase:       {"GET": "entry", "HEAD": "entry"},
	endpointCatalog:    {"GET": "entry", "HEAD": "entry"},
	endpointExtension:  {"GET": "entry", "HEAD": "entry"},
	endpointTags:       {"GET": "read", "HEAD": "read"},
	endpointManifest:   {"GET": "read", "HEAD": "read", "PUT": "create update", "DELETE": "delete"},
	endpointBlob:       {"GET": "read", "HEAD": "read", "DELETE": "delete"},
	endpointUploads:    {"POST": "create"},
	endpointUpload:     {"GET": "create", "HEAD": "create", "PATCH": "create", "PUT": "create", "DELETE": "create"},
	endpointReferrers:  {"GET": "read", "HEAD": "read"},
	endpointTagHistory: {"GET": "read", "HEAD": "read"},
	endpointRepository: {"DELETE": "admin"},
	endpointAPIKeys:    {"GET": "login", "HEAD": "login", "POST": "login", "DELETE": "login"},
	endpointLogin:      {"GET": "-"},
	endpointCallback:   {"GET": "-"},
	endpointLogout:     {"POST": "-"},
	endpointToken:      {"GET": "token"},
	endpointMetrics:    {"GET": "metrics", "HEAD": "metrics"},
	endpointProfile:    {"GET": "insight"},
	endpointLive:       {"GET": "-", "HEAD": "-"},
	endpointReady:      {"GET": "-", "HEAD": "-"},
	endpointStarted:    {"GET": "-", "HEAD": "-"},
}

var allMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
}

func TestEveryRouteHasARule(t *testing.T) {
	routes := newRoutes(absent{}, nil, nil, urls{}, nil, nil)

	for e := endpointBase; e <= endpointStarted; e++ {
		if len(routes[e]) == 0 || len(routes[e]) != len(wanted[e]) {
			t.Errorf("endpoint %d: there are %d methods, and %d are wanted", e, len(routes[e]), len(wanted[e]))
		}

		if Endpoints()[e] == "" {
			t.Errorf("endpoint %d has no name in metrics", e)
		}

		for method, route := range routes[e] {
			if route.needs < needsNothing || route.needs > needsInsight || wanted[e][method] == "" {
				t.Errorf("endpoint %d, %s: there is no rule", e, method)
			}
		}
	}

	if len(routes) != int(endpointStarted)+1 {
		t.Errorf("%d endpoints have routes, but there are %d", len(routes), endpointStarted+1)
	}
}

// TestWhatHasNoRule: a route without a rule, or for others, is served to nobody, also if it
// has nothing to do with a repository.
func TestWhatHasNoRule(t *testing.T) {
	server := mustServer(t, absent{}, false)

	for _, needs := range []need{0, needsAdmin, needsInsight + 1, needsDelete} {
		for _, routes := range []map[endpoint]methods{server.routes, server.hidden} {
			routes[endpointBase] = get(needs, base)
			routes[endpointTags] = get(needs, base)
		}

		_, status := ask(server, "GET /v2/")
		equal(t, status == 200, false, fmt.Sprint("/v2/ needs ", needs))

		if needs != needsDelete {
			_, status = ask(server, "GET /v2/secret/app/tags/list")
			equal(t, status, 403, fmt.Sprint("tags need ", needs))
		}
	}
}

// A way is one of those to say who one is.
type way struct {
	name      string
	configure func(cfg *config.HTTP)
	as        func(c *client, user string) []string // the headers of a user, or of nobody
	wrong     []string                              // headers that are not right
	challenge string
	open      string // the challenge where everyone may do something; "" = the same
	second    bool   // these credentials are made with others: they make none
	token     bool   // they get no token, either
}

// byHeader is for what says all in a header.
func byHeader(of func(user string) string) func(*client, string) []string {
	return func(_ *client, user string) []string {
		if user == "" {
			return nil
		}

		return []string{of(user)}
	}
}

func basic(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func allWays(t *testing.T) []way {
	t.Helper()

	return []way{byPassword(t), byToken(t), byCertificate(t), byAPIKey(t), bySession(t), byOwnToken(t)}
}

func byPassword(t *testing.T) way {
	t.Helper()

	hashed, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}

	var lines []string
	for _, user := range names() {
		lines = append(lines, user+":"+string(hashed))
	}

	path := passwords(t, lines...)

	return way{
		name:      "htpasswd",
		configure: func(cfg *config.HTTP) { cfg.Auth.HTPasswd = &config.HTPasswd{Path: path} },
		as:        byHeader(func(user string) string { return basic(user, "right") }),
		wrong: []string{
			basic("all", "wrong"), basic("nobody", "right"), basic("all", ""), basic("", "right"),
			"Authorization: Basic !", "Authorization: Bearer right", "Authorization: all",
		},
		challenge: "Basic ",
	}
}

func byToken(t *testing.T) way {
	t.Helper()

	tokens, trust := newIssuer(t)
	scopes := []string{"registry:catalog:*", "repository:secret/app:*", "repository:secret/not:*", "repository:public/app:*"}

	claims := func(audience string, life time.Duration) jwt.MapClaims {
		return jwt.MapClaims{"sub": "all", "aud": audience, "exp": time.Now().Add(life).Unix()}
	}

	other, _ := newIssuer(t)

	return way{
		name:      "token",
		configure: func(cfg *config.HTTP) { cfg.Auth.Bearer = trust },
		as:        byHeader(func(user string) string { return tokens.headerOf(user, scopes...) }),
		wrong: []string{
			"Authorization: Bearer right", "Authorization: Bearer", basic("all", "right"), other.headerOf("all", scopes...),
			tokens.sign(claims("another", time.Hour)), tokens.sign(claims("zot", -time.Hour)),
		},
		challenge: "Bearer ",
	}
}

func byCertificate(t *testing.T) way {
	t.Helper()

	ca := servers.NewCA(t)
	cert, key := ca.Issue(t)
	shown := map[*client]string{}

	return way{
		name: "certificate",
		configure: func(cfg *config.HTTP) {
			cfg.TLS = &config.TLS{Cert: cert, Key: key, CACert: ca.Path}
		},
		as: func(c *client, user string) []string {
			if was, ok := shown[c]; ok && was == user {
				return nil
			}

			if shown[c] = user; user == "" {
				c.show(ca)
			} else {
				c.show(ca, ca.IssueClient(t, x509.Certificate{Subject: pkix.Name{CommonName: user}}))
			}

			return nil
		},
		wrong:     []string{basic("all", "right"), "Authorization: Bearer right"},
		challenge: "ClientCertificate ",
	}
}

func byAPIKey(t *testing.T) way {
	t.Helper()

	passwords := byPassword(t)
	made := map[*client]map[string]string{} // headers

	return way{
		name: "API key",
		configure: func(cfg *config.HTTP) {
			passwords.configure(cfg)
			cfg.Auth.APIKey = true
		},
		as: func(c *client, user string) []string {
			if made[c] == nil {
				made[c] = map[string]string{}
			}

			if user != "" && made[c][user] == "" {
				made[c][user] = basic(user, c.makeKey("{}", basic(user, "right")).APIKey)
			}

			return byHeader(func(user string) string { return made[c][user] })(c, user)
		},
		wrong:     []string{basic("all", "zak_"), basic("all", "zak_"+strings.Repeat("A", 43)), "Authorization: Bearer zak_"},
		challenge: passwords.challenge,
		second:    true,
	}
}

// allPolicies are sets of actions; a user has each one's name.
var allPolicies = map[string][]string{
	"nothing": nil,
	"read":    {"read"},
	"create":  {"create"},
	"update":  {"update"},
	"delete":  {"delete", "detectManifestCollision"},
	"push":    {"read", "create"},
	"all":     {"read", "create", "update", "delete"},
	"admin":   {"read", "create", "update", "delete"}, // in all repositories
	"prom":    nil,                                    // may read metrics
}

// limited is a configuration by which each user has his actions below secret, and everyone
// those of public there.
func limited(public ...string) *config.AccessControl {
	secret := config.RepositoryPolicy{}

	for user, actions := range allPolicies {
		if user != "admin" && user != "prom" {
			secret.Policies = append(secret.Policies, config.Policy{Users: []string{user}, Actions: actions})
		}
	}

	cfg := &config.AccessControl{
		Repositories: map[string]config.RepositoryPolicy{"secret/**": secret},
		AdminPolicy:  config.Policy{Users: []string{"admin"}, Actions: allPolicies["admin"]},
		Metrics:      config.MetricsPolicy{Users: []string{"prom"}},
	}

	if len(public) > 0 {
		cfg.Repositories["public/**"] = config.RepositoryPolicy{AnonymousPolicy: public}
	}

	return cfg
}

// marker is in all that is in secret/app.
const marker = "hush"

// keeper fills a registry: secret/app has an image; secret/not does not exist.
func keeper(t *testing.T) (Registry, digest.Digest, digest.Digest) {
	t.Helper()

	c := dial(t)
	blob := c.blob("secret/app", marker)
	_, manifest := c.image("secret/app", marker, marker)
	c.attach("secret/app", manifest, "application/"+marker, marker)
	c.image("public/app", "v1", "everyone")

	return c.registry, blob, manifest
}

// pathTo is a path of an endpoint.
func pathTo(e endpoint, repo string, blob, manifest digest.Digest) string {
	for fixedPath, is := range fixed {
		if is == e && fixedPath != "/v2" {
			return fixedPath
		}
	}

	if e == endpointMetrics {
		return metricsPath
	}

	target := target{endpoint: e, repo: storage.RepoName(repo), upload: "0b2e9f7e-4d0f-4e5c-9d3a-6a6f1d1c7a11"}
	target.ref.Tag, target.digest, target.provider = marker, blob, "idp"

	if e == endpointReferrers {
		target.digest = manifest
	}

	return pathOf(target)
}

// seen is all that a client sees of an answer, but for the time and the request's id.
func (a answer) seen(repo string) string {
	header := a.Header.Clone()
	header.Del("Date")
	id := header.Get("X-Request-Id")
	header.Del("X-Request-Id")

	text := fmt.Sprint(a.StatusCode, header, a.body)

	return strings.ReplaceAll(strings.ReplaceAll(text, id, "ID"), repo, "REPO")
}

// met says whether actions are enough for what is wanted.
func met(want string, user string, actions []string) bool {
	switch want {
	case "-":
		return true
	case "entry", "login", "token":
		return user != ""
	case "admin", "insight":
		return user == "admin"
	case "metrics":
		return user == "prom"
	}

	return slices.ContainsFunc(strings.Fields(want), func(action string) bool { return slices.Contains(actions, action) })
}

// each calls try with each endpoint and method that there is.
func each(try func(e endpoint, method, want string)) {
	for e := endpointBase; e <= endpointStarted; e++ {
		for _, method := range allMethods {
			if want := wanted[e][method]; want != "" {
				try(e, method, want)
			}
		}
	}
}

func names() []string {
	var users []string
	for user := range allPolicies {
		users = append(users, user)
	}

	slices.Sort(users)

	return users
}

// TestWhoMayDoWhat goes through all ways to log in, all policies, and all that the router
// knows.
func TestWhoMayDoWhat(t *testing.T) {
	for _, way := range allWays(t) {
		for _, public := range [][]string{nil, {"read"}} {
			for _, user := range append(names(), "") {
				t.Run(fmt.Sprint(way.name, public, user), func(t *testing.T) {
					registry, blob, manifest := keeper(t)
					cfg := config.HTTP{AccessControl: limited(public...)}
					way.configure(&cfg)

					c := dialWith(t, cfg, registry, WithMetrics(metricsPath, &counted{}))
					if cfg.TLS != nil {
						c.base = strings.Replace(c.base, "http", "https", 1)
					}

					checkUser(t, c, way, user, public, blob, manifest)
				})
			}
		}
	}
}

func checkUser(t *testing.T, c *client, way way, user string, public []string, blob, manifest digest.Digest) {
	t.Helper()

	// What is allowed may delete something: first comes all that is not.
	for _, allowed := range []bool{false, true} {
		each(func(e endpoint, method, want string) {
			if allowed != met(want, user, allPolicies[user]) {
				return
			}

			what := method + " " + pathTo(e, "secret/app", blob, manifest)

			headers := way.as(c, user)
			a := c.do(method, pathTo(e, "secret/app", blob, manifest), nil, headers...)

			switch {
			case allowed && (want == "login" && way.second || want == "token" && way.token):
				equal(t, a.StatusCode, 403, what)
			case allowed:
				if slices.Contains([]int{401, 403}, a.StatusCode) {
					t.Errorf("%s: %d %s", what, a.StatusCode, a.body)
				}
			case user == "" && public != nil && (want == "entry" || want == "token"):
				checkStranger(t, a, e, way)
			case user == "":
				challenge := way.challenge
				if public != nil && way.open != "" {
					challenge = way.open
				}

				equal(t, a.StatusCode, 401, what)
				equal(t, strings.HasPrefix(a.Header.Get("WWW-Authenticate"), challenge), true, what)
			case want == "metrics", want == "insight":
				equal(t, a.StatusCode, 403, what)
			case (method == "GET" || method == "HEAD") && !slices.Contains(allPolicies[user], "read"):
				checkAbsent(t, c, e, method, way, user, blob, manifest)
			default:
				equal(t, a.StatusCode, 403, what)
			}

			if !allowed || want == "-" {
				checkSilent(t, c, a, method, pathTo(e, "secret/not", blob, manifest), way.as(c, user))
			}
		})
	}
}

// checkStranger checks an answer to who is nobody, where everyone may do something.
func checkStranger(t *testing.T, a answer, e endpoint, way way) {
	t.Helper()

	switch {
	case e == endpointBase && way.open != "": // get a token first
		a.expect(t, 401)
		equal(t, strings.HasPrefix(a.Header.Get("WWW-Authenticate"), way.open), true, "challenge")
	case e == endpointToken && way.open == "":
		a.expect(t, 404)
	default:
		a.expect(t, 200)
	}
}

// checkAbsent checks that a repository looks like one that is not there, as those see it who
// may read.
func checkAbsent(
	t *testing.T, c *client, e endpoint, method string, way way, user string, blob, manifest digest.Digest,
) {
	t.Helper()

	reader := "read"
	if wanted[e][method] == "create" {
		reader = "push"
	}

	got := c.do(method, pathTo(e, "secret/app", blob, manifest), nil, way.as(c, user)...)
	want := c.do(method, pathTo(e, "secret/not", blob, manifest), nil, way.as(c, reader)...)
	equal(t, got.seen("secret/app"), want.seen("secret/not"), method+" "+got.Request.URL.Path)
}

// checkSilent checks that an answer that was refused is of the form of errors, and tells
// nothing: it is the same for a repository that does not exist.
func checkSilent(t *testing.T, c *client, a answer, method, missing string, headers []string) {
	t.Helper()

	what := method + " " + a.Request.URL.Path
	other := c.do(method, missing, nil, headers...)

	if strings.Contains(missing, "secret/not") {
		equal(t, a.seen("secret/app"), other.seen("secret/not"), what)
	}

	if method != http.MethodHead && a.StatusCode >= 400 {
		want := map[int]string{400: "UNSUPPORTED", 401: "UNAUTHORIZED", 403: "DENIED", 404: a.codes()}[a.StatusCode]
		equal(t, a.codes(), want, what)
	}

	a.Header.Del("WWW-Authenticate")                                           // which says what the client asks for
	told := strings.ReplaceAll(a.seen("-"), path.Base(a.Request.URL.Path), "") // what he named himself

	if strings.Contains(told, marker) || strings.Contains(told, "secret") || strings.Contains(told, "sha256:") {
		t.Errorf("%s tells: %s", what, told)
	}
}

// TestWrongCredentials checks that wrong credentials are refused, whatever they ask for, also
// where none would do.
func TestWrongCredentials(t *testing.T) {
	registry, blob, manifest := keeper(t)

	for _, way := range allWays(t) {
		cfg := config.HTTP{AccessControl: limited("read", "create")}
		way.configure(&cfg)

		each(func(e endpoint, method, want string) {
			if want == "-" {
				return
			}

			server, err := New(cfg, registry, zerolog.Nop(), WithMetrics(metricsPath, &counted{})) // which has seen no failure yet
			if err != nil {
				t.Fatal(err)
			}

			for _, repo := range []string{"secret/app", "public/app"} {
				for _, wrong := range way.wrong {
					checkWrong(t, server, method, pathTo(e, repo, blob, manifest), wrong)
				}
			}
		})
	}
}

func checkWrong(t *testing.T, server *Server, method, path, credentials string) {
	t.Helper()

	name, value, _ := strings.Cut(credentials, ": ")
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set(name, value)

	w := httptest.NewRecorder()
	server.Handler().ServeHTTP(w, r)

	what := method + " " + path + " with " + credentials
	a := answer{Response: w.Result(), body: w.Body.String()}

	equal(t, a.StatusCode, 401, what)
	equal(t, a.Header.Get("WWW-Authenticate") != "", true, what+": there is a challenge")
	equal(t, a.codes(), "UNAUTHORIZED", what)
}

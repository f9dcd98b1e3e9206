package zb

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// authorizer sends credentials to one host: a name and a password, or a token that it
// gets for them where the registry asks for that. It may be used concurrently.
type authorizer struct {
	user, password string   // empty: anonymous
	basic          []string // the header that has both
	host           string
	http           http.RoundTripper

	mu     sync.Mutex        // guards tokens
	tokens map[string]string // by repository; "" is what belongs to none
}

func newAuthorizer(credentials, host string, t http.RoundTripper) *authorizer {
	user, password, _ := strings.Cut(credentials, ":")

	basic := []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}

	return &authorizer{user: user, password: password, basic: basic, host: host, http: t, tokens: map[string]string{}}
}

// authorize adds to a request what is known to be wanted. Other hosts, such as a bucket that a
// blob is redirected to, get nothing. The request is changed, since it is this package's own: a
// copy would cost the client what is measured as the server's.
func (a *authorizer) authorize(req *http.Request) {
	if req.URL.Host != a.host {
		return
	}

	if token := a.tokenOf(req.URL.Path); token != "" {
		req.Header["Authorization"] = []string{"Bearer " + token}
	} else if a.user != "" {
		req.Header["Authorization"] = a.basic
	}
}

// tokenOf is the token for a path; "" if there is none.
func (a *authorizer) tokenOf(path string) string {
	a.mu.Lock()
	defer a.mu.Unlock()

	if len(a.tokens) == 0 {
		return ""
	}

	return a.tokens[repositoryOf(path)]
}

// answer gets a token if resp asks for one, and returns the request to be sent again; nil if
// there is nothing more to try.
func (a *authorizer) answer(req *http.Request, resp *http.Response) (*http.Request, error) {
	scheme, rest, _ := strings.Cut(resp.Header.Get("WWW-Authenticate"), " ")
	if req.URL.Host != a.host || !strings.EqualFold(scheme, "bearer") {
		return nil, nil //nolint:nilnil // the 401 stands
	}

	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return nil, nil //nolint:nilnil // its body is gone
	}

	token, err := a.token(req, parameters(rest))
	if err != nil {
		return nil, err
	}

	a.mu.Lock()
	a.tokens[repositoryOf(req.URL.Path)] = token
	a.mu.Unlock()

	again := req.Clone(req.Context())
	a.authorize(again)

	if req.GetBody != nil {
		again.Body, err = req.GetBody()
	}

	return again, err
}

// token asks the realm of a challenge.
func (a *authorizer) token(req *http.Request, challenge map[string]string) (_ string, err error) {
	realm, err := url.Parse(challenge["realm"])
	if err != nil || realm.Host == "" {
		return "", fmt.Errorf("%w: realm %q", errChallenge, challenge["realm"])
	}

	query := realm.Query()
	query.Set("service", challenge["service"])

	for _, scope := range scopes(req, challenge["scope"]) {
		query.Add("scope", scope)
	}

	realm.RawQuery = query.Encode()

	ask, err := http.NewRequestWithContext(req.Context(), http.MethodGet, realm.String(), nil)
	if err != nil {
		return "", err
	}

	if a.user != "" {
		ask.SetBasicAuth(a.user, a.password)
	}

	resp, err := a.http.RoundTrip(ask)
	if err != nil {
		return "", err
	}

	defer func() { err = errors.Join(err, resp.Body.Close()) }()

	var answer struct {
		Token       string
		AccessToken string `json:"access_token"`
	}

	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("get a token of %s: %s", realm.Host, resp.Status)
	}

	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer); err != nil {
		return "", fmt.Errorf("token of %s: %w", realm.Host, err)
	}

	return answer.Token + answer.AccessToken, nil
}

// scopes are what the challenge names; and all that is done with a repository, so that one
// token is enough for it, and those that mounts come from.
func scopes(req *http.Request, challenge string) []string {
	repo := repositoryOf(req.URL.Path)
	if repo == "" {
		return strings.Fields(challenge)
	}

	all := []string{"repository:" + repo + ":pull,push,delete"}
	if from := req.URL.Query().Get("from"); from != "" {
		all = append(all, "repository:"+from+":pull")
	}

	return all
}

var inRepository = regexp.MustCompile(`^/v2/(.+)/(?:blobs|manifests|tags|referrers)/`)

// repositoryOf is the repository of a path below /v2/, if it belongs to one.
func repositoryOf(path string) string {
	if m := inRepository.FindStringSubmatch(path); m != nil {
		return m[1]
	}

	return ""
}

var parameter = regexp.MustCompile(`(\w+)="([^"]*)"`)

// parameters are those of a challenge: key="value", and so on.
func parameters(challenge string) map[string]string {
	all := map[string]string{}
	for _, m := range parameter.FindAllStringSubmatch(challenge, -1) {
		all[m[1]] = m[2]
	}

	return all
}

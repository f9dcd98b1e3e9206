package cli

import (
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rs/zerolog"
	. "github.com/smartystreets/goconvey/convey"
	"go.yaml.in/yaml/v3"

	"zotregistry.io/zot/pkg/api/config"
)

// mustExamples lists the files of examples/config, by absolute path.
func mustExamples(t *testing.T) []string {
	t.Helper()

	dir, err := filepath.Abs(filepath.Join("..", "..", "examples", "config"))
	if err != nil {
		t.Fatal(err)
	}

	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}

	var paths []string

	for _, entry := range entries {
		if entry.Name() != "README.md" {
			paths = append(paths, filepath.Join(dir, entry.Name()))
		}
	}

	if len(paths) == 0 {
		t.Fatal("there are no examples")
	}

	return paths
}

func TestExamples(t *testing.T) {
	for _, path := range mustExamples(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Chdir(t.TempDir())
			mustMakeFiles(t)

			var out, warnings strings.Builder
			if err := Run(t.Context(), []string{"verify", path}, Streams{Out: &out, Err: &warnings}); err != nil {
				t.Fatal(err)
			}

			if warnings.Len() > 0 || !strings.HasSuffix(out.String(), " is valid\n") {
				t.Errorf("verify says %q, and warns: %q", out.String(), warnings.String())
			}

			if cfg := mustLoad(t, path); !needsServer(cfg) {
				mustServe(t, cfg)
			}
		})
	}
}

// needsServer says whether zot does not start without a server of another kind. The
// suite behind the build tag remote has them all.
func needsServer(cfg *config.Config) bool {
	driver := cfg.Storage.CacheDriver.Name()

	return cfg.Storage.StorageDriver != nil || driver == "redis" || driver == "dynamodb"
}

func mustLoad(t *testing.T, path string) *config.Config {
	t.Helper()

	cfg, _, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}

	return cfg
}

// mustServe serves an example, but on a free port of the loopback interface, and asks
// for /v2/.
func mustServe(t *testing.T, cfg *config.Config) {
	t.Helper()

	cfg.HTTP.Address, cfg.HTTP.Port = "127.0.0.1", "0"

	zot := mustStart(t, func(ctx context.Context, log *logLines) error {
		return run(ctx, cfg, &openedLog{Logger: zerolog.New(log)}, &changes{})
	})
	defer zot.mustStop(t)

	if authenticates(cfg.HTTP) && !forEveryone(cfg.HTTP.AccessControl) {
		resp := mustSend(t, mustRequest(t, http.MethodGet, zot.url+"/v2/", nil))
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("status %s without credentials", resp.Status)
		}
	}

	req := mustRequest(t, http.MethodGet, zot.url+"/v2/", nil)
	req.SetBasicAuth("alice", "secret")

	if cfg.HTTP.Auth.Bearer != nil {
		req.Header.Set("Authorization", "Bearer "+mustSignToken(t, cfg.HTTP.Auth.Bearer.Service))
	}

	asking := client
	if cfg.HTTP.TLS != nil && cfg.HTTP.TLS.CACert != "" {
		asking = mustShow(t, "alice.crt", "alice.key")
	}

	if resp := mustSendBy(t, asking, req); resp.StatusCode != http.StatusOK {
		t.Errorf("status %s", resp.Status)
	}
}

// mustShow returns a client that shows a certificate.
func mustShow(t *testing.T, cert, key string) *http.Client {
	t.Helper()

	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}

	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, //nolint:gosec // made by the test
			Certificates:       []tls.Certificate{pair},
		},
	}}
}

// mustSignToken signs a token with server.key.
func mustSignToken(t *testing.T, audience string) string {
	t.Helper()

	data, err := os.ReadFile("server.key")
	if err != nil {
		t.Fatal(err)
	}

	key, err := jwt.ParseECPrivateKeyFromPEM(data)
	if err != nil {
		t.Fatal(err)
	}

	token, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"sub": "alice", "aud": audience, "exp": time.Now().Add(time.Minute).Unix(),
	}).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}

	return token
}

// forEveryone says whether there is something that one may do without a password.
func forEveryone(access *config.AccessControl) bool {
	if access == nil {
		return false
	}

	for _, policy := range access.Repositories {
		if len(policy.AnonymousPolicy) > 0 {
			return true
		}
	}

	return false
}

func TestExampleOfDefaults(t *testing.T) {
	Convey("defaults.json says what is used without it", t, func() {
		cfg, _, err := Load(filepath.Join("..", "..", "examples", "config", "defaults.json"))
		So(err, ShouldBeNil)

		want := config.Default()
		want.Storage.RootDirectory = defaultRoot
		want.Storage.CacheDriver = config.Settings{"name": "boltdb"}
		want.Storage.SubPaths = map[string]config.SubPath{}
		want.HTTP.Compat = []string{"docker2s2"}

		So(cfg, ShouldResemble, want)
	})
}

func TestExamplesAreListed(t *testing.T) {
	Convey("The README names each example", t, func() {
		readme, err := os.ReadFile(filepath.Join("..", "..", "examples", "config", "README.md"))
		So(err, ShouldBeNil)

		for _, path := range mustExamples(t) {
			So(string(readme), ShouldContainSubstring, "("+filepath.Base(path)+")")
		}
	})
}

// mustDeployed returns the configurations below examples/deploy, by the file that has
// them.
func mustDeployed(t *testing.T) map[string][]byte {
	t.Helper()

	found := map[string][]byte{}
	dir := filepath.Join("..", "..", "examples", "deploy")

	for _, name := range []string{"container.json", "replica.json", "kubernetes.yaml"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}

		found[name] = data
	}

	var configMap struct {
		Data map[string]string `yaml:"data"`
	}

	first, _, _ := strings.Cut(string(found["kubernetes.yaml"]), "\n---\n")
	if err := yaml.Unmarshal([]byte(first), &configMap); err != nil {
		t.Fatal(err)
	}

	found["kubernetes.yaml"] = []byte(configMap.Data["config.json"])

	return found
}

func TestDeployedConfigurations(t *testing.T) {
	for name, data := range mustDeployed(t) {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())

			if err := os.WriteFile("config.json", data, 0o600); err != nil {
				t.Fatal(err)
			}

			if _, warnings, err := Load("config.json"); err != nil || len(warnings) > 0 {
				t.Errorf("%v, %v", warnings, err)
			}
		})
	}
}

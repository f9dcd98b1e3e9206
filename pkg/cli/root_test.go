package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/storage"
)

// mustWrite writes a file into a new directory and returns its path.
func mustWrite(tb testing.TB, name, content string) string {
	tb.Helper()

	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}

	return path
}

// mustDecode decodes content, and fails if it is not of the format.
func mustDecode(tb testing.TB, format, content string) *file {
	tb.Helper()

	f, err := decode(format, []byte(content))
	if err != nil {
		tb.Fatal(err)
	}

	return f
}

// The same configuration in each format, with names whose case matters.
var cased = map[string]string{
	"json": `{
		"STORAGE": {"rootdirectory": "Data", "SubPaths": {"/infra": {"RootDirectory": "Infra"}},
			"cacheDriver": {"Name": "BoltDB", "KeyPrefix": "Zot"}},
		"http": {
			"auth": {"openid": {"providers": {"GitHub": {"ClientID": "Id", "claimMapping": {"userName": "Login"}}}}},
			"accessControl": {
				"groups": {"Admins": {"users": ["Bob", "alice"]}, "admins": {"users": ["eve"]}},
				"repositories": {"Infra.v1/**": {"policies": [{"users": ["Bob"], "Actions": ["read"]}]}}
			}
		},
		"extensions": {"events": {"sinks": [{"headers": {"X-Zot-Token": "Abc"}}]}}
	}`,
	"yaml": `
STORAGE:
  rootdirectory: Data
  SubPaths: {/infra: {RootDirectory: Infra}}
  cacheDriver: {Name: BoltDB, KeyPrefix: Zot}
http:
  auth: {openid: {providers: {GitHub: {ClientID: Id, claimMapping: {userName: Login}}}}}
  accessControl:
    groups:
      Admins: {users: [Bob, alice]}
      admins: {users: [eve]}
    repositories:
      Infra.v1/**:
        policies: [{users: [Bob], Actions: [read]}]
extensions:
  events: {sinks: [{headers: {X-Zot-Token: Abc}}]}
`,
	"toml": `
[STORAGE]
rootdirectory = "Data"
SubPaths."/infra".RootDirectory = "Infra"
cacheDriver = {Name = "BoltDB", KeyPrefix = "Zot"}
[http.auth.openid.providers.GitHub]
ClientID = "Id"
claimMapping.userName = "Login"
[http.accessControl.groups]
Admins.users = ["Bob", "alice"]
admins.users = ["eve"]
[[http.accessControl.repositories."Infra.v1/**".policies]]
users = ["Bob"]
Actions = ["read"]
[[extensions.events.sinks]]
headers.X-Zot-Token = "Abc"
`,
}

func TestCaseSurvives(t *testing.T) {
	for format, content := range cased {
		t.Run(format, func(t *testing.T) {
			f := mustDecode(t, format, content)

			Convey("keys are found in any case", t, func() {
				So(f.mistakes, ShouldBeEmpty)
				So(f.cfg.Storage.RootDirectory, ShouldEqual, "Data")
				So(f.cfg.Storage.SubPaths["/infra"].RootDirectory, ShouldEqual, "Infra")
				So(f.cfg.Storage.CacheDriver, ShouldResemble, config.Settings{"name": "BoltDB", "keyprefix": "Zot"})
			})

			Convey("names that users chose are kept", t, func() {
				provider := config.Provider{ClientID: "Id"}
				provider.ClaimMapping.Username = "Login"
				policy := config.Policy{Users: []string{"Bob"}, Actions: []string{"read"}}

				So(f.cfg.HTTP.Auth.OpenID.Providers, ShouldResemble, map[string]config.Provider{"GitHub": provider})
				So(f.cfg.HTTP.AccessControl.Groups, ShouldResemble, map[string]config.Group{
					"Admins": {Users: []string{"Bob", "alice"}}, "admins": {Users: []string{"eve"}},
				})
				So(f.cfg.HTTP.AccessControl.Repositories, ShouldResemble, map[string]config.RepositoryPolicy{
					"Infra.v1/**": {Policies: []config.Policy{policy}},
				})
				So(f.cfg.Extensions.Events.Sinks[0].Headers, ShouldResemble, map[string]string{"X-Zot-Token": "Abc"})
			})

			Convey("what was set is known by its documented path", t, func() {
				So(f.set, ShouldContainKey, "storage.rootDirectory")
				So(f.set, ShouldContainKey, "storage.subPaths[/infra].rootDirectory")
				So(f.set, ShouldContainKey, "http.accessControl.repositories[Infra.v1/**].policies[0].actions")
			})
		})
	}
}

func TestDefaults(t *testing.T) {
	Convey("A file that names a directory gets everything else by default", t, func() {
		f := mustDecode(t, "json", `{"storage": {"rootDirectory": "x"}}`)

		want := config.Default()
		want.Storage.RootDirectory = "x"

		So(f.mistakes, ShouldBeEmpty)
		So(f.cfg, ShouldResemble, want)
	})

	Convey("A sub-path differs from the default store", t, func() {
		f := mustDecode(t, "yaml", `storage: {subPaths: {/a: {}, /b: {dedupe: true, gc: true, commit: false}}}`)
		sub := f.cfg.Storage.SubPaths

		So(f.cfg.Storage.Dedupe && f.cfg.Storage.GC && f.cfg.Storage.Commit, ShouldBeTrue)
		So(sub["/a"].Dedupe || sub["/a"].GC, ShouldBeFalse)
		So(sub["/a"].Commit, ShouldBeTrue)
		So(sub["/a"].GCDelay, ShouldEqual, time.Hour)
		So(sub["/b"].Dedupe && sub["/b"].GC, ShouldBeTrue)
		So(sub["/b"].Commit, ShouldBeFalse)
	})

	Convey("Elements of lists have defaults, and a list replaces that of the defaults", t, func() {
		f := mustDecode(t, "json", `{
			"storage": {"retention": {"policies": [{}, {"deleteUntagged": false}]}},
			"http": {"auth": {"mtls": {"identityAttributes": ["URI", "Email"]}}},
			"extensions": {"search": {}, "ui": {"enable": false}, "metrics": {"enable": true}}
		}`)

		policies := f.cfg.Storage.Retention.Policies
		So(policies[0].DeleteUntagged, ShouldBeTrue)
		So(policies[1].DeleteUntagged, ShouldBeFalse)
		So(f.cfg.HTTP.Auth.MTLS.IdentityAttributes, ShouldResemble, []string{"URI", "Email"})
		So(f.cfg.Extensions.Search.On(), ShouldBeTrue)
		So(f.cfg.Extensions.UI.On(), ShouldBeFalse)
		So(f.cfg.Extensions.Scrub, ShouldBeNil)
		So(f.cfg.Extensions.Metrics.Prometheus.Path, ShouldEqual, "/metrics")
	})

	Convey("The memory for uploads is that of the engine", t, func() {
		So(config.DefaultBuffers, ShouldEqual, storage.DefaultBuffers)
	})
}

func TestTypes(t *testing.T) {
	Convey("What means the same in another type is taken, as upstream does", t, func() {
		f := mustDecode(t, "yaml", `
distSpecVersion: 1.1
storage:
  dedupe: "false"
  gc: 0
  gcDelay: 0
  buffers: "1048576"
  maxRepos: 3.0
http:
  port: 8080
  accessControl: {groups: {7: {users: "alice,bob"}}}
extensions: {sync: {registries: [{reqPerSec: 2}]}}
`)

		So(f.mistakes, ShouldBeEmpty)
		So(f.cfg.DistSpecVersion, ShouldEqual, "1.1")
		So(f.cfg.Storage.Dedupe || f.cfg.Storage.GC, ShouldBeFalse)
		So(f.cfg.Storage.GCDelay, ShouldEqual, 0)
		So(f.cfg.Storage.Buffers, ShouldEqual, 1<<20)
		So(f.cfg.Storage.MaxRepos, ShouldEqual, 3)
		So(f.cfg.HTTP.Port, ShouldEqual, "8080")
		So(f.cfg.HTTP.AccessControl.Groups["7"].Users, ShouldResemble, []string{"alice", "bob"})
		So(f.cfg.Extensions.Sync.Registries[0].ReqPerSec, ShouldEqual, 2)
	})
}

// pathsOf lists the paths of all keys below typ, without the indexes and names in
// brackets.
func pathsOf(path string, typ reflect.Type) []string {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice ||
		typ.Kind() == reflect.Map && typ != reflect.TypeFor[config.Settings]() {
		typ = typ.Elem()
	}

	if typ.Kind() != reflect.Struct {
		return nil
	}

	var paths []string

	for _, field := range fieldsOf(typ) {
		at := join(path, field.name)
		paths = append(append(paths, at), pathsOf(at, field.typ)...)
	}

	return paths
}

func TestAllKeys(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("testdata", "all-keys.yaml"))
	if err != nil {
		t.Fatal(err)
	}

	f := mustDecode(t, "yaml", string(content))
	seen := map[string]bool{}

	for path := range f.set {
		for {
			before, rest, ok := strings.Cut(path, "[")
			if !ok {
				break
			}

			_, after, _ := strings.Cut(rest, "]")
			path = before + after
		}

		seen[path] = true
	}

	Convey("All keys of upstream zot, and our own, are known", t, func() {
		So(f.mistakes, ShouldBeEmpty)
	})

	Convey("Each key that is known is in that file", t, func() {
		for _, path := range pathsOf("", reflect.TypeFor[config.Config]()) {
			if !seen[path] {
				t.Error("not in all-keys.yaml:", path)
			}
		}
	})
}

func TestUnreadable(t *testing.T) {
	for _, test := range []struct{ name, content, want string }{
		{"config.ini", "", `the extension ".ini" names no format`},
		{"config", "", `the extension "" names no format`},
		{"a.json", "{\n\"storage\": {,}\n}", "line 2: invalid character ','"},
		{"b.json", `[]`, "the file is a array; it must be an object"},
		{"n.json", "{\"storage\":\n{\"buffers\": 1e400}\n}", "line 2: the number 1e400 is too large"},
		{"o.json", "1e400", "the file is a number; it must be an object"},
		{"c.json", "{}\n{}", "line 2: invalid character"},
		{"d.json", `{"http": {"port": "1",` + "\n" + `"port": "2"}}`, `line 2: the key "port" is there twice`},
		{"e.yaml", "storage: [", "not valid YAML"},
		{"f.yml", "http: {}\nhttp: {}", "already defined"},
		{"h.yaml", "http: {}\n---\nhttp: {port: 1}", "line 2: a second document begins"},
		{"i.yaml", "http: {}\n---\n", "line 2: a second document begins"},
		{"j.yaml", "http: {}\n...\nlog: {}", "not valid YAML"},
		{"k.yaml", "http: {}\n---\nlog: [", "not valid YAML"},
		{"l.yaml", "- a\n- b", "the file is a list; it must be an object"},
		{"g.toml", "a = ", "not valid TOML"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := Load(mustWrite(t, test.name, test.content))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}

	Convey("A file that is not there says so", t, func() {
		_, _, err := Load(filepath.Join(t.TempDir(), "none.json"))

		So(errors.Is(err, fs.ErrNotExist), ShouldBeTrue)
	})
}

func FuzzLoad(f *testing.F) {
	formats := []string{"json", "yaml", "toml"}

	for i, format := range formats {
		f.Add(uint8(i), cased[format])
	}

	f.Add(uint8(0), `{"storage": {"gcDelay": "1h", "retention": {"policies": [null]}}, "log": null}`)
	f.Add(uint8(0), `{"": 1}`)
	f.Add(uint8(1), "http: &a {port: 1}\nstorage: *a\n? {a: b}\n: c")
	f.Add(uint8(2), `http.port = 1979-05-27T07:32:00Z`)

	f.Fuzz(func(t *testing.T, format uint8, content string) {
		decoded, err := decode(formats[int(format)%len(formats)], []byte(content))
		if err != nil {
			if strings.HasPrefix(err.Error(), "decode ") {
				t.Errorf("the tree let through what does not decode: %v", err)
			}

			return
		}

		for _, mistake := range decoded.mistakes {
			if mistake.Path == "" || mistake.Problem == "" || mistake.Remedy == "" ||
				strings.Contains(mistake.String(), "\n") {
				t.Errorf("no use to anyone: %q", mistake.String())
			}
		}
	})
}

package access

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bmatcuk/doublestar/v4"
	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/auth"
	"zotregistry.io/zot/pkg/storage"
)

func mustNew(t testing.TB, cfg *config.AccessControl, login bool) *Rules {
	t.Helper()

	rules, err := New(cfg, login)
	if err != nil {
		t.Fatal(err)
	}

	return rules
}

var (
	anonymous = auth.User{}
	ann       = auth.User{Name: "ann"}
	bob       = auth.User{Name: "bob"}
	eve       = auth.User{Name: "eve"}
	carl      = auth.User{Name: "carl", Groups: []string{"ops", "dev"}} // of a directory
)

func example() *config.AccessControl {
	return &config.AccessControl{
		Groups: map[string]config.Group{"dev": {Users: []string{"ann", "bob"}}},
		Repositories: map[string]config.RepositoryPolicy{
			"**": {DefaultPolicy: []string{"read"}},
			"dev/**": {Policies: []config.Policy{
				{Groups: []string{"dev"}, Actions: []string{"read", "create"}},
				{Users: []string{"ann"}, Actions: []string{"update", "delete", "detectManifestCollision"}},
			}},
			"dev/public/*": {AnonymousPolicy: []string{"read"}},
			"dev/secret":   {},
		},
		AdminPolicy: config.Policy{
			Users: []string{"root"}, Groups: []string{"ops"}, Actions: []string{"read", "delete"},
		},
		Metrics: config.MetricsPolicy{Users: []string{"prom"}},
	}
}

func TestOf(t *testing.T) {
	rules := mustNew(t, example(), true)

	for _, c := range []struct {
		user auth.User
		repo string
		want Actions
	}{
		{anonymous, "a", none},
		{eve, "a", Read},
		{eve, "a/b/c", Read},

		{anonymous, "dev/app", none},
		{eve, "dev/app", none}, // the longer pattern counts alone
		{bob, "dev/app", Read | Create},
		{bob, "dev", Read | Create}, // dev/** is dev, too
		{ann, "dev/app", All | DetectManifestCollision},
		{carl, "dev/app", Read | Create | Delete}, // dev, and ops by adminPolicy

		{anonymous, "dev/public/x", Read},
		{ann, "dev/public/x", Read}, // what everyone may, those may who are logged in
		{anonymous, "dev/public/x/y", none},
		{bob, "dev/public/x/y", Read | Create},

		{ann, "dev/secret", none},
		{ann, "dev/secrets", All | DetectManifestCollision},
		{carl, "dev/secret", Read | Delete},
		{auth.User{Name: "root"}, "dev/secret", Read | Delete},
		{auth.User{Groups: []string{"ops"}}, "dev/secret", none}, // nobody has groups only
	} {
		if got := rules.Of(c.user, c.repo); got != c.want {
			t.Errorf("%+v in %s: got %05b, want %05b", c.user, c.repo, got, c.want)
		}
	}
}

func TestRules(t *testing.T) {
	Convey("Without accessControl", t, func() {
		Convey("whoever is logged in may do everything", func() {
			rules := mustNew(t, nil, true)
			So(rules.Of(ann, "a"), ShouldEqual, All)
			So(rules.Admin(ann), ShouldEqual, All)
			So(rules.Metrics(ann), ShouldBeTrue)
			So(rules.Of(anonymous, "a"), ShouldEqual, none)
			So(rules.Metrics(anonymous), ShouldBeFalse)
			So(rules.Anonymous(), ShouldBeFalse)
			So(rules.Readable(ann), ShouldResemble, []string{""})
			So(rules.Readable(anonymous), ShouldBeEmpty)
		})

		Convey("and everyone where none can log in", func() {
			rules := mustNew(t, nil, false)
			So(rules.Of(anonymous, "a"), ShouldEqual, All)
			So(rules.Anonymous(), ShouldBeTrue)
			So(rules.Readable(anonymous), ShouldResemble, []string{""})
		})
	})

	Convey("Without repositories nobody may do anything but admins", t, func() {
		rules := mustNew(t, &config.AccessControl{AdminPolicy: config.Policy{
			Users: []string{"root"}, Actions: []string{"create"},
		}}, true)
		So(rules.Of(ann, "a"), ShouldEqual, none)
		So(rules.Of(auth.User{Name: "root"}, "a"), ShouldEqual, Create)
		So(rules.Anonymous(), ShouldBeFalse)
		So(rules.Readable(ann), ShouldBeEmpty)
		So(rules.Readable(auth.User{Name: "root"}), ShouldBeEmpty)
	})

	Convey("Whether one who is not logged in may do anything anywhere is known", t, func() {
		So(mustNew(t, example(), true).Anonymous(), ShouldBeTrue)

		cfg := example()
		delete(cfg.Repositories, "dev/public/*")
		So(mustNew(t, cfg, true).Anonymous(), ShouldBeFalse)
	})

	Convey("Metrics are for those who are named, or for everyone", t, func() {
		cfg := example()
		rules := mustNew(t, cfg, true)
		So(rules.Metrics(auth.User{Name: "prom"}), ShouldBeTrue)
		So(rules.Metrics(ann), ShouldBeFalse)
		So(rules.Metrics(anonymous), ShouldBeFalse)

		cfg.Metrics = config.MetricsPolicy{AnonymousPolicy: []string{"read"}}
		So(mustNew(t, cfg, true).Metrics(anonymous), ShouldBeTrue)
	})

	Convey("What cannot be done as it says is refused, with its place", t, func() {
		for place, change := range map[string]func(*config.AccessControl){
			"repositories[a[]: ": func(c *config.AccessControl) {
				c.Repositories["a["] = config.RepositoryPolicy{}
			},
			"repositories[]: ": func(c *config.AccessControl) {
				c.Repositories[""] = config.RepositoryPolicy{}
			},
			"repositories[a]: defaultPolicy: ": func(c *config.AccessControl) {
				c.Repositories["a"] = config.RepositoryPolicy{DefaultPolicy: []string{"Read"}}
			},
			"repositories[a]: anonymousPolicy: ": func(c *config.AccessControl) {
				c.Repositories["a"] = config.RepositoryPolicy{AnonymousPolicy: []string{""}}
			},
			"repositories[a]: policies[0].actions: ": func(c *config.AccessControl) {
				c.Repositories["a"] = config.RepositoryPolicy{Policies: []config.Policy{{Actions: []string{"pull"}}}}
			},
			"repositories[a]: policies[0].conditions: ": func(c *config.AccessControl) {
				c.Repositories["a"] = config.RepositoryPolicy{Policies: []config.Policy{{Conditions: make([]config.Condition, 1)}}}
			},
			"adminPolicy: ": func(c *config.AccessControl) { c.AdminPolicy.Actions = []string{"all"} },
			"metrics: ":     func(c *config.AccessControl) { c.Metrics.AnonymousPolicy = []string{"all"} },
		} {
			cfg := example()
			change(cfg)

			_, err := New(cfg, true)
			So(fmt.Sprint(err), ShouldStartWith, "http.accessControl."+place)
		}
	})
}

// slowest finds the rule of a repository by trying all.
func slowest(cfg *config.AccessControl, repo string) string {
	var (
		best  pattern
		found bool
	)

	for glob := range cfg.Repositories {
		if p := parsePattern(glob); doublestar.MatchUnvalidated(glob, repo) && (!found || p.before(&best) < 0) {
			best, found = p, true
		}
	}

	return best.glob
}

func checkFind(t *testing.T, globs []string, repo string) {
	t.Helper()

	cfg := &config.AccessControl{Repositories: map[string]config.RepositoryPolicy{}}

	for i, glob := range globs {
		if glob != "" && doublestar.ValidatePattern(glob) {
			cfg.Repositories[glob] = config.RepositoryPolicy{AnonymousPolicy: [][]string{nil, {"read"}}[i%2]}
		}
	}

	rules, want, got := mustNew(t, cfg, false), slowest(cfg, repo), ""
	if found := rules.find(repo); found != nil {
		got = found.glob
	}

	if got != want {
		t.Errorf("%q: got %q, want %q of %q", repo, got, want, globs)
	}

	listed := slices.ContainsFunc(rules.Readable(anonymous), func(part string) bool {
		return part == repo || (part == "" || strings.HasSuffix(part, "/")) && strings.HasPrefix(repo, part)
	})
	if rules.Of(anonymous, repo).Any(Read) && !listed {
		t.Errorf("%q may be read, but is not in %q; the rules are %q", repo, rules.Readable(anonymous), globs)
	}
}

func TestFind(t *testing.T) {
	globs := []string{
		"**", "a", "a/**", "a/*", "a/b", "a/b/**", "a/b/c", "a*", "*", "*/b", "**/c", "a/**/c", "{a,b}/c", "a/[bc]",
		"a/b*/c", "?", "??", `a\/b`, "/**", "/a", "a/", "a//**", "{a/b,c}", "{a,b/c}/**", "a/b-c", "a/b.c",
	}
	repos := []string{
		"a", "b", "c", "a/b", "a/c", "a/b/c", "a/b/d", "a/bb/c", "b/c", "aa", "a/b-c", "a/b.c", "b/c/d", "x/y/z/c", "ab/c",
	}

	for i := range globs {
		for j := range globs {
			for _, repo := range repos {
				checkFind(t, globs[min(i, j):max(i, j)+1], repo)
				checkFind(t, []string{globs[i], globs[j]}, repo)
			}
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add("**\na/**\na/*", "a/b")
	f.Add("{a,b}/**\na/b", "a/b/c")
	f.Add(`a/[^b]**`+"\n?/b", "a/b")

	f.Fuzz(func(t *testing.T, globs, repo string) {
		if _, err := storage.ParseRepoName(repo); err != nil || len(globs) > 200 {
			return // no name of a repository
		}

		checkFind(t, strings.Split(globs, "\n"), repo)
	})
}

func TestReadable(t *testing.T) {
	reads := config.RepositoryPolicy{DefaultPolicy: []string{"read"}}
	cfg := &config.AccessControl{Repositories: map[string]config.RepositoryPolicy{
		"b/**": reads, "b/c/**": reads, "b-c": reads, "a/x*": reads, "d": {}, "e/*": {Policies: []config.Policy{
			{Users: []string{"ann"}, Actions: []string{"read"}},
		}},
	}}

	for _, c := range []struct {
		user auth.User
		want string
	}{
		{anonymous, "[]"}, {bob, "[a a/ b b-c b/]"}, {ann, "[a a/ b b-c b/ e e/]"},
	} {
		if got := fmt.Sprint(mustNew(t, cfg, true).Readable(c.user)); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.user, got, c.want)
		}
	}

	cfg.Repositories["**"] = reads
	if got := mustNew(t, cfg, true).Readable(bob); !slices.Equal(got, []string{""}) {
		t.Errorf("got %q, want all", got)
	}
}

// many is a configuration of a thousand teams, and of some patterns that are in no directory.
func many() *config.AccessControl {
	cfg := example()
	for i := range 1000 {
		cfg.Repositories[fmt.Sprintf("team-%d/**", i)] = config.RepositoryPolicy{Policies: []config.Policy{
			{Users: []string{"ann", "bob"}, Groups: []string{"dev"}, Actions: []string{"read", "create"}},
		}}
	}

	cfg.Repositories["*/public/**"] = config.RepositoryPolicy{AnonymousPolicy: []string{"read"}}

	return cfg
}

func TestNothingIsAllocated(t *testing.T) {
	rules := mustNew(t, many(), true)

	for _, repo := range []string{"team-7/app/server", "dev/public/x", "x"} {
		if n := testing.AllocsPerRun(100, func() { rules.Of(carl, repo) }); n > 0 {
			t.Errorf("%s: %v allocations", repo, n)
		}
	}
}

func BenchmarkOf(b *testing.B) {
	for name, cfg := range map[string]*config.AccessControl{"usual": example(), "thousand": many()} {
		rules := mustNew(b, cfg, true)

		for _, repo := range []string{"dev/app", "team-7/app/server", "a/b/c/d/e"} {
			b.Run(name+"/"+repo, func(b *testing.B) {
				b.ReportAllocs()

				for b.Loop() {
					rules.Of(carl, repo)
				}
			})
		}
	}
}

package cli

import (
	"fmt"
	"testing"
)

// TestQuotasOfStores: a quota may name what its store can have, and nothing else.
func TestQuotasOfStores(t *testing.T) {
	inScratch(t)

	for _, row := range []struct {
		standard, a, ab string // prefixes of quotas: of the default store, those of /a and of /a/b
		stray           string // the store whose quota covers nothing
	}{
		{standard: "c/d", a: "a/c", ab: "a/b/c"},
		{standard: "a", a: "a/b", ab: "a/b"}, // the repository of that name is in the store above
		{a: "a", ab: "a"},

		{standard: "a/b", stray: "storage"},
		{a: "c", stray: "storage.subPaths[/a]"},
		{a: "a/b/c", stray: "storage.subPaths[/a]"},
		{ab: "a/c", stray: "storage.subPaths[/a/b]"},
		{ab: "c", stray: "storage.subPaths[/a/b]"},
	} {
		mistakes, _ := mustCheck(t, fmt.Sprintf(`{"storage": {"rootDirectory": "data", "quota": [{"prefix": %q, "bytes": 1}], "subPaths": {
			"/a": {"rootDirectory": "a", "quota": [{"prefix": %q, "bytes": 1}]},
			"/a/b": {"rootDirectory": "b", "quota": [{"prefix": %q, "bytes": 1}]}}}}`, row.standard, row.a, row.ab))

		found := ""
		for _, mistake := range mistakes {
			found += mistake.Path
		}

		want := ""
		if row.stray != "" {
			want = row.stray + ".quota[0].prefix"
		}

		if found != want {
			t.Errorf("%+v: %s", row, mistakes.Error())
		}
	}
}

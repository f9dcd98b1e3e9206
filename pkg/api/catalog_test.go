package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"zotregistry.io/zot/pkg/storage"
)

// largeCatalog has 100 repositories of each of 1,000 teams, and counts how many it names.
type largeCatalog struct {
	repos []storage.RepoName
	named int
}

func newLargeCatalog() *largeCatalog {
	c := &largeCatalog{}

	for team := range 1000 {
		for app := range 100 {
			c.repos = append(c.repos, storage.RepoName(fmt.Sprintf("team-%03d/app-%02d", team, app)))
		}
	}

	return c
}

func (c *largeCatalog) ListRepos(
	_ context.Context, after storage.RepoName, n int,
) ([]storage.RepoName, bool, error) {
	begin, found := slices.BinarySearch(c.repos, after)
	if found {
		begin++
	}

	end := len(c.repos)
	if n >= 0 {
		end = min(end, begin+n)
	}

	c.named += end - begin

	return c.repos[begin:end], end < len(c.repos), nil
}

// pageOf asks for a page of a large catalog, and returns how many names were looked at for it.
func pageOf(t testing.TB, catalog *largeCatalog, everyone map[string][]string, n int) (repos []storage.RepoName, looked int) {
	t.Helper()

	catalog.named = 0
	r := &request{Request: httptest.NewRequest(http.MethodGet, "/", nil), doors: &doors{rules: mustRules(t, everyone)}}

	repos, _, err := catalogHandler{catalog: catalog}.readable(r, "", n)
	if err != nil {
		t.Fatal(err)
	}

	return repos, catalog.named
}

// A page of the catalog does not cost what others have.
func TestCostOfThePages(t *testing.T) {
	catalog := newLargeCatalog()
	reads := []string{"read"}

	for _, c := range []struct {
		everyone map[string][]string
		n, most  int
		last     storage.RepoName
	}{
		{map[string][]string{"**": reads}, 100, catalogBatch, "team-000/app-99"},
		{map[string][]string{"team-998/**": reads}, 100, catalogBatch, "team-998/app-99"},
		{map[string][]string{"team-998/**": reads, "**": nil}, -1, catalogBatch, "team-998/app-99"},
		{map[string][]string{"team-998/app-07": reads, "team-999/*-1?": reads}, -1, catalogBatch, "team-999/app-19"},
		{map[string][]string{"team-50[0-9]/**": reads}, 10, len(catalog.repos), "team-500/app-09"},
	} {
		repos, looked := pageOf(t, catalog, c.everyone, c.n)
		equal(t, repos[len(repos)-1], c.last, fmt.Sprint(c.everyone))

		if looked > c.most {
			t.Errorf("%v: %d names were looked at, of %d repositories", c.everyone, looked, len(repos))
		}
	}
}

func BenchmarkCatalog(b *testing.B) {
	catalog := newLargeCatalog()

	for name, everyone := range map[string]map[string][]string{
		"all":      {"**": {"read"}},
		"one team": {"team-998/**": {"read"}},
		"wildcard": {"*-998/**": {"read"}},
	} {
		rules := mustRules(b, everyone)
		r := &request{Request: httptest.NewRequest(http.MethodGet, "/", nil), doors: &doors{rules: rules}}

		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := (catalogHandler{catalog: catalog}).readable(r, "", 100); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package cli

import (
	"fmt"
	"strings"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/storage"
)

// quotas checks what pushes into a store may fill.
func (c *check) quotas(path string, store *config.Store) {
	first := map[string]int{}

	for i, quota := range store.Quota {
		at := fmt.Sprintf("%s.quota[%d]", path, i)

		if _, err := storage.ParseRepoName(quota.Prefix); err != nil && quota.Prefix != "" {
			c.wrong(at+".prefix", fmt.Sprintf("%q is no prefix of repositories", quota.Prefix),
				`write the first part of their names, as "team-a", or "" for all of the store`)
		}

		if j, twice := first[quota.Prefix]; twice {
			c.wrong(at+".prefix", fmt.Sprintf("%q is that of quota[%d], too", quota.Prefix, j), "make one of both")
		} else {
			first[quota.Prefix] = i
		}

		c.quotaFigure(at, "bytes", quota.Bytes)
		c.quotaFigure(at, "repositories", quota.Repositories)

		if !c.set[at+".bytes"] && !c.set[at+".repositories"] {
			c.wrong(at, "bounds nothing", "write bytes, repositories, or both")
		}
	}
}

// quotaFigure checks a figure that may be left out, but not be 0: that could mean none, or all.
func (c *check) quotaFigure(at, key string, n int64) {
	if n < 0 || n == 0 && c.set[at+"."+key] {
		c.wrong(at+"."+key, fmt.Sprintf("is %d", n), "write 1 or more, or leave it out for no bound")
	}
}

// strayQuotas checks that each quota is written for the store that has the repositories of its prefix.
func (c *check) strayQuotas() {
	c.strayQuotasOf("", c.cfg.Storage.Quota)

	for _, prefix := range sortedNames(c.cfg.Storage.SubPaths) {
		c.strayQuotasOf(prefix, c.cfg.Storage.SubPaths[prefix].Quota)
	}
}

// strayQuotasOf checks those of the store of a sub-path, "" being the default one.
func (c *check) strayQuotasOf(store string, quotas []config.Quota) {
	for i, quota := range quotas {
		root := storage.RepoName(quota.Prefix)
		above, home := storage.SubPathOf(c.cfg.Storage.SubPaths, root), storage.SubPathOf(c.cfg.Storage.SubPaths, root+"/x")

		if root == "" || above == store || home == store || strings.HasPrefix(store, "/"+quota.Prefix+"/") {
			continue
		}

		c.wrong(fmt.Sprintf("%s.quota[%d].prefix", storePath(store), i),
			fmt.Sprintf("%q covers no repository of this store: they are in that of %s", quota.Prefix, storePath(home)),
			"write the quota there")
	}
}

// storePath is where the settings of a store are.
func storePath(prefix string) string {
	if prefix == "" {
		return "storage"
	}

	return "storage.subPaths[" + prefix + "]"
}

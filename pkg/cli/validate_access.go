package cli

import (
	"fmt"

	"zotregistry.io/zot/pkg/api/config"
)

func (c *check) accessControl() {
	access := c.cfg.HTTP.AccessControl
	if access == nil {
		return
	}

	const path = "http.accessControl"

	for _, glob := range sortedNames(access.Repositories) {
		at := path + ".repositories[" + glob + "]"

		c.glob(at, glob)
		c.repositoryPolicy(at, access.Repositories[glob])
	}

	c.actions(path+".adminPolicy.actions", access.AdminPolicy.Actions)
	c.actions(path+".metrics.anonymousPolicy", access.Metrics.AnonymousPolicy)

	if !authenticates(c.cfg.HTTP.Auth) && !allAnonymous(access) {
		c.wrong("http.auth", "is missing, but http.accessControl names users",
			"set http.auth.htpasswd, or leave only anonymousPolicy in http.accessControl")
	}

	c.refuse(path, "remove it, and do not let others than trusted clients reach zot")
}

func (c *check) repositoryPolicy(path string, policy config.RepositoryPolicy) {
	c.actions(path+".defaultPolicy", policy.DefaultPolicy)
	c.actions(path+".anonymousPolicy", policy.AnonymousPolicy)

	for i, p := range policy.Policies {
		at := fmt.Sprintf("%s.policies[%d]", path, i)

		c.actions(at+".actions", p.Actions)

		for j, condition := range p.Conditions {
			if condition.Expression == "" {
				c.wrong(fmt.Sprintf("%s.conditions[%d].expression", at, j), "is missing", "write an expression, or remove it")
			}
		}
	}
}

func (c *check) actions(path string, actions []string) {
	for i, action := range actions {
		c.oneOf(fmt.Sprintf("%s[%d]", path, i), action,
			"read", "create", "update", "delete", "detectManifestCollision")
	}
}

// allAnonymous says whether no policy needs to know who a client is.
func allAnonymous(access *config.AccessControl) bool {
	for _, policy := range access.Repositories {
		if len(policy.Policies) > 0 || len(policy.DefaultPolicy) > 0 {
			return false
		}
	}

	admin := access.AdminPolicy

	return len(admin.Users)+len(admin.Groups)+len(admin.Actions)+len(access.Metrics.Users) == 0
}

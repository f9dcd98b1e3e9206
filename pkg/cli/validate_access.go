package cli

import (
	"fmt"
	"strings"

	"zotregistry.io/zot/pkg/api/config"
)

func (c *check) accessControl() {
	access := c.cfg.HTTP.AccessControl
	if access == nil {
		return
	}

	const path = "http.accessControl"

	if len(access.Repositories) == 0 {
		c.warn(path, "has no repositories: nobody may do anything but by adminPolicy")
	}

	for _, glob := range sortedNames(access.Repositories) {
		at := path + ".repositories[" + glob + "]"

		c.glob(at, glob)

		if strings.HasPrefix(glob, "/") || strings.HasSuffix(glob, "/") {
			c.warn(at, "matches nothing: no repository's name begins or ends with a slash")
		}

		c.repositoryPolicy(at, access.Repositories[glob])
	}

	c.policy(path+".adminPolicy", access.AdminPolicy)
	c.actions(path+".metrics.anonymousPolicy", access.Metrics.AnonymousPolicy)
	c.users(path+".metrics.users", access.Metrics.Users)

	if !authenticates(c.cfg.HTTP) && !allAnonymous(access) {
		c.wrong("http.auth", "is missing, but http.accessControl names users",
			"set http.auth.htpasswd, or leave only anonymousPolicy in http.accessControl")
	}
}

func (c *check) repositoryPolicy(path string, policy config.RepositoryPolicy) {
	c.actions(path+".defaultPolicy", policy.DefaultPolicy)
	c.actions(path+".anonymousPolicy", policy.AnonymousPolicy)

	for i, p := range policy.Policies {
		c.policy(fmt.Sprintf("%s.policies[%d]", path, i), p)
	}
}

func (c *check) policy(path string, policy config.Policy) {
	c.actions(path+".actions", policy.Actions)
	c.users(path+".users", policy.Users)

	if len(policy.Actions) > 0 && len(policy.Users)+len(policy.Groups) == 0 {
		c.warn(path, "names neither users nor groups: it allows nobody anything")
	}

	for i, condition := range policy.Conditions {
		if condition.Expression == "" {
			c.wrong(fmt.Sprintf("%s.conditions[%d].expression", path, i), "is missing", "write an expression, or remove it")
		}
	}

	if len(policy.Conditions) > 0 {
		c.refuse(path+".conditions", "remove the whole policy: without its conditions it would allow more than it says")
	}
}

func (c *check) users(path string, users []string) {
	for i, user := range users {
		if user == "" {
			c.wrong(fmt.Sprintf("%s[%d]", path, i), "is empty", "write the name of a user; what everyone may do is anonymousPolicy")
		}
	}
}

func (c *check) actions(path string, actions []string) {
	for i, action := range actions {
		c.oneOf(fmt.Sprintf("%s[%d]", path, i), action,
			"read", "create", "update", "delete", "detectManifestCollision")
	}
}

// anyAnonymous says whether everyone may do something.
func anyAnonymous(access *config.AccessControl) bool {
	for _, policy := range access.Repositories {
		if len(policy.AnonymousPolicy) > 0 {
			return true
		}
	}

	return false
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

package access

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/bmatcuk/doublestar/v4"

	"zotregistry.io/zot/pkg/api/config"
)

// actionOf is the action that has a name in a configuration.
var actionOf = map[string]Actions{
	"read": Read, "create": Create, "update": Update, "delete": Delete,
	"detectManifestCollision": DetectManifestCollision,
}

// New makes rules of a configuration; login says whether there is a way to log in. Where cfg
// is nil, everyone who is logged in may do everything, and everyone if none can log in.
func New(cfg *config.AccessControl, login bool) (*Rules, error) {
	r := &Rules{login: login}

	if cfg == nil {
		r.unlimited, r.anonymous = true, !login

		return r, nil
	}

	r.memberOf = members(cfg.Groups)

	var err error
	if r.admins, err = compileGrants([]config.Policy{cfg.AdminPolicy}); err != nil {
		return nil, fmt.Errorf("http.accessControl.adminPolicy: %w", err)
	}

	if err := r.compileMetrics(cfg.Metrics); err != nil {
		return nil, fmt.Errorf("http.accessControl.metrics: %w", err)
	}

	rules := make([]*rule, 0, len(cfg.Repositories))

	for _, glob := range slices.Sorted(maps.Keys(cfg.Repositories)) {
		compiled, err := compileRule(glob, cfg.Repositories[glob])
		if err != nil {
			return nil, fmt.Errorf("http.accessControl.repositories[%s]: %w", glob, err)
		}

		rules = append(rules, compiled)
	}

	r.add(rules)

	return r, nil
}

// add takes the rules in.
func (r *Rules) add(rules []*rule) {
	slices.SortFunc(rules, func(a, b *rule) int { return a.before(&b.pattern) })

	r.under = map[string][]*rule{}

	for i, next := range rules {
		next.rank = i
		r.under[next.dir] = append(r.under[next.dir], next)
		r.anonymous = r.anonymous || next.everyone.Any(All)
	}

	r.parts = partsOf(r.under)
}

func (r *Rules) compileMetrics(cfg config.MetricsPolicy) error {
	public, err := parseActions(cfg.AnonymousPolicy)
	r.metricsPublic, r.metricsUsers = public.Any(Read), cfg.Users

	return err
}

// members turns the groups of a configuration round.
func members(groups map[string]config.Group) map[string][]string {
	of := map[string][]string{}

	for _, name := range slices.Sorted(maps.Keys(groups)) {
		for _, user := range groups[name].Users {
			if user == "" {
				continue // a token may name nobody
			}

			of[user] = append(of[user], name)
		}
	}

	return of
}

func compileRule(glob string, policy config.RepositoryPolicy) (*rule, error) {
	if glob == "" || !doublestar.ValidatePattern(glob) {
		return nil, errors.New("the pattern does not compile")
	}

	named, err := compileGrants(policy.Policies)
	if err != nil {
		return nil, err
	}

	compiled := &rule{pattern: parsePattern(glob), grants: named}

	if compiled.loggedIn, err = parseActions(policy.DefaultPolicy); err != nil {
		return nil, fmt.Errorf("defaultPolicy: %w", err)
	}

	if compiled.everyone, err = parseActions(policy.AnonymousPolicy); err != nil {
		return nil, fmt.Errorf("anonymousPolicy: %w", err)
	}

	return compiled, nil
}

// compileGrants joins policies: a user has the actions of each that names him.
func compileGrants(policies []config.Policy) (grants, error) {
	given := grants{users: map[string]Actions{}, groups: map[string]Actions{}}

	for i, policy := range policies {
		if len(policy.Conditions) > 0 { // without them the policy would allow more than it says
			return grants{}, fmt.Errorf("policies[%d].conditions: not built yet", i)
		}

		actions, err := parseActions(policy.Actions)
		if err != nil {
			return grants{}, fmt.Errorf("policies[%d].actions: %w", i, err)
		}

		for _, user := range policy.Users {
			if user == "" { // a token may name nobody
				return grants{}, fmt.Errorf("policies[%d].users: one has no name", i)
			}

			given.users[user] |= actions
		}

		for _, group := range policy.Groups {
			given.groups[group] |= actions
		}
	}

	return given, nil
}

func parseActions(names []string) (Actions, error) {
	var all Actions

	for _, name := range names {
		action, ok := actionOf[name]
		if !ok {
			return none, fmt.Errorf("%q is no action", name)
		}

		all |= action
	}

	return all, nil
}

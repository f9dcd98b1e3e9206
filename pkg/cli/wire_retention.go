package cli

import (
	"regexp"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/storage"
)

// retentionOf is what a valid configuration says of which tags and manifests go.
func retentionOf(cfg *config.Retention) storage.Retention {
	if cfg == nil {
		return storage.Retention{}
	}

	retention := storage.Retention{DryRun: cfg.DryRun, Delay: cfg.Delay}
	for _, policy := range cfg.Policies {
		retention.Policies = append(retention.Policies, policyOf(policy))
	}

	return retention
}

func policyOf(cfg config.RetentionPolicy) storage.Policy {
	policy := storage.Policy{
		Repositories: cfg.Repositories, DeleteReferrers: cfg.DeleteReferrers, DeleteUntagged: cfg.DeleteUntagged,
	}

	for _, keep := range cfg.KeepTags {
		rule := storage.KeepTags{Keep: keepOf(keep.KeepUntagged)}
		for _, pattern := range keep.Patterns {
			rule.Patterns = append(rule.Patterns, regexp.MustCompile(pattern)) // it has been checked
		}

		policy.KeepTags = append(policy.KeepTags, rule)
	}

	for _, keep := range cfg.KeepUntagged {
		policy.KeepUntagged = append(policy.KeepUntagged, keepOf(keep))
	}

	return policy
}

func keepOf(cfg config.KeepUntagged) storage.Keep {
	return storage.Keep{
		PulledWithin: cfg.PulledWithin, PushedWithin: cfg.PushedWithin,
		MostRecentlyPushed: cfg.MostRecentlyPushedCount, MostRecentlyPulled: cfg.MostRecentlyPulledCount,
	}
}

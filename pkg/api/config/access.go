package config

// AccessControl says who may do what.
type AccessControl struct {
	Repositories map[string]RepositoryPolicy `mapstructure:"repositories"` // by glob; the longest match wins
	AdminPolicy  Policy                      `mapstructure:"adminPolicy"`
	Groups       map[string]Group            `mapstructure:"groups"`
	Metrics      MetricsPolicy               `mapstructure:"metrics"`
}

// RepositoryPolicy is who may do what in some repositories.
type RepositoryPolicy struct {
	Policies        []Policy `mapstructure:"policies"`
	DefaultPolicy   []string `mapstructure:"defaultPolicy"`   // actions of those who are logged in
	AnonymousPolicy []string `mapstructure:"anonymousPolicy"` // actions of everyone
}

// Policy allows some users actions: read, create, update, delete or
// detectManifestCollision.
type Policy struct {
	Users      []string    `mapstructure:"users"`
	Groups     []string    `mapstructure:"groups"`
	Actions    []string    `mapstructure:"actions"`
	Conditions []Condition `mapstructure:"conditions"`
}

// Condition is an expression that must be true, and what is said if it is not.
type Condition struct {
	Expression string `mapstructure:"expression"`
	Message    string `mapstructure:"message"`
}

// Group is users that policies name together.
type Group struct {
	Users []string `mapstructure:"users"`
}

// MetricsPolicy is who may read metrics.
type MetricsPolicy struct {
	Users           []string `mapstructure:"users"`
	AnonymousPolicy []string `mapstructure:"anonymousPolicy"`
}

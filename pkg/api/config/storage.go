package config

import "time"

// Storage is the default image store, and those beside it.
type Storage struct {
	Store `mapstructure:",squash"`

	// SubPaths are the image stores of repositories below a prefix, as "/infra".
	SubPaths map[string]SubPath `mapstructure:"subPaths"`
}

// SubPath is the image store of the repositories below a prefix.
type SubPath struct {
	Store `mapstructure:",squash"`
}

// Store is the settings of one image store.
type Store struct {
	RootDirectory string `mapstructure:"rootDirectory"`

	Dedupe          bool     `mapstructure:"dedupe"`
	RemoteCache     bool     `mapstructure:"remoteCache"` // upstream's; CacheDriver alone decides
	CacheDriver     Settings `mapstructure:"cacheDriver"` // nil = boltdb
	StorageDriver   Settings `mapstructure:"storageDriver"`
	RedirectBlobURL bool     `mapstructure:"redirectBlobURL"`

	// Commit: a manifest's 201 means that the image survives a power cut.
	Commit bool `mapstructure:"commit"`

	GC           bool          `mapstructure:"gc"`
	GCDelay      time.Duration `mapstructure:"gcDelay"`
	GCInterval   time.Duration `mapstructure:"gcInterval"`
	GCTimeWindow string        `mapstructure:"gcTimeWindow"` // "HH:MM-HH:MM", UTC; "" = any time

	Quota []Quota `mapstructure:"quota"` // empty = no bound

	MaxRepos  int        `mapstructure:"maxRepos"` // 0 = no limit
	Retention *Retention `mapstructure:"retention"`

	Sparse       bool          `mapstructure:"sparse"`   // take manifests that name what is not there
	History      time.Duration `mapstructure:"history"`  // how long the history of tags is kept
	Undelete     time.Duration `mapstructure:"undelete"` // how long bytes that only history names are kept
	Buffers      int64         `mapstructure:"buffers"`  // bytes of memory that all uploads share; 0 in a sub-path = those of the default store
	LockWait     time.Duration `mapstructure:"lockWait"` // for another process to leave the root
	SingleWriter bool          `mapstructure:"singleWriter"`
	FastRestart  bool          `mapstructure:"fastRestart"` // no effect: a start scans nothing
}

// Quota bounds what the repositories of a prefix hold.
type Quota struct {
	Prefix       string `mapstructure:"prefix"`       // the repository of that name and all below it; "" = all of the store
	Bytes        int64  `mapstructure:"bytes"`        // 0 = no bound
	Repositories int64  `mapstructure:"repositories"` // 0 = no bound
}

// Retention says which tags and untagged manifests are removed.
type Retention struct {
	DryRun   bool              `mapstructure:"dryRun"`
	Delay    *time.Duration    `mapstructure:"delay"` // nil = gcDelay
	Policies []RetentionPolicy `mapstructure:"policies"`
}

// RetentionPolicy is what is kept in some repositories.
type RetentionPolicy struct {
	Repositories    []string       `mapstructure:"repositories"` // globs
	DeleteReferrers bool           `mapstructure:"deleteReferrers"`
	DeleteUntagged  bool           `mapstructure:"deleteUntagged"`
	KeepTags        []KeepTags     `mapstructure:"keepTags"` // empty = all tags
	KeepUntagged    []KeepUntagged `mapstructure:"keepUntagged"`
}

// KeepTags is a rule for tags. One that is met keeps a tag.
type KeepTags struct {
	KeepUntagged `mapstructure:",squash"`

	Patterns []string `mapstructure:"patterns"` // regular expressions; empty = all tags
}

// KeepUntagged is a rule for manifests without a tag. Zero values ask for nothing.
type KeepUntagged struct {
	PulledWithin            time.Duration `mapstructure:"pulledWithin"`
	PushedWithin            time.Duration `mapstructure:"pushedWithin"`
	MostRecentlyPushedCount int           `mapstructure:"mostRecentlyPushedCount"`
	MostRecentlyPulledCount int           `mapstructure:"mostRecentlyPulledCount"`
}

// DefaultBuffers is how many bytes of memory all uploads of a store share.
const DefaultBuffers = 64 << 20

// SetDefaults fills in what the default store has where the file says nothing.
func (s *Storage) SetDefaults() {
	s.Store = storeDefaults()
	s.Dedupe = true
	s.GC = true
}

// SetDefaults fills in what a store below a prefix has where the file says nothing.
func (s *SubPath) SetDefaults() {
	s.Store = storeDefaults()
	s.Buffers = 0
}

// SetDefaults fills in what a policy is where the file says nothing.
func (p *RetentionPolicy) SetDefaults() { p.DeleteUntagged = true }

func storeDefaults() Store {
	const day = 24 * time.Hour

	return Store{
		Commit:     true,
		GCDelay:    time.Hour,
		GCInterval: time.Hour,
		History:    30 * day,
		Undelete:   day,
		Buffers:    DefaultBuffers,
		LockWait:   10 * time.Second,
	}
}

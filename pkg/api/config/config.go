// Package config holds zot's configuration: plain structs, one field for each key of
// the file, and their defaults. pkg/cli loads and checks them; after that they are
// only read.
//
// A field carries the name of its key in a mapstructure tag. A pointer is nil where
// its key is absent and that makes a difference. Types that occur in a list or a map,
// or that are nil unless the file names them, have a method SetDefaults; pkg/cli calls
// it on each value before it reads the keys that the file has.
package config

// DistSpecVersion is the version of the OCI distribution-spec that zot speaks.
const DistSpecVersion = "1.1.1"

// Config is a whole configuration file.
type Config struct {
	DistSpecVersion string     `mapstructure:"distSpecVersion"`
	Storage         Storage    `mapstructure:"storage"`
	HTTP            HTTP       `mapstructure:"http"`
	Log             Log        `mapstructure:"log"`
	Extensions      Extensions `mapstructure:"extensions"`
	Scheduler       Scheduler  `mapstructure:"scheduler"`
	Cluster         *Cluster   `mapstructure:"cluster"`
}

// Log says what is logged, and where to.
type Log struct {
	Level  string `mapstructure:"level"`  // debug, info, warn or error
	Output string `mapstructure:"output"` // a file that is appended to; "" = standard output
	Audit  string `mapstructure:"audit"`  // a file; "" = no audit log
}

// Scheduler bounds background work.
type Scheduler struct {
	NumWorkers int `mapstructure:"numWorkers"` // 0 = 4 for each CPU
}

// Cluster lists the members of an upstream cluster.
type Cluster struct {
	Members []string    `mapstructure:"members"` // host:port
	HashKey string      `mapstructure:"hashKey"` // 16 characters
	TLS     *ClusterTLS `mapstructure:"tls"`
}

// ClusterTLS is how the members of a cluster know each other: paths of PEM files.
type ClusterTLS struct {
	Cert   string `mapstructure:"cert"`
	Key    string `mapstructure:"key"`
	CACert string `mapstructure:"cacert"`
}

// Settings is an object whose keys depend on the value of one of them, as those of a
// driver do. The keys are in lower case.
type Settings map[string]any

// Name returns the value of the key "name", "" if there is none.
func (s Settings) Name() string { return s.String("name") }

// String returns the value of key, which is in lower case, or "" if it is absent or
// no string.
func (s Settings) String(key string) string {
	value, _ := s[key].(string)

	return value
}

// Default returns the configuration of an empty file. It lacks only
// storage.rootDirectory.
func Default() *Config {
	cfg := &Config{
		DistSpecVersion: DistSpecVersion,
		Log:             Log{Level: "debug"},
	}
	cfg.Storage.SetDefaults()
	cfg.HTTP.SetDefaults()

	return cfg
}

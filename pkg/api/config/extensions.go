package config

import "time"

// Extensions is what zot offers besides the distribution-spec. One that is nil is
// off; one that is there is on unless its key enable is false.
type Extensions struct {
	Search    *Search    `mapstructure:"search"`
	Sync      *Sync      `mapstructure:"sync"`
	Metrics   *Metrics   `mapstructure:"metrics"`
	Scrub     *Scrub     `mapstructure:"scrub"`
	Lint      *Lint      `mapstructure:"lint"`
	UI        *Extension `mapstructure:"ui"`
	Mgmt      *Extension `mapstructure:"mgmt"`
	UserPrefs *Extension `mapstructure:"userprefs"`
	Trust     *Trust     `mapstructure:"trust"`
	Events    *Events    `mapstructure:"events"`
}

// Extension is what all extensions have.
type Extension struct {
	Enable bool `mapstructure:"enable"`
}

// SetDefaults turns the extension on.
func (e *Extension) SetDefaults() { e.Enable = true }

// On says whether the extension is there and enabled.
func (e *Extension) On() bool { return e != nil && e.Enable }

// Search answers questions about what is stored.
type Search struct {
	Extension `mapstructure:",squash"`

	CVE *CVE `mapstructure:"cve"`
}

// CVE scans images for known vulnerabilities.
type CVE struct {
	UpdateInterval time.Duration `mapstructure:"updateInterval"`
	Trivy          Trivy         `mapstructure:"trivy"`
}

// Trivy is the settings of the scanner.
type Trivy struct {
	DBRepository       string   `mapstructure:"dbRepository"`
	JavaDBRepository   string   `mapstructure:"javaDBRepository"`
	VulnSeveritySource []string `mapstructure:"vulnSeveritySources"`
	SBOM               SBOM     `mapstructure:"sbom"`
}

// SBOM is whether a list of an image's parts is made, and its format.
type SBOM struct {
	Enable bool   `mapstructure:"enable"`
	Format string `mapstructure:"format"`
}

// Metrics is what Prometheus reads.
type Metrics struct {
	Extension `mapstructure:",squash"`

	Prometheus Prometheus `mapstructure:"prometheus"`
}

// Prometheus says where metrics are.
type Prometheus struct {
	Path string `mapstructure:"path"`
}

// SetDefaults fills in what is where the file says nothing.
func (m *Metrics) SetDefaults() {
	m.Enable = true
	m.Prometheus.Path = "/metrics"
}

// Scrub reads all that is stored, and compares it with its digests.
type Scrub struct {
	Extension `mapstructure:",squash"`

	Interval time.Duration `mapstructure:"interval"` // at least 2 hours
}

// SetDefaults fills in what is where the file says nothing.
func (s *Scrub) SetDefaults() {
	s.Enable = true
	s.Interval = 24 * time.Hour
}

// Lint refuses images without some annotations.
type Lint struct {
	Extension `mapstructure:",squash"`

	MandatoryAnnotations []string `mapstructure:"mandatoryAnnotations"`
}

// Trust verifies signatures.
type Trust struct {
	Extension `mapstructure:",squash"`

	Cosign   bool `mapstructure:"cosign"`
	Notation bool `mapstructure:"notation"`
}

// Events tells others what happens.
type Events struct {
	Extension `mapstructure:",squash"`

	Sinks []Sink `mapstructure:"sinks"`
}

// Sink is where events go.
type Sink struct {
	Type        string            `mapstructure:"type"` // http or nats
	Address     string            `mapstructure:"address"`
	Channel     string            `mapstructure:"channel"`
	Timeout     time.Duration     `mapstructure:"timeout"`
	Proxy       string            `mapstructure:"proxy"`
	Headers     map[string]string `mapstructure:"headers"`
	Credentials Settings          `mapstructure:"credentials"`
	TLS         Settings          `mapstructure:"tls"`
}

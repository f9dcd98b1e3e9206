package config

// Auth is how clients say who they are. Without any of its ways all are anonymous.
type Auth struct {
	FailDelay int `mapstructure:"failDelay"` // seconds before a failed login is answered

	HTPasswd *HTPasswd `mapstructure:"htpasswd"`
	LDAP     *LDAP     `mapstructure:"ldap"`
	Bearer   *Bearer   `mapstructure:"bearer"`
	OpenID   *OpenID   `mapstructure:"openid"`
	APIKey   bool      `mapstructure:"apikey"`
	MTLS     *MTLS     `mapstructure:"mtls"`

	SessionKeysFile string   `mapstructure:"sessionKeysFile"`
	SessionDriver   Settings `mapstructure:"sessionDriver"` // name: local or redis
	SecureSession   *bool    `mapstructure:"secureSession"`
}

// HTPasswd is a file of users and hashes of their passwords.
type HTPasswd struct {
	Path string `mapstructure:"path"`
}

// LDAP is a directory of users.
type LDAP struct {
	Address            string `mapstructure:"address"`
	Port               int    `mapstructure:"port"`
	BaseDN             string `mapstructure:"baseDN"`
	UserAttribute      string `mapstructure:"userAttribute"`
	UserFilter         string `mapstructure:"userFilter"`
	UserGroupAttribute string `mapstructure:"userGroupAttribute"`
	CredentialsFile    string `mapstructure:"credentialsFile"` // holds bindDN and bindPassword
	Insecure           bool   `mapstructure:"insecure"`
	StartTLS           bool   `mapstructure:"startTLS"`
	SkipVerify         bool   `mapstructure:"skipVerify"`
	SubtreeSearch      bool   `mapstructure:"subtreeSearch"`
	CACert             string `mapstructure:"caCert"`
}

// Bearer is tokens that another service signs.
type Bearer struct {
	Realm                 string   `mapstructure:"realm"`
	Service               string   `mapstructure:"service"`
	Cert                  string   `mapstructure:"cert"` // path of the public key or certificate
	OIDC                  []OIDC   `mapstructure:"oidc"`
	AWSSecretsManager     Settings `mapstructure:"awsSecretsManager"`
	UpstreamTokenEndpoint string   `mapstructure:"upstreamTokenEndpoint"`
}

// OIDC is an issuer whose identity tokens are taken.
type OIDC struct {
	Issuer                   string        `mapstructure:"issuer"`
	Audiences                []string      `mapstructure:"audiences"`
	ClaimMapping             *ClaimMapping `mapstructure:"claimMapping"`
	CertificateAuthority     string        `mapstructure:"certificateAuthority"` // PEM
	CertificateAuthorityFile string        `mapstructure:"certificateAuthorityFile"`
	SkipIssuerVerification   bool          `mapstructure:"skipIssuerVerification"`
}

// ClaimMapping makes a user of the claims of a token.
type ClaimMapping struct {
	Username    string            `mapstructure:"username"`
	Groups      string            `mapstructure:"groups"`
	Variables   []ClaimVariable   `mapstructure:"variables"`
	Validations []ClaimValidation `mapstructure:"validations"`
}

// ClaimVariable names an expression for those that follow.
type ClaimVariable struct {
	Name       string `mapstructure:"name"`
	Expression string `mapstructure:"expression"`
}

// ClaimValidation is an expression that must be true, and what is said if it is not.
type ClaimValidation struct {
	Expression string `mapstructure:"expression"`
	Message    string `mapstructure:"message"`
}

// OpenID is log-in by a browser.
type OpenID struct {
	Providers            map[string]Provider `mapstructure:"providers"`
	CallbackAllowOrigins []string            `mapstructure:"callbackAllowOrigins"`
}

// Provider is an OpenID provider.
type Provider struct {
	Name            string               `mapstructure:"name"` // as users see it
	CredentialsFile string               `mapstructure:"credentialsFile"`
	ClientID        string               `mapstructure:"clientid"`
	ClientSecret    string               `mapstructure:"clientsecret"`
	Issuer          string               `mapstructure:"issuer"`
	KeyPath         string               `mapstructure:"keypath"`
	Scopes          []string             `mapstructure:"scopes"`
	ClaimMapping    ProviderClaimMapping `mapstructure:"claimMapping"`
}

// ProviderClaimMapping names the claims that hold a user's name and groups.
type ProviderClaimMapping struct {
	Username string `mapstructure:"username"`
	Groups   string `mapstructure:"groups"`
}

// MTLS takes the user's name from the client's certificate.
type MTLS struct {
	IdentityAttributes []string `mapstructure:"identityAttributes"` // the first that a certificate has
	URISANPattern      string   `mapstructure:"uriSanPattern"`
	URISANIndex        int      `mapstructure:"uriSanIndex"`
	DNSSANIndex        int      `mapstructure:"dnsSanIndex"`
	EmailSANIndex      int      `mapstructure:"emailSanIndex"`
}

// SetDefaults fills in what is where the file says nothing.
func (m *MTLS) SetDefaults() { m.IdentityAttributes = []string{"CommonName"} }

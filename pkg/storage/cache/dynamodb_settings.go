package cache

import (
	"net/url"
)

// DynamoDBName is the name of this driver in a configuration.
const DynamoDBName = "dynamodb"

// dynamoKeys are the settings of a DynamoDB.
var dynamoKeys = []string{"region", "endpoint", "cacheTablename"}

// dynamoIgnored are tables of an upstream zot: what it keeps in them is elsewhere here.
var dynamoIgnored = []string{
	"repoMetaTablename", "imageMetaTablename", "repoBlobsInfoTablename",
	"userDataTablename", "apiKeyTablename", "versionTablename",
}

// dynamoOptions are the settings of a DynamoDB, read.
type dynamoOptions struct {
	region   string // "" = what the SDK finds in its environment
	endpoint string // "" = that of the region
	table    string
}

// parseDynamoDB reads settings and says all that is wrong with them.
func parseDynamoDB(given map[string]any) (dynamoOptions, []*SettingError) {
	s := &settings{given: given}
	s.onlyKnown(append(dynamoKeys[:len(dynamoKeys):len(dynamoKeys)], dynamoIgnored...)...)

	opts := dynamoOptions{
		region:   s.text("region"),
		endpoint: s.text("endpoint"),
		table:    s.text("cacheTablename"),
	}

	if opts.table == "" {
		s.wrong("cacheTablename", "is missing", "name the table that digests are kept in")
	} else if !isTableName(opts.table) {
		s.wrong("cacheTablename", "is no name of a table", "write 3 to 255 of the characters a-z, A-Z, 0-9, _ - .")
	}

	address, err := url.Parse(opts.endpoint)
	if opts.endpoint != "" && (err != nil || address.Host == "" || address.Scheme != "http" && address.Scheme != "https") {
		s.wrong("endpoint", "is no URL", `write it as "https://host:8000", or leave it out for that of the region`)
	}

	for _, key := range dynamoIgnored {
		s.text(key)
	}

	return opts, s.mistakes
}

// isTableName says whether DynamoDB takes the name; "Supported data types and naming
// rules" of its developer guide has the rule.
func isTableName(name string) bool {
	for _, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '_' && c != '-' && c != '.' {
			return false
		}
	}

	return len(name) >= 3 && len(name) <= 255
}

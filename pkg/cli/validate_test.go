package cli

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/smartystreets/goconvey/convey"
)

// inScratch makes a directory the current one, with the files that configurations of
// these tests name.
func inScratch(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	mustMakeFiles(t)

	for _, dir := range []string{"data", "data/inner", "elsewhere"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}

	if err := os.Symlink("data", "link"); err != nil {
		t.Fatal(err)
	}
}

// mustCheck returns what Load says of a JSON file.
func mustCheck(t *testing.T, content string) (Mistakes, []Warning) {
	t.Helper()

	_, warnings, err := Load(mustWrite(t, "config.json", content))

	var mistakes Mistakes
	if err != nil && !errors.As(err, &mistakes) {
		t.Fatal(err)
	}

	return mistakes, warnings
}

// withStorage adds what a whole file needs to some of its sections.
func withStorage(section string) string {
	if strings.Contains(section, `"storage"`) {
		return "{" + section + "}"
	}

	return `{"storage": {"rootDirectory": "data"}, ` + section + "}"
}

func store(keys string) string { return `"storage": {"rootDirectory": "data", ` + keys + "}" }

// bucket is the section of a store in a bucket, with these keys of its driver.
func bucket(keys string) string {
	if keys != "" {
		keys = ", " + keys
	}

	return store(`"storageDriver": {"name": "s3", "region": "r"` + keys + "}")
}

// ldap is the section of a directory, with more of its keys.
// mixed lets everyone read, and alice do more.
func mixed(http string, auth ...string) string {
	return `"http": {` + http + `"auth": {` + strings.Join(auth, "") + `"htpasswd": {"path": "htpasswd"}}, ` +
		`"accessControl": {"repositories": {"**": {"anonymousPolicy": ["read"]}}}}`
}

func ldap(keys string) string {
	return `"http": {"auth": {"ldap": {"address": "a", "baseDN": "b", "userAttribute": "c", ` + keys + `}}}`
}

// openID is the section of a server whose users log in at a provider.
func openID(provider string) string {
	return `"http": {"externalUrl": "https://z", "auth": {"openid": {"providers": {` + provider + `}}}}`
}

// mtls is the section of a server that takes client certificates.
func mtls(keys string) string {
	return `"http": {"tls": {"cert": "server.crt", "key": "server.key", "cacert": "server.crt"}, "auth": {"mtls": {` + keys + `}}}`
}

// policies is a store with one policy of retention.
func policies(keys string) string { return store(`"retention": {"policies": [{` + keys + `}]}`) }

// A row is a section with one mistake: the path of its key, and a word of what is
// said about it.
var rows = []struct{ section, path, text string }{
	// names and types
	{`"htp": {}`, "htp", `did you mean "http"?`},
	{`"http": {"prot": 1}`, "http.prot", `did you mean "port"?`},
	{`"http": {"xyzzy": null}`, "http.xyzzy", "known here: accessControl, address"},
	{`"http": {"port": "1", "PORT": "2"}`, "http.port", "twice"},
	{`"http": {"port": true}`, "http.port", "is true, but must be a string"},
	{`"http": {"tls": []}`, "http.tls", "is a list, but must be an object"},
	{`"http": {"compat": {}}`, "http.compat", "is an object, but must be a list"},
	{`"http": {"compat": [null]}`, "http.compat[0]", "has no value"},
	{`"http": {"auth": {"failDelay": 1.5}}`, "http.auth.failDelay", "whole number"},
	{`"http": {"readTimeout": "1 hour"}`, "http.readTimeout", "not a duration"},
	{`"http": {"readTimeout": 60}`, "http.readTimeout", "with a unit"},
	{store(`"gc": "maybe"`), "storage.gc", "true or false"},
	{store(`"gc": 2`), "storage.gc", "true or false"},
	{store(`"buffers": "64MiB"`), "storage.buffers", "whole number"},
	{store(`"subPaths": {"/a": null}`), "storage.subPaths[/a]", "has no value"},
	{store(`"subPaths": {"/a": {"rootDirectory": "elsewhere", "subPaths": {}}}`), "storage.subPaths[/a].subPaths", "unknown key"},
	{store(`"cacheDriver": {"name": "boltdb", "Name": "boltdb"}`), "storage.cacheDriver.name", "twice"},

	// storage
	{`"storage": {}`, "storage.rootDirectory", "is missing"},
	{`"storage": {"rootDirectory": "htpasswd"}`, "storage.rootDirectory", "not a directory"},
	{`"storage": {"rootDirectory": "htpasswd/x"}`, "storage.rootDirectory", "not a directory"},
	{store(`"gcDelay": "-1h"`), "storage.gcDelay", "negative"},
	{store(`"gcInterval": "-1s"`), "storage.gcInterval", "negative"},
	{store(`"lockWait": "-1s"`), "storage.lockWait", "negative"},
	{store(`"history": "-1s"`), "storage.history", "negative"},
	{store(`"undelete": "-1s"`), "storage.undelete", "negative"},
	{store(`"gcTimeWindow": "22-4"`), "storage.gcTimeWindow", "no time window"},
	{store(`"gcTimeWindow": "22:00"`), "storage.gcTimeWindow", "no time window"},
	{store(`"gcTimeWindow": "22:00-25:00"`), "storage.gcTimeWindow", "no time window"},
	{store(`"gcTimeWindow": "2:00-05:00"`), "storage.gcTimeWindow", "no time window"},
	{store(`"gcTimeWindow": "22:00-22:00"`), "storage.gcTimeWindow", "ends when it begins"},
	{policies(`"repositories": ["infra/[a"]`), "storage.retention.policies[0].repositories[0]", `"infra/[a" does not compile`},
	{policies(`"keepTags": [{"patterns": ["v(.*"]}]`), "storage.retention.policies[0].keepTags[0].patterns[0]", `"v(.*" does not compile`},
	{policies(`"keepTags": [{"pulledWithin": "-1h"}]`), "storage.retention.policies[0].keepTags[0].pulledWithin", "negative"},
	{policies(`"keepUntagged": [{"mostRecentlyPushedCount": -1}]`), "storage.retention.policies[0].keepUntagged[0].mostRecentlyPushedCount", "negative"},
	{store(`"retention": {"delay": "-1h", "policies": [{}]}`), "storage.retention.delay", "negative"},
	{store(`"maxRepos": -1`), "storage.maxRepos", "negative"},
	{store(`"maxRepos": 5`), "storage.maxRepos", "not built yet"},
	{store(`"buffers": 0`), "storage.buffers", "is 0"},
	{store(`"buffers": 1000`), "storage.buffers", "too few"},
	{store(`"redirectBlobURL": true`), "storage.redirectBlobURL", "no URLs"},
	{store(`"subPaths": {"a": {"rootDirectory": "elsewhere"}}`), "storage.subPaths[a]", "no prefix"},
	{store(`"subPaths": {"/": {"rootDirectory": "elsewhere"}}`), "storage.subPaths[/]", "no prefix"},
	{store(`"subPaths": {"/A": {"rootDirectory": "elsewhere"}}`), "storage.subPaths[/A]", "no prefix"},
	{store(`"subPaths": {"/a": {}}`), "storage.subPaths[/a].rootDirectory", "is missing"},
	{store(`"subPaths": {"/a": {"rootDirectory": "elsewhere", "gcDelay": "-1h"}}`), "storage.subPaths[/a].gcDelay", "negative"},

	// roots
	{store(`"subPaths": {"/a": {"rootDirectory": "./data/"}}`), "storage.subPaths[/a].rootDirectory", "same place as storage.rootDirectory"},
	{store(`"subPaths": {"/a": {"rootDirectory": "link"}}`), "storage.subPaths[/a].rootDirectory", "same place"},
	{
		store(`"subPaths": {"/a": {"rootDirectory": "data", "dedupe": true, "storageDriver": {"name": "s3", "bucket": "b", "region": "r"}}}`),
		"storage.subPaths[/a].rootDirectory", "same place", // as its cache is
	},
	{store(`"subPaths": {"/a": {"rootDirectory": "data/inner"}}`), "storage.subPaths[/a].rootDirectory", "is inside"},
	{store(`"subPaths": {"/a": {"rootDirectory": "link/not/yet"}}`), "storage.subPaths[/a].rootDirectory", "is inside"},
	{store(`"subPaths": {"/a": {"rootDirectory": "."}}`), "storage.subPaths[/a].rootDirectory", "holds storage.rootDirectory"},

	// drivers
	{store(`"cacheDriver": {}`), "storage.cacheDriver.name", "is missing"},
	{store(`"cacheDriver": {"name": "rocksdb"}`), "storage.cacheDriver.name", `no cache driver "rocksdb"`},
	{store(`"cacheDriver": {"name": "redis"}`), "storage.cacheDriver.url", "is missing"},
	{store(`"cacheDriver": {"name": "redis", "url": "http://a"}`), "storage.cacheDriver.url", "scheme"},
	{store(`"cacheDriver": {"name": "redis", "url": "redis://:pa ss@a:b"}`), "storage.cacheDriver.url", "is no URL"},
	{store(`"cacheDriver": {"name": "redis", "url": "redis://a/0?poolsize=1"}`), "storage.cacheDriver.url", "poolsize"},
	{store(`"cacheDriver": {"name": "redis", "url": "redis://a", "addr": "b:1"}`), "storage.cacheDriver.addr", "beside url"},
	{store(`"cacheDriver": {"name": "redis", "addr": "a:1", "poolsize": 1}`), "storage.cacheDriver.poolsize", `did you mean "pool_size"?`},
	{store(`"cacheDriver": {"name": "redis", "addr": "a:1", "pool_size": 0}`), "storage.cacheDriver.pool_size", "from 1"},
	{store(`"cacheDriver": {"name": "redis", "addr": "a:1", "read_timeout": 5}`), "storage.cacheDriver.read_timeout", "unit"},
	{store(`"cacheDriver": {"name": "redis", "addr": ["a:1", "b"]}`), "storage.cacheDriver.addr", "number 2"},
	{store(`"cacheDriver": {"name": "redis", "addr": ["a:1", "b:1"], "db": 1}`), "storage.cacheDriver.db", "cluster"},
	{store(`"cacheDriver": {"name": "redis", "addr": "a:1", "sentinel_password": "s"}`), "storage.cacheDriver.sentinel_password", "master_name"},
	{store(`"cacheDriver": {"name": "dynamodb"}`), "storage.cacheDriver.cacheTablename", "is missing"},
	{store(`"cacheDriver": {"name": "dynamodb", "cacheTablename": "a b"}`), "storage.cacheDriver.cacheTablename", "no name of a table"},
	{store(`"cacheDriver": {"name": "dynamodb", "cacheTablename": "Blobs", "endpoint": "a:1"}`), "storage.cacheDriver.endpoint", "is no URL"},
	{store(`"cacheDriver": {"name": "dynamodb", "cacheTablename": "Blobs", "regoin": "a"}`), "storage.cacheDriver.regoin", `did you mean "region"?`},
	{store(`"cacheDriver": {"name": "boltdb", "ulr": 1}`), "storage.cacheDriver.ulr", "unknown key"},
	{store(`"storageDriver": {}`), "storage.storageDriver.name", "is missing"},
	{store(`"storageDriver": {"name": "swift"}`), "storage.storageDriver.name", `no storage driver "swift"`},
	{bucket(``), "storage.storageDriver.bucket", "is missing"},
	{bucket(`"bucket": "b", "regionendpoint": "ftp://x"`), "storage.storageDriver.regionendpoint", "no address of a server"},
	{bucket(`"bucket": "b", "accesskey": "x"`), "storage.storageDriver.secretkey", "is missing"},
	{bucket(`"bucket": "b", "secretkey": "x"`), "storage.storageDriver.accesskey", "is missing"},
	{bucket(`"bucket": "b", "sessiontoken": "x"`), "storage.storageDriver.sessiontoken", "no accesskey"},
	{bucket(`"bucket": "b", "chunksize": 1000`), "storage.storageDriver.chunksize", "S3 takes parts of"},
	{bucket(`"bucket": "b", "secure": "maybe"`), "storage.storageDriver.secure", "must be true or false"},
	{bucket(`"bucket": "b", "keyid": "x"`), "storage.storageDriver.keyid", "encrypt is false"},
	{bucket(`"bucket": "b", "acceskey": "x"`), "storage.storageDriver.acceskey", `did you mean "accesskey"`},
	{store(`"storageDriver": {"name": "s3", "bucket": "b"}`), "storage.storageDriver.region", "is missing"},
	{
		store(`"storageDriver": {"name": "s3", "region": "r", "bucket": "b", "rootdirectory": "/x"},
			"subPaths": {"/a": {"rootDirectory": "other", "storageDriver": {"name": "s3", "region": "r", "bucket": "b", "rootdirectory": "/x/y"}}}`),
		"storage.subPaths[/a].storageDriver.rootdirectory", "is inside",
	},
	{store(`"storageDriver": {"name": "gcs"}`), "storage.storageDriver.name", "not built yet"},
	{store(`"storageDriver": {"name": "azure"}`), "storage.storageDriver.name", "not built yet"},

	{store(`"quota": [{"prefix": "a", "bytes": 0}]`), "storage.quota[0].bytes", "is 0"},
	{store(`"quota": [{"prefix": "a", "bytes": -1}]`), "storage.quota[0].bytes", "is -1"},
	{store(`"quota": [{"prefix": "a", "repositories": -1}]`), "storage.quota[0].repositories", "is -1"},
	{store(`"quota": [{"prefix": "a"}]`), "storage.quota[0]", "bounds nothing"},
	{store(`"quota": [{"prefix": "A/", "bytes": 1}]`), "storage.quota[0].prefix", "no prefix of repositories"},
	{store(`"quota": [{"prefix": "a", "bytes": 1}, {"prefix": "a", "repositories": 1}]`), "storage.quota[1].prefix", "quota[0], too"},
	{
		store(`"subPaths": {"/a": {"rootDirectory": "other", "quota": [{"bytes": 1}, {"repositories": 1}]}}`),
		"storage.subPaths[/a].quota[1].prefix", "quota[0], too",
	},
	{
		store(`"subPaths": {"/a": {"rootDirectory": "other", "quota": [{"prefix": "b", "bytes": 1}]}}`),
		"storage.subPaths[/a].quota[0].prefix", "they are in that of storage",
	},
	{
		store(`"quota": [{"prefix": "a/b", "bytes": 1}], "subPaths": {"/a": {"rootDirectory": "other"}}`),
		"storage.quota[0].prefix", "they are in that of storage.subPaths[/a]",
	},

	// http
	{`"http": {"port": "65536"}`, "http.port", "no port"},
	{`"http": {"port": -1}`, "http.port", "no port"},
	{`"http": {"port": ""}`, "http.port", "no port"},
	{`"http": {"port": "080"}`, "http.port", "leading zeros"},
	{`"http": {"readTimeout": "-1s"}`, "http.readTimeout", "negative"},
	{`"http": {"writeTimeout": "-1s"}`, "http.writeTimeout", "negative"},
	{`"http": {"externalUrl": "registry.example.com"}`, "http.externalUrl", "no URL"},
	{`"http": {"compat": ["docker1"]}`, "http.compat[0]", "docker2s2"},
	{`"http": {"ratelimit": {"rate": -1}}`, "http.ratelimit.rate", "negative"},
	{`"http": {"ratelimit": {"methods": [{"method": "get", "rate": 1}]}}`, "http.ratelimit.methods[0].method", "GET"},
	{`"http": {"ratelimit": {"methods": [{"method": "PUT", "rate": -1}]}}`, "http.ratelimit.methods[0].rate", "negative"},
	{`"http": {"ratelimit": {"methods": [{"method": "GET"}, {"method": "GET"}]}}`, "http.ratelimit.methods[1].method", "twice"},
	{`"http": {"ratelimit": {"perClient": {"burst": 5}}}`, "http.ratelimit.perClient.rate", "is missing"},
	{`"http": {"ratelimit": {"perClient": {"burst": 5, "uploads": 5}}}`, "http.ratelimit.perClient.rate", "is missing"},
	{`"http": {"ratelimit": {"perClient": {"uploads": -1}}}`, "http.ratelimit.perClient.uploads", "negative"},
	{`"http": {"ratelimit": {"perClient": {"rate": -1}}}`, "http.ratelimit.perClient.rate", "negative"},
	{`"http": {"ratelimit": {"perClient": {"rate": 5, "burst": -1}}}`, "http.ratelimit.perClient.burst", "negative"},
	{`"http": {"ratelimit": {"perClient": {"rate": 5, "burst": 4}}}`, "http.ratelimit.perClient.burst", "less than the rate"},
	{`"http": {"tls": {"cert": "server.crt"}}`, "http.tls.key", "is missing"},
	{`"http": {"tls": {"cert": "none", "key": "server.key"}}`, "http.tls.cert", "no such file"},
	{`"http": {"tls": {"cert": "data", "key": "server.key"}}`, "http.tls.cert", "not a file"},
	{`"http": {"tls": {"cert": "htpasswd", "key": "server.key"}}`, "http.tls.cert", "PEM"},
	{`"http": {"tls": {"cert": "server.crt", "key": "server.key", "cacert": "htpasswd"}}`, "http.tls.cacert", "no certificate"},

	// auth
	{`"http": {"auth": {"failDelay": -1}}`, "http.auth.failDelay", "negative"},
	{`"http": {"auth": {"htpasswd": {}}}`, "http.auth.htpasswd.path", "is missing"},
	{`"http": {"auth": {"htpasswd": {"path": "none"}}}`, "http.auth.htpasswd.path", "no such file"},
	{`"http": {"auth": {"htpasswd": {"path": "server.key"}}}`, "http.auth.htpasswd.path", "server.key: line 1: "},
	{`"http": {"auth": {"htpasswd": {"path": "data"}}}`, "http.auth.htpasswd.path", "not a file"},
	{`"http": {"auth": {"ldap": {"baseDN": "b", "userAttribute": "c"}}}`, "http.auth.ldap.address", "is missing"},
	{`"http": {"auth": {"ldap": {"address": "a", "userAttribute": "c"}}}`, "http.auth.ldap.baseDN", "is missing"},
	{`"http": {"auth": {"ldap": {"address": "a", "baseDN": "b"}}}`, "http.auth.ldap.userAttribute", "is missing"},
	{ldap(`"credentialsFile": "none"`), "http.auth.ldap.credentialsFile", "no such file"},
	{ldap(`"credentialsFile": "htpasswd"`), "http.auth.ldap.credentialsFile", "no JSON or YAML object"},
	{ldap(`"caCert": "none"`), "http.auth.ldap.caCert", "no such file"},
	{ldap(`"caCert": "htpasswd"`), "http.auth.ldap.caCert", "no certificate"},
	{ldap(`"port": 65536`), "http.auth.ldap.port", "no port"},
	{ldap(`"userFilter": "(a"`), "http.auth.ldap.userFilter", "filter"},
	{ldap(`"userFilter": "(uid=%s)"`), "http.auth.ldap.userFilter", "contains %s"},
	{`"http": {"auth": {"ldap": {"address": "ldap://a", "baseDN": "b", "userAttribute": "c"}}}`, "http.auth.ldap.address", "no name of a host"},
	{`"http": {"auth": {"ldap": {"address": "a:389", "baseDN": "b", "userAttribute": "c"}}}`, "http.auth.ldap.address", "no name of a host"},
	{`"http": {"auth": {"bearer": {"service": "b", "cert": "server.crt"}}}`, "http.auth.bearer.realm", "is missing"},
	{`"http": {"auth": {"bearer": {"realm": "a", "cert": "server.crt"}}}`, "http.auth.bearer.service", "is missing"},
	{`"http": {"auth": {"bearer": {"realm": "a", "service": "b"}}}`, "http.auth.bearer.cert", "is missing"},
	{`"http": {"auth": {"bearer": {"realm": "a", "service": "b", "cert": "none"}}}`, "http.auth.bearer.cert", "no such file"},
	{`"http": {"auth": {"bearer": {"realm": "a", "service": "b", "cert": "htpasswd"}}}`, "http.auth.bearer.cert", "no PEM block"},
	{`"http": {"auth": {"bearer": {"realm": "a", "service": "b", "cert": "server.key"}}}`, "http.auth.bearer.cert", "is no public key"},
	{`"http": {"auth": {"bearer": {"oidc": [{}]}}}`, "http.auth.bearer.oidc", "not built yet"},
	{`"http": {"auth": {"bearer": {"awsSecretsManager": {"region": "a"}}}}`, "http.auth.bearer.awsSecretsManager", "not built yet"},
	{`"http": {"auth": {"bearer": {"upstreamTokenEndpoint": "a"}}}`, "http.auth.bearer.upstreamTokenEndpoint", "not built yet"},
	{`"http": {"auth": {"mtls": {}}}`, "http.tls.cacert", "needs client certificates"},
	{mtls(`"identityAttributes": ["Serial"]`), "http.auth.mtls.identityAttributes[0]", "CommonName"},
	{mtls(`"identityAttributes": []`), "http.auth.mtls.identityAttributes", "is empty"},
	{mtls(`"uriSanPattern": "("`), "http.auth.mtls.uriSanPattern", "does not compile"},
	{mtls(`"uriSanIndex": -1`), "http.auth.mtls.uriSanIndex", "negative"},
	{openID(`"GitHub": {"clientid": "a"}`), "http.auth.openid.providers[GitHub]", "not built yet"},
	{openID(`"a": {"clientid": "a", "issuer": "https://a", "keypath": "htpasswd"}`), "http.auth.openid.providers[a].keypath", "not built yet"},
	{openID(`"a": {"issuer": "https://a"}`), "http.auth.openid.providers[a].clientid", "is missing"},
	{openID(`"a": {"credentialsFile": "none", "issuer": "https://a"}`), "http.auth.openid.providers[a].credentialsFile", "no such file"},
	{openID(`"a": {"credentialsFile": "htpasswd", "issuer": "https://a"}`), "http.auth.openid.providers[a].credentialsFile", "htpasswd"},
	{openID(`"a": {"clientid": "a"}`), "http.auth.openid.providers[a].issuer", "is missing"},
	{openID(`"a": {"clientid": "a", "issuer": "a"}`), "http.auth.openid.providers[a].issuer", "is no URL"},
	{openID(`"a/b": {"clientid": "a", "issuer": "https://a"}`), "http.auth.openid.providers[a/b]", "part of a URL"},
	{openID(``), "http.auth.openid.providers", "is missing"},
	{`"http": {"auth": {"openid": {"providers": {"a": {"clientid": "a", "issuer": "https://a"}}}}}`, "http.externalUrl", "is missing"},
	{
		`"http": {"externalUrl": "https://z", "auth": {"openid": {"callbackAllowOrigins": ["https://a/b"], "providers": {"a": {"clientid": "a", "issuer": "https://a"}}}}}`,
		"http.auth.openid.callbackAllowOrigins[0]", "is no origin",
	},
	{
		`"http": {"externalUrl": "https://z", "auth": {"sessionKeysFile": "htpasswd", "openid": {"providers": {"a": {"clientid": "a", "issuer": "https://a"}}}}}`,
		"http.auth.sessionKeysFile", "htpasswd",
	},
	{`"http": {"auth": {"apikey": true}}`, "http.auth.apikey", "nobody can log in"},
	{mixed(`"externalUrl": "https://z", `, `"sessionKeysFile": "htpasswd", `), "http.auth.sessionKeysFile", "htpasswd"},
	{`"http": {"auth": {"sessionKeysFile": "none"}}`, "http.auth.sessionKeysFile", "no such file"},
	{`"http": {"auth": {"sessionDriver": {"name": "etcd"}}}`, "http.auth.sessionDriver.name", "local, redis"},

	// access control
	{`"http": {"auth": {"htpasswd": {"path": "htpasswd"}}, "accessControl": {"repositories": {"[a": {}}}}`, "http.accessControl.repositories[[a]", `"[a" does not compile`},
	{`"http": {"auth": {"htpasswd": {"path": "htpasswd"}}, "accessControl": {"repositories": {"**": {"anonymousPolicy": ["write"]}}}}`, "http.accessControl.repositories[**].anonymousPolicy[0]", "read, create"},
	{`"http": {"auth": {"htpasswd": {"path": "htpasswd"}}, "accessControl": {"repositories": {"**": {"policies": [{"actions": ["push"]}]}}}}`, "http.accessControl.repositories[**].policies[0].actions[0]", "read, create"},
	{`"http": {"accessControl": {"repositories": {"**": {"policies": [{"users": ["bob"]}]}}}}`, "http.auth", "names users"},
	{`"http": {"accessControl": {"adminPolicy": {"users": ["bob"]}}}`, "http.auth", "names users"},
	{`"http": {"auth": {"htpasswd": {"path": "htpasswd"}}, "accessControl": {"repositories": {"**": {"policies": [{"users": ["bob"], "conditions": [{"expression": "true"}]}]}}}}`, "http.accessControl.repositories[**].policies[0].conditions", "remove the whole policy"},
	{`"http": {"auth": {"htpasswd": {"path": "htpasswd"}}, "accessControl": {"adminPolicy": {"conditions": [{"expression": "true"}]}}}`, "http.accessControl.adminPolicy.conditions", "not built yet"},
	{`"http": {"accessControl": {"metrics": {"users": ["bob"]}}}`, "http.auth", "names users"},
	{`"http": {"accessControl": {"repositories": {"**": {"defaultPolicy": ["read"]}}}}`, "http.auth", "names users"},
	{`"http": {"auth": {"htpasswd": {"path": "htpasswd"}}, "accessControl": {"adminPolicy": {"users": ["ann", ""], "actions": ["read"]}}}`, "http.accessControl.adminPolicy.users[1]", "is empty"},

	// log
	{`"log": {"level": "loud"}`, "log.level", "debug, info, warn, error"},
	{`"log": {"output": "none/zot.log"}`, "log.output", "no such file"},
	{`"log": {"audit": "none/audit.log"}`, "log.audit", "no such file"},
	{`"log": {"output": "data"}`, "log.output", "is a directory"},
	{`"log": {"output": "htpasswd/zot.log"}`, "log.output", "not a directory"},

	// extensions
	{`"extensions": {"ui": {}}`, "extensions.ui", "needs search"},
	{`"extensions": {"ui": {}, "search": {"enable": false}}`, "extensions.ui", "needs search"},
	{`"extensions": {"metrics": {"prometheus": {"path": "/a/../b"}}}`, "extensions.metrics.prometheus.path", "not a clean path"},
	{`"extensions": {"metrics": {"prometheus": {"path": "metrics"}}}`, "extensions.metrics.prometheus.path", "not a clean path"},
	{`"extensions": {"metrics": {"prometheus": {"path": "/"}}}`, "extensions.metrics.prometheus.path", "belongs to the registry"},
	{`"extensions": {"metrics": {"prometheus": {"path": "/v2"}}}`, "extensions.metrics.prometheus.path", "belongs to the registry"},
	{`"extensions": {"metrics": {"prometheus": {"path": "/v2/metrics"}}}`, "extensions.metrics.prometheus.path", "belongs to the registry"},
	{`"extensions": {"metrics": {"prometheus": {"path": "/readyz"}}}`, "extensions.metrics.prometheus.path", "belongs to the registry"},
	{`"extensions": {"metrics": {"prometheus": {"path": "/zot/auth/apikey"}}}`, "extensions.metrics.prometheus.path", "belongs to the registry"},
	{`"extensions": {"events": {"sinks": [{"type": "smtp", "address": "a"}]}}`, "extensions.events.sinks[0].type", "http, nats"},
	{`"extensions": {"trust": {}}`, "extensions.trust", "not built yet"},
	{`"extensions": {"sync": {}}`, "extensions.sync", "not built yet"},
}

func TestEachMistake(t *testing.T) {
	inScratch(t)

	for _, row := range rows {
		t.Run(row.section, func(t *testing.T) {
			mistakes, _ := mustCheck(t, withStorage(row.section))

			if len(mistakes) != 1 || mistakes[0].Path != row.path || !strings.Contains(mistakes[0].String(), row.text) {
				t.Errorf("mistakes:\n%s\nwant one of %s with %q", mistakes.Error(), row.path, row.text)
			}
		})
	}
}

// TestMistakesOfWhatIsNotBuilt has sections that are refused as a whole besides.
func TestMistakesOfWhatIsNotBuilt(t *testing.T) {
	inScratch(t)

	upstream := func(keys string) string {
		return `"extensions": {"sync": {"registries": [{"urls": ["https://a"], ` + keys + `}]}}`
	}

	for _, row := range []struct{ section, path, text string }{
		{`"http": {"accessControl": {"repositories": {"**": {"policies": [{"conditions": [{}]}]}}}}`, "http.accessControl.repositories[**].policies[0].conditions[0].expression", "is missing"},

		{upstream(`"maxRetries": 3`), "extensions.sync.registries[0].retryDelay", "is missing"},
		{upstream(`"maxRetryDelay": "1m"`), "extensions.sync.registries[0].retryDelay", "is missing"},
		{upstream(`"reqPerSec": "fast"`), "extensions.sync.registries[0].reqPerSec", "must be a number"},
		{upstream(`"pollInterval": "-1m"`), "extensions.sync.registries[0].pollInterval", "negative"},
		{upstream(`"content": [{"prefix": "a", "destination": "/", "stripPrefix": true}]`), "extensions.sync.registries[0].content[0].stripPrefix", "leaves no name"},
		{upstream(`"content": [{"prefix": "{a"}]`), "extensions.sync.registries[0].content[0].prefix", `"{a" does not compile`},
		{upstream(`"content": [{"prefix": "a", "tags": {"regex": "("}}]`), "extensions.sync.registries[0].content[0].tags.regex", "does not compile"},
		{`"extensions": {"sync": {"registries": [{}]}}`, "extensions.sync.registries[0].urls", "is missing"},
		{`"extensions": {"sync": {"registries": [{"urls": ["a"]}]}}`, "extensions.sync.registries[0].urls[0]", "is no URL"},
		{`"extensions": {"sync": {"credentialsFile": "none"}}`, "extensions.sync.credentialsFile", "no such file"},
	} {
		t.Run(row.path, func(t *testing.T) {
			mistakes, _ := mustCheck(t, withStorage(row.section))

			found := slices.ContainsFunc(mistakes, func(m Mistake) bool {
				return m.Path == row.path && strings.Contains(m.String(), row.text)
			})
			refused := strings.Contains(mistakes.Error(), "not built yet")

			if !found || !refused {
				t.Errorf("mistakes:\n%s\nwant %s with %q, and that it is not built yet", mistakes.Error(), row.path, row.text)
			}
		})
	}
}

func TestAllAtOnce(t *testing.T) {
	inScratch(t)

	Convey("All mistakes of a file are found at once, in the order of their paths", t, func() {
		mistakes, _ := mustCheck(t, `{
			"storage": {"rotDirectory": "data", "gc": "maybe", "subPaths": {"/A": {"dedupe": [], "gcDelay": "-1h"}}},
			"http": {"port": "99999", "tls": {"cert": "none"}, "accessControl": {"repositories": {"[": {}}}},
			"log": 5
		}`)

		var paths []string
		for _, mistake := range mistakes {
			paths = append(paths, mistake.Path)
		}

		So(paths, ShouldResemble, []string{
			"http.accessControl.repositories[[]", "http.port", "http.tls.cert", "http.tls.key",
			"log", "storage.gc", "storage.rootDirectory", "storage.rotDirectory",
			"storage.subPaths[/A]", "storage.subPaths[/A].dedupe", "storage.subPaths[/A].gcDelay",
			"storage.subPaths[/A].rootDirectory",
		})
	})

	Convey("What follows from a value of a wrong type is not reported besides", t, func() {
		mistakes, _ := mustCheck(t, `{"storage": {"rootDirectory": []}}`)

		So(mistakes, ShouldHaveLength, 1)
		So(mistakes[0].Problem, ShouldContainSubstring, "is a list")
	})

	Convey("A mistake is one line whatever is in it", t, func() {
		name, err := json.Marshal("a\nb\r")
		So(err, ShouldBeNil)

		mistakes, _ := mustCheck(t, `{"storage": {"rootDirectory": "data", "subPaths": {`+string(name)+`: 5}}}`)

		So(mistakes, ShouldHaveLength, 1)
		So(mistakes.Error(), ShouldNotContainSubstring, "\n")
	})

	Convey("A secret in an address is not printed", t, func() {
		mistakes, _ := mustCheck(t, withStorage(store(`"cacheDriver": {"name": "redis", "url": "redis://:s3cret@a:b"}`)))

		So(mistakes.Error(), ShouldNotContainSubstring, "s3cret")
	})
}

func TestWarnings(t *testing.T) {
	inScratch(t)

	for _, row := range []struct {
		section string
		paths   []string
	}{
		{`"http": {}`, nil},
		{store(`"gc": false`), nil},
		{store(`"fastRestart": true, "commit": false, "sparse": true, "dedupe": false, "remoteCache": true`), nil},
		{`"extensions": {"search": {"enable": false}, "sync": {"enable": false}, "trust": {"enable": false}}`, nil},
		{`"distSpecVersion": "1.0.1"`, []string{"distSpecVersion"}},
		{`"scheduler": {"numWorkers": 4}`, []string{"scheduler"}},
		{`"cluster": {"members": ["a"]}`, []string{"cluster"}},
		{`"log": {"audit": "audit.log"}`, nil},
		{store(`"gc": true, "gcDelay": "2h", "gcInterval": "2h", "undelete": "1h"`), nil},
		{store(`"gcInterval": "0s"`), []string{"storage.gcInterval"}},
		{store(`"gc": true, "storageDriver": {"name": "s3", "bucket": "b", "region": "r"}`), nil},
		{store(`"history": "1h"`), nil},
		{store(`"history": "1h", "gc": false`), []string{"storage.history"}},
		{store(`"singleWriter": true`), []string{"storage.singleWriter"}},
		{store(`"commit": false`), nil},
		{store(`"commit": true, "storageDriver": {"name": "s3", "bucket": "b", "region": "r"}`), nil},
		{store(`"commit": false, "lockWait": "1s", "storageDriver": {"name": "s3", "bucket": "b", "region": "r"}`), []string{"storage.commit", "storage.lockWait"}},
		{store(`"remoteCache": true`), []string{"storage.remoteCache"}},
		{store(`"remoteCache": false, "cacheDriver": {"name": "redis", "addr": "a:1"}`), []string{"storage.remoteCache"}},
		{store(`"remoteCache": true, "cacheDriver": {"name": "redis", "url": "redis://u:p@a:1/3?max_retries=2&addr=b:2", "db": 0}`), nil},
		{store(`"remoteCache": true, "cacheDriver": {"name": "dynamodb", "cacheTablename": "Blobs", "versionTablename": "v"}`), nil},
		{store(`"retention": {"dryRun": true, "policies": [{"repositories": ["**"]}]}`), nil},
		{policies(`"deleteUntagged": false`), []string{"storage.retention.policies[0].repositories"}},
		{store(`"gc": false, "retention": {"dryRun": true}`), []string{"storage.retention"}},
		{`"http": {"accessControl": {"repositories": {"**": {"anonymousPolicy": ["read"]}}}}`, nil},
		{`"http": {"accessControl": {}}`, []string{"http.accessControl"}},
		{`"http": {"accessControl": {"repositories": {"/a/**": {}, "a/": {}}}}`, []string{
			"http.accessControl.repositories[/a/**]", "http.accessControl.repositories[a/]",
		}},
		{`"http": {"auth": {"htpasswd": {"path": "htpasswd"}}, "accessControl": {"repositories": {"a": {"policies": [{"actions": ["read"]}]}}}}`, []string{
			"http.accessControl.repositories[a].policies[0]",
		}},
		{`"http": {"auth": {"secureSession": true, "sessionKeysFile": "htpasswd"}}`, []string{"http.auth.sessionKeysFile", "http.auth.secureSession"}},
		{mixed(``), []string{"http.auth.sessionKeysFile"}},
		{mixed(`"externalUrl": "https://z", `), []string{"http.auth.sessionKeysFile"}},
		{mixed(``, `"sessionKeysFile": "htpasswd", `), []string{"http.auth.sessionKeysFile"}},
		{mixed(`"externalUrl": "https://z", `, `"bearer": {"realm": "https://a", "service": "a", "cert": "server.crt"}, `), nil},
		{ldap(`"startTLS": true`), []string{"http.auth.ldap.startTLS"}},
		{openID(`"a": {"clientid": "a", "issuer": "https://a"}`), nil},
		{openID(`"a": {"clientid": "a", "issuer": "http://a"}`), []string{"http.auth.openid.providers[a].issuer"}},
		{`"http": {"externalUrl": "http://z", "auth": {"openid": {"providers": {"a": {"clientid": "a", "issuer": "https://a"}}}}}`, []string{"http.externalUrl"}},
		{`"http": {"externalUrl": "http://z", "auth": {"secureSession": false, "openid": {"providers": {"a": {"clientid": "a", "issuer": "https://a"}}}}}`, nil},
		{`"http": {"externalUrl": "https://z", "auth": {"secureSession": false, "sessionDriver": {"name": "redis"}, "openid": {"providers": {"a": {"clientid": "a", "issuer": "https://a"}}}}}`, []string{
			"http.auth.secureSession", "http.auth.sessionDriver",
		}},
		{ldap(`"insecure": true`), []string{"http.auth.ldap.insecure"}},
		{ldap(`"insecure": true, "startTLS": true, "caCert": "server.crt"`), nil},
		{ldap(`"skipVerify": true`), []string{"http.auth.ldap.skipVerify"}},
		{`"extensions": {"scrub": {"interval": "1h"}}`, []string{"extensions.scrub.interval"}},
		{`"extensions": {"metrics": {}}`, nil},
		{`"extensions": {"metrics": {}}, "http": {"accessControl": {"repositories": {"**": {"anonymousPolicy": ["read"]}}}}`, []string{"extensions.metrics"}},
		{`"extensions": {"metrics": {}}, "http": {"accessControl": {"metrics": {"anonymousPolicy": ["read"]}, "repositories": {"**": {"anonymousPolicy": ["read"]}}}}`, nil},
		{
			`"extensions": {"search": {}, "ui": {}, "lint": {}, "mgmt": {}, "userprefs": {}, "events": {}}`,
			[]string{
				"extensions.search", "extensions.lint", "extensions.ui",
				"extensions.mgmt", "extensions.userprefs", "extensions.events",
			},
		},
	} {
		t.Run(row.section, func(t *testing.T) {
			_, warnings := mustCheck(t, withStorage(row.section))

			var paths []string
			for _, warning := range warnings {
				paths = append(paths, warning.Path)
			}

			if !slices.Equal(paths, row.paths) {
				t.Errorf("warnings %v, want %v", warnings, row.paths)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	inScratch(t)

	Convey("A directory that is not there yet is found through the links above it", t, func() {
		want, err := filepath.EvalSymlinks("data")
		So(err, ShouldBeNil)

		want, err = filepath.Abs(filepath.Join(want, "a", "b"))
		So(err, ShouldBeNil)

		got, err := resolve("link/a/b")
		So(err, ShouldBeNil)
		So(got, ShouldEqual, want)
	})
}

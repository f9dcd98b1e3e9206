package cli

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/storage"
)

// merge returns cfg, which is in force, with all of next that can be changed while zot serves.
// What next has besides needs a restart.
func merge(cfg, next *config.Config) *config.Config {
	merged := *cfg
	merged.Log.Level = next.Log.Level
	merged.HTTP = mergeHTTP(cfg.HTTP, next.HTTP)
	merged.Storage.Store = mergeStore(cfg.Storage.Store, next.Storage.Store)
	merged.Storage.SubPaths = maps.Clone(cfg.Storage.SubPaths)

	for prefix, old := range cfg.Storage.SubPaths {
		if changed, ok := next.Storage.SubPaths[prefix]; ok {
			merged.Storage.SubPaths[prefix] = config.SubPath{Store: mergeStore(old.Store, changed.Store)}
		}
	}

	return &merged
}

// mergeStore leaves gcDelay alone: for so long clients count on what they were told.
func mergeStore(cfg, next config.Store) config.Store {
	cfg.GC, cfg.GCInterval, cfg.GCTimeWindow = next.GC, next.GCInterval, next.GCTimeWindow
	cfg.History, cfg.Undelete, cfg.Retention = next.History, next.Undelete, next.Retention

	return cfg
}

func mergeHTTP(cfg, next config.HTTP) config.HTTP {
	merged := cfg
	merged.RateLimit = next.RateLimit

	if cfg.TLS != nil && next.TLS != nil {
		merged.TLS = &config.TLS{Cert: next.TLS.Cert, Key: next.TLS.Key, CACert: cfg.TLS.CACert}
	}

	if len(heldBy(cfg, next)) > 0 {
		return merged
	}

	if merged.TLS != nil {
		merged.TLS.CACert = next.TLS.CACert
	}

	merged.AccessControl = next.AccessControl
	merged.Auth.FailDelay, merged.Auth.HTPasswd = next.Auth.FailDelay, next.Auth.HTPasswd
	merged.Auth.LDAP, merged.Auth.Bearer, merged.Auth.MTLS = next.Auth.LDAP, next.Auth.Bearer, next.Auth.MTLS

	return merged
}

// heldBy returns the keys that need a restart and that who may come in depends on. While one
// of them waits, so do those that are guarded: they were written to go with it. A file that
// puts zot on 127.0.0.1 and drops accessControl must not open what is reached from everywhere,
// nor one that has all users log in by a browser instead of with passwords.
func heldBy(cfg, next config.HTTP) []string {
	var keys []string

	for key, same := range map[string]bool{
		"http.address":     cfg.Address == next.Address,
		"http.tls":         (cfg.TLS == nil) == (next.TLS == nil),
		"http.auth.apikey": cfg.Auth.APIKey == next.Auth.APIKey,
		"http.auth.openid": reflect.DeepEqual(cfg.Auth.OpenID, next.Auth.OpenID),
	} {
		if !same {
			keys = append(keys, key)
		}
	}

	slices.Sort(keys)

	return keys
}

// guarded says whether a key waits with those of heldBy.
func guarded(key string) bool {
	return strings.HasPrefix(key, "http.accessControl") || strings.HasPrefix(key, "http.auth.") || key == "http.tls.cacert"
}

func gcOfSubPaths(cfg map[string]config.SubPath) map[string]storage.GC {
	all := map[string]storage.GC{}
	for prefix, sub := range cfg {
		all[prefix] = gcOf(sub.Store)
	}

	return all
}

// differences returns the paths of the keys that are not the same, in order.
func differences(a, b *config.Config) []string {
	keys := []string{}
	differ("", reflect.ValueOf(*a), reflect.ValueOf(*b), func(key string) { keys = append(keys, key) })
	slices.Sort(keys)

	return keys
}

func differ(path string, a, b reflect.Value, tell func(key string)) {
	switch {
	case reflect.DeepEqual(a.Interface(), b.Interface()):
	case a.Kind() == reflect.Pointer && !a.IsNil() && !b.IsNil():
		differ(path, a.Elem(), b.Elem(), tell)
	case a.Kind() == reflect.Struct:
		for _, f := range fieldsOf(a.Type()) {
			differ(join(path, f.name), a.FieldByIndex(f.index), b.FieldByIndex(f.index), tell)
		}
	case a.Kind() == reflect.Map && a.Type().Elem().Kind() == reflect.Struct:
		differInMap(path, a, b, tell)
	default:
		tell(path)
	}
}

func differInMap(path string, a, b reflect.Value, tell func(key string)) {
	names := map[string]bool{}
	for _, name := range slices.Concat(a.MapKeys(), b.MapKeys()) {
		names[name.String()] = true
	}

	for name := range names {
		at := path + "[" + name + "]"

		one, other := a.MapIndex(reflect.ValueOf(name)), b.MapIndex(reflect.ValueOf(name))
		if !one.IsValid() || !other.IsValid() {
			tell(at)

			continue
		}

		differ(at, one, other, tell)
	}
}

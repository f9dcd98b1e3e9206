package cli

import (
	"maps"
	"reflect"
	"regexp"
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
	merged.Storage = mergeStorage(cfg.Storage, next.Storage)

	return &merged
}

func mergeStorage(cfg, next config.Storage) config.Storage {
	if len(movedTo(cfg, next)) > 0 {
		return cfg
	}

	merged := cfg
	merged.Store = mergeStore(cfg.Store, next.Store)
	merged.SubPaths = maps.Clone(cfg.SubPaths)

	for prefix, old := range cfg.SubPaths {
		merged.SubPaths[prefix] = config.SubPath{Store: mergeStore(old.Store, next.SubPaths[prefix].Store)}
	}

	return merged
}

// movedTo returns the keys that say where images are, and differ. While one waits for a restart, so
// does all that says what is removed: it was written for what is there, and what another store's
// retention does not name would be gone from this one.
func movedTo(cfg, next config.Storage) []string { return differences(placesOf(cfg), placesOf(next)) }

// placesOf is what cfg says of where images are.
func placesOf(cfg config.Storage) *config.Config {
	place := func(store config.Store) config.Store {
		return config.Store{RootDirectory: store.RootDirectory, StorageDriver: store.StorageDriver}
	}

	all := &config.Config{Storage: config.Storage{Store: place(cfg.Store), SubPaths: map[string]config.SubPath{}}}
	for prefix, sub := range cfg.SubPaths {
		all.Storage.SubPaths[prefix] = config.SubPath{Store: place(sub.Store)}
	}

	return all
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

// heldWith returns the keys that key waits with, none if it is one that always needs a restart.
func heldWith(key string, cfg, next *config.Config) []string {
	switch {
	case strings.HasPrefix(key, "http.accessControl"), strings.HasPrefix(key, "http.auth."), key == "http.tls.cacert":
		return heldBy(cfg.HTTP, next.HTTP)
	case removing.MatchString(key):
		return movedTo(cfg.Storage, next.Storage)
	}

	return nil
}

// removing are the keys that mergeStore takes.
var removing = regexp.MustCompile(`^storage\.(.*\.)?(gc|gcInterval|gcTimeWindow|history|undelete|retention(\..*)?)$`)

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

package cli

import (
	"reflect"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
)

// strictly makes viper decode what went through a tree into a struct of package
// config. The tree has found what is wrong before; here nothing is forgiven.
func strictly(path string) viper.DecoderConfigOption {
	return func(dc *mapstructure.DecoderConfig) {
		dc.RootName = path
		dc.DecodeHook = mapstructure.DecodeHookFuncValue(prepare)
		dc.WeaklyTypedInput = false
		dc.ErrorUnused = true
	}
}

// prepare is called with each value and where it will go, from the outside in. It
// sets the defaults there, which what the file has then replaces.
func prepare(from, to reflect.Value) (any, error) {
	if to.CanAddr() {
		if target, ok := to.Addr().Interface().(interface{ SetDefaults() }); ok {
			target.SetDefaults()
		}
	}

	if to.Kind() == reflect.Slice {
		to.SetZero() // or a shorter list would keep the end of the default one
	}

	if list, ok := from.Interface().(pairs); ok {
		return unpair(list), nil
	}

	return from.Interface(), nil
}

// unpair makes a map of pairs again, with the names as users wrote them.
func unpair(list pairs) map[string]any {
	m := make(map[string]any, len(list))
	for _, p := range list {
		m[p.name] = p.value
	}

	return m
}

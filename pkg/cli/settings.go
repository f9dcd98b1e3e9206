package cli

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"

	"zotregistry.io/zot/pkg/api/config"
)

// decodeSettings reads the keys of a driver into a struct of package config, and says
// what is wrong with them. path is that of the driver's object.
func decodeSettings(path string, settings config.Settings, into interface{ SetDefaults() }) []Mistake {
	into.SetDefaults()

	var (
		target   = reflect.ValueOf(into).Elem()
		fields   = fieldsOf(target.Type())
		mistakes []Mistake
	)

	for _, key := range slices.Sorted(maps.Keys(settings)) {
		f, known := fields[strings.ToLower(key)]
		if !known {
			mistakes = append(mistakes, Mistake{join(path, key), "unknown key", suggest(key, fieldNames(fields))})

			continue
		}

		if err := setField(target.FieldByIndex(f.index), settings[key]); err != nil {
			mistakes = append(mistakes, Mistake{join(path, f.name), err.problem, err.remedy})
		}
	}

	return mistakes
}

// setField sets a field, or what it points to.
func setField(field reflect.Value, value any) *typeError {
	typ := field.Type()
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}

	converted, err := toScalar(value, typ)

	var wrong *typeError
	if errors.As(err, &wrong) {
		return wrong
	}

	set := reflect.New(typ)
	set.Elem().Set(reflect.ValueOf(converted).Convert(typ))

	if field.Kind() == reflect.Pointer {
		field.Set(set)
	} else {
		field.Set(set.Elem())
	}

	return nil
}

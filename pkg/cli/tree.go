package cli

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/viper"

	"zotregistry.io/zot/pkg/api/config"
)

// pair is an entry of a map whose keys are names that users chose.
type pair struct {
	name  string
	value any
}

// pairs stands in for such a map while viper has it: viper folds the case of all keys
// of maps, and users, groups and providers would lose theirs. unpair turns it back.
type pairs []pair

// tree goes through the tree of values that a file is, beside the type that it is
// decoded into, before viper sees it. It finds keys that are not known and those that
// are given twice, remembers which there are, and puts pairs where names must
// survive. It is the viper.DecoderRegistry of one file.
type tree struct {
	set      map[string]bool // paths of the keys in the file
	mistakes findings
}

func newTree() *tree { return &tree{set: map[string]bool{}, mistakes: newFindings()} }

// Decoder returns a decoder of format whose result went through the tree.
func (t *tree) Decoder(format string) (viper.Decoder, error) {
	if format == "json" {
		return treeDecoder{jsonDecoder{}, t}, nil
	}

	decoder, err := viper.NewCodecRegistry().Decoder(format)
	if err != nil {
		return nil, fmt.Errorf("format %q: %w", format, err)
	}

	return treeDecoder{decoder, t}, nil
}

type treeDecoder struct {
	viper.Decoder
	tree *tree
}

func (d treeDecoder) Decode(data []byte, values map[string]any) error {
	if err := d.Decoder.Decode(data, values); err != nil {
		return err
	}

	folded := d.tree.object("", values, reflect.TypeFor[config.Config]())
	clear(values)
	maps.Copy(values, folded)

	return nil
}

// value goes through what stands at path, and returns it as it goes into a typ; nil,
// with a mistake added, if it cannot.
func (t *tree) value(path string, value any, typ reflect.Type) any {
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}

	var (
		converted any
		err       error
	)

	switch typ.Kind() {
	case reflect.Struct, reflect.Map:
		var m map[string]any
		if m, err = toObject(value); err == nil {
			converted = t.mapping(path, m, typ)
		}
	case reflect.Slice:
		var list []any
		if list, err = toList(value); err == nil {
			converted = t.list(path, list, typ.Elem())
		}
	default:
		converted, err = toScalar(value, typ)
	}

	if err != nil {
		t.wrongType(path, err)

		return nil
	}

	return converted
}

func (t *tree) mapping(path string, m map[string]any, typ reflect.Type) any {
	switch {
	case typ == reflect.TypeFor[config.Settings]():
		return t.settings(path, m)
	case typ.Kind() == reflect.Struct:
		return t.object(path, m, typ)
	default:
		return t.names(path, m, typ.Elem())
	}
}

// object goes through an object whose keys are the fields of typ.
func (t *tree) object(path string, m map[string]any, typ reflect.Type) map[string]any {
	fields := fieldsOf(typ)
	known := fieldNames(fields)
	folded := map[string]any{}

	for _, key := range slices.Sorted(maps.Keys(m)) {
		field, ok := fields[strings.ToLower(key)]
		if !ok {
			t.unknown(path, key, known)

			continue
		}

		if m[key] == nil { // an empty section in YAML
			continue
		}

		at := join(path, field.name)
		if t.set[at] {
			t.twice(at)
		}

		t.set[at] = true

		if value := t.value(at, m[key], field.typ); value != nil {
			folded[strings.ToLower(key)] = value
		}
	}

	return folded
}

// settings goes through an object whose keys depend on one of them.
func (t *tree) settings(path string, m map[string]any) map[string]any {
	folded := map[string]any{}

	for _, key := range slices.Sorted(maps.Keys(m)) {
		lower := strings.ToLower(key)
		if _, twice := folded[lower]; twice {
			t.twice(join(path, key))
		}

		t.set[join(path, lower)] = true
		folded[lower] = m[key]
	}

	return folded
}

// names goes through a map from names that users chose.
func (t *tree) names(path string, m map[string]any, typ reflect.Type) pairs {
	list := make(pairs, 0, len(m))

	for _, name := range slices.Sorted(maps.Keys(m)) {
		at := path + "[" + name + "]"
		t.set[at] = true

		if value := t.notNull(at, m[name], typ); value != nil {
			list = append(list, pair{name, value})
		}
	}

	return list
}

// list goes through a list of typ. Elements keep their places.
func (t *tree) list(path string, list []any, typ reflect.Type) any {
	converted := make([]any, len(list))
	for i, value := range list {
		converted[i] = t.notNull(fmt.Sprintf("%s[%d]", path, i), value, typ)
	}

	return converted
}

// notNull is value where nothing stands for nothing.
func (t *tree) notNull(path string, value any, typ reflect.Type) any {
	if value == nil {
		t.mistakes.add(Mistake{path, "has no value", "give it one, or remove it"})

		return nil
	}

	return t.value(path, value, typ)
}

func (t *tree) wrongType(path string, err error) {
	var wrong *typeError
	if errors.As(err, &wrong) {
		t.mistakes.add(Mistake{path, wrong.problem, wrong.remedy})
	}
}

func (t *tree) twice(path string) {
	t.mistakes.add(Mistake{path, "is there twice: the case of keys makes no difference", "keep one of them"})
}

func (t *tree) unknown(path, key string, known []string) {
	if key == "" {
		key = `""` // or the path would be that of the object
	}

	t.mistakes.add(Mistake{join(path, key), "unknown key", suggest(key, known)})
}

// join returns the path of a key of the object at path.
func join(path, key string) string {
	if path == "" {
		return key
	}

	return path + "." + key
}

// Package cli is zot's commands. This file reads a configuration: load, decode,
// default, validate. The rules are in the files validate_*.go beside it, wire.go
// makes stores and a server of what was read.
package cli

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/spf13/viper"

	"zotregistry.io/zot/pkg/api/config"
)

// keyDelimiter separates the keys of a path in viper. A dot cannot: it occurs in the
// patterns of repositories.
const keyDelimiter = "::"

// Load reads the configuration file at path, whose extension says whether it is JSON,
// YAML or TOML, and looks at the files that it names. Nothing is written.
//
// Errors: Mistakes, all that are in the file; others if it cannot be read.
func Load(path string) (*config.Config, []Warning, error) {
	format, err := formatOf(path)
	if err != nil {
		return nil, nil, err
	}

	data, err := source(path)
	if err != nil {
		return nil, nil, err
	}

	file, err := decode(format, data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: not valid %s: %w", path, strings.ToUpper(format), err)
	}

	return file.check()
}

// formatOf returns the format that the extension of path stands for.
func formatOf(path string) (string, error) {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".json", ".toml", ".yaml":
		return ext[1:], nil
	case ".yml":
		return "yaml", nil
	default:
		return "", fmt.Errorf("%s: the extension %q names no format; rename the file to end in .json, .yaml or .toml",
			path, ext)
	}
}

// file is a configuration file that was decoded: what it says over the defaults, and
// what is wrong with it so far.
type file struct {
	cfg      *config.Config
	set      map[string]bool // the paths of the keys that it has
	mistakes Mistakes
}

// decode makes a configuration of the bytes of a file. What has a wrong name or a
// wrong type is among the mistakes of the file that is returned.
//
// Errors: the bytes are not of the format.
func decode(format string, data []byte) (*file, error) {
	if format == "yaml" {
		if err := checkYAML(data); err != nil {
			return nil, err
		}
	}

	names := newTree()

	v := viper.NewWithOptions(viper.KeyDelimiter(keyDelimiter), viper.WithDecoderRegistry(names))
	v.SetConfigType(format)

	if err := v.ReadConfig(bytes.NewReader(data)); err != nil {
		return nil, syntaxError(err)
	}

	f := &file{cfg: config.Default(), set: names.set, mistakes: names.mistakes.list}

	return f, f.fill(v)
}

// fill reads the values of all keys. It goes by top-level key since viper's Unmarshal
// loses objects that are empty.
func (f *file) fill(v *viper.Viper) error {
	cfg := reflect.ValueOf(f.cfg).Elem()

	for _, field := range fieldsOf(cfg.Type()) {
		if !v.IsSet(field.name) {
			continue
		}

		target := cfg.FieldByIndex(field.index).Addr().Interface()
		if err := v.UnmarshalKey(field.name, target, strictly(field.name)); err != nil {
			return fmt.Errorf("decode %s: %w", field.name, err)
		}
	}

	return nil
}

// syntaxError unwraps what viper says about bytes that are not of their format.
func syntaxError(err error) error {
	var parse viper.ConfigParseError
	if errors.As(err, &parse) {
		return parse.Unwrap()
	}

	return err
}

// check applies the rules.
func (f *file) check() (*config.Config, []Warning, error) {
	c := newCheck(f)
	c.all()

	if err := append(f.mistakes, c.mistakes.list...).err(); err != nil {
		return nil, c.warnings, err
	}

	return f.cfg, c.warnings, nil
}

package cli

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// field is a key that an object may have.
type field struct {
	name  string // as documented
	typ   reflect.Type
	index []int // for reflect.Value.FieldByIndex
}

// fieldsOf returns the keys of a struct of package config, by their names in lower
// case.
func fieldsOf(typ reflect.Type) map[string]field {
	fields := map[string]field{}

	for _, f := range reflect.VisibleFields(typ) {
		name, _, _ := strings.Cut(f.Tag.Get("mapstructure"), ",")
		if name != "" {
			fields[strings.ToLower(name)] = field{name, f.Type, f.Index}
		}
	}

	return fields
}

func fieldNames(fields map[string]field) []string {
	names := make([]string, 0, len(fields))
	for _, f := range fields {
		names = append(names, f.name)
	}

	slices.Sort(names)

	return names
}

// suggest says which of the known keys could be meant by key.
func suggest(key string, known []string) string {
	const slip = 3 // edits; more is another word

	best, edits := "", slip+1

	for _, name := range known {
		if len(name)-len(key) >= edits || len(key)-len(name) >= edits {
			continue // as many letters must be put in or taken out
		}

		if d := distance(strings.ToLower(key), strings.ToLower(name)); d < edits && d < len(name)/2+1 {
			best, edits = name, d
		}
	}

	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}

	return "remove it; known here: " + strings.Join(known, ", ")
}

// distance is how many letters must be put in, taken out or changed to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}

	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1

		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}

			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}

	return row[len(b)]
}

func sortedNames[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

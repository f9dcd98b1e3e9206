package cli

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// typeError says that a value is not of the type of its key.
type typeError struct {
	problem string
	remedy  string
}

func (e *typeError) Error() string { return e.problem + "; " + e.remedy }

// toScalar makes a value that goes into a typ of what the file has. Upstream's users
// write numbers as strings and the other way round: what loses nothing is taken.
//
// Errors: *typeError.
func toScalar(value any, typ reflect.Type) (any, error) {
	if typ == reflect.TypeFor[time.Duration]() {
		return toDuration(value)
	}

	switch typ.Kind() {
	case reflect.Bool:
		return toBool(value)
	case reflect.String:
		return toString(value)
	case reflect.Int, reflect.Int64:
		return toInt(value)
	case reflect.Float64:
		return toFloat(value)
	default:
		panic("config: no conversion to " + typ.String())
	}
}

func toDuration(value any) (any, error) {
	const remedy = `write a string with a unit, as "90s" or "1h30m"`

	switch v := value.(type) {
	case string:
		duration, err := time.ParseDuration(v)
		if err != nil {
			return nil, &typeError{fmt.Sprintf("%q is not a duration", v), remedy}
		}

		return duration, nil
	}

	if n, ok := integer(value); ok && n == 0 {
		return time.Duration(0), nil
	}

	return nil, wrongType(value, "a duration", remedy)
}

func toBool(value any) (any, error) {
	switch v := value.(type) {
	case bool:
		return v, nil
	case string:
		if b, err := strconv.ParseBool(v); err == nil {
			return b, nil
		}
	}

	if n, ok := integer(value); ok && (n == 0 || n == 1) {
		return n == 1, nil
	}

	return nil, wrongType(value, "true or false", "write true or false")
}

func toString(value any) (any, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	}

	if n, ok := integer(value); ok {
		return strconv.FormatInt(n, 10), nil
	}

	return nil, wrongType(value, "a string", "write a string, in quotes")
}

func toInt(value any) (any, error) {
	if n, ok := integer(value); ok {
		return n, nil
	}

	if s, ok := value.(string); ok {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, nil
		}
	}

	return nil, wrongType(value, "a whole number", "write digits, as 10")
}

func toFloat(value any) (any, error) {
	if n, ok := integer(value); ok {
		return float64(n), nil
	}

	f, ok := value.(float64)
	if !ok || math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, wrongType(value, "a number", "write a number, as 1.5")
	}

	return f, nil
}

// toList takes a list. A string is a list with commas, as in upstream zot.
func toList(value any) ([]any, error) {
	switch v := value.(type) {
	case []any:
		return v, nil
	case string:
		var list []any
		for part := range strings.SplitSeq(v, ",") {
			list = append(list, part)
		}

		return list, nil
	}

	return nil, wrongType(value, "a list", `write a list, as ["a", "b"] in JSON`)
}

func toObject(value any) (map[string]any, error) {
	switch v := value.(type) {
	case map[string]any:
		return v, nil
	case map[any]any: // YAML, if not all keys are strings
		return stringKeys(v), nil
	}

	return nil, wrongType(value, "an object", "write an object, as {} in JSON")
}

func stringKeys(m map[any]any) map[string]any {
	keyed := make(map[string]any, len(m))
	for key, value := range m {
		keyed[fmt.Sprint(key)] = value
	}

	return keyed
}

// integer returns value as an integer if it is a number that is whole and exact.
func integer(value any) (int64, bool) {
	const exact = 1 << 53 // above it, a float64 skips integers

	switch v := value.(type) {
	case int:
		return int64(v), true
	case int64:
		return v, true
	case float64:
		return int64(v), v == math.Trunc(v) && math.Abs(v) <= exact
	default:
		return 0, false
	}
}

func wrongType(value any, want, remedy string) error {
	return &typeError{fmt.Sprintf("is %s, but must be %s", describe(value), want), remedy}
}

func describe(value any) string {
	switch v := value.(type) {
	case string:
		return fmt.Sprintf("the string %q", v)
	case bool:
		return strconv.FormatBool(v)
	case []any:
		return "a list"
	case map[string]any, map[any]any:
		return "an object"
	case time.Time:
		return "a time"
	default:
		return fmt.Sprintf("the value %v", v)
	}
}

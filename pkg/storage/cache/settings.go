package cache

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// SettingError is what is wrong with one setting of a driver. It never holds a value
// that may be a secret.
type SettingError struct {
	Key     string // as it is documented: pool_size, cacheTablename
	Problem string
	Remedy  string
	Err     error // what the server or the library said; nil = nothing
}

func (e *SettingError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v; %s", e.Key, e.Problem, e.Err, e.Remedy)
	}

	return fmt.Sprintf("%s: %s; %s", e.Key, e.Problem, e.Remedy)
}

func (e *SettingError) Unwrap() error { return e.Err }

// settingErrors are mistakes as one error, nil if there are none.
func settingErrors(mistakes []*SettingError) error {
	errs := make([]error, len(mistakes))
	for i, mistake := range mistakes {
		errs[i] = mistake
	}

	return errors.Join(errs...)
}

// CheckSettings says what is wrong with the settings of the driver called name, of
// those that have any. It connects to nothing.
func CheckSettings(name string, given map[string]any) []*SettingError {
	switch name {
	case RedisName:
		_, mistakes := parseRedis(given)

		return mistakes
	case DynamoDBName:
		_, mistakes := parseDynamoDB(given)

		return mistakes
	}

	return nil
}

// SettingKeys lists the settings of the driver called name, nil if it has none.
func SettingKeys(name string) []string {
	switch name {
	case RedisName:
		return slices.Clone(redisKeys)
	case DynamoDBName:
		return append(slices.Clone(dynamoKeys), dynamoIgnored...)
	}

	return nil
}

// settings reads values that come from JSON, YAML or TOML, under keys in lower case,
// and collects what is wrong with them.
type settings struct {
	given    map[string]any
	mistakes []*SettingError
}

// wrong notes a mistake, unless the key has one already.
func (s *settings) wrong(key, problem, remedy string) {
	if s.ok(key) {
		s.mistakes = append(s.mistakes, &SettingError{Key: key, Problem: problem, Remedy: remedy})
	}
}

// ok says whether nothing wrong is known of key.
func (s *settings) ok(key string) bool {
	return !slices.ContainsFunc(s.mistakes, func(m *SettingError) bool { return m.Key == key })
}

func (s *settings) value(key string) (any, bool) {
	value, ok := s.given[strings.ToLower(key)]

	return value, ok && value != nil
}

// onlyKnown notes the keys that are not in known.
func (s *settings) onlyKnown(known ...string) {
	lower := strings.Split(strings.ToLower(strings.Join(known, " ")), " ")

	for _, key := range slices.Sorted(maps.Keys(s.given)) {
		if !slices.Contains(lower, key) {
			s.wrong(key, "unknown key", "remove it; known here: "+strings.Join(known, ", "))
		}
	}
}

// text returns the value of a string, "" if it is absent.
func (s *settings) text(key string) string {
	value, ok := s.value(key)
	if !ok {
		return ""
	}

	text, ok := value.(string)
	if !ok {
		s.wrong(key, "is no string", "put it into quotes")
	}

	return text
}

// texts returns the values of a list of strings, or of one string.
func (s *settings) texts(key string) []string {
	value, ok := s.value(key)
	if !ok {
		return nil
	}

	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}

	texts := make([]string, 0, len(list))

	for _, item := range list {
		text, ok := item.(string)
		if !ok || text == "" {
			s.wrong(key, "is neither a string nor a list of strings", "put strings into quotes")

			return nil
		}

		texts = append(texts, text)
	}

	return texts
}

// number returns a whole number between least and most, 0 if it is absent.
func (s *settings) number(key string, least, most int) int {
	value, ok := s.value(key)
	if !ok {
		return 0
	}

	n, ok := wholeNumber(value)
	if !ok || n < float64(least) || n > float64(most) {
		s.wrong(key, "is no whole number that is possible here", fmt.Sprintf("write one from %d to %d", least, most))

		return 0
	}

	return int(n)
}

// wholeNumber reads a number as any of the formats has it.
func wholeNumber(value any) (float64, bool) {
	n, err := strconv.ParseFloat(fmt.Sprint(value), 64)

	return n, err == nil && n == math.Trunc(n)
}

// duration returns a time that is longer than 0, or 0 if it is absent.
func (s *settings) duration(key string) time.Duration {
	value, ok := s.value(key)
	if !ok {
		return 0
	}

	const remedy = `write a duration with its unit, as "500ms"`

	text, ok := value.(string)
	if !ok {
		s.wrong(key, "is no duration", remedy)

		return 0
	}

	d, err := time.ParseDuration(text)

	switch {
	case err != nil:
		s.wrong(key, fmt.Sprintf("%q is no duration", text), remedy)
	case d <= 0:
		s.wrong(key, fmt.Sprintf("%s is too short", text), remedy)
	default:
		return d
	}

	return 0
}

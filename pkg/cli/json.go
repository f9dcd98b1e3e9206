package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// jsonDecoder reads JSON as viper's own does, but says where an error is, and does not
// let the second of two equal keys win silently.
type jsonDecoder struct{}

func (jsonDecoder) Decode(data []byte, values map[string]any) error {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // some editors begin files so

	if err := json.Unmarshal(data, &values); err != nil {
		return jsonError(data, err)
	}

	return twiceInJSON(data)
}

// jsonError adds the line to err, and speaks of the file rather than of Go's types.
func jsonError(data []byte, err error) error {
	var (
		syntax *json.SyntaxError
		typ    *json.UnmarshalTypeError
	)

	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: %w", line(data, syntax.Offset), err)
	case errors.As(err, &typ) && typ.Type.Kind() == reflect.Float64:
		return fmt.Errorf("line %d: the %s is too large; write a smaller one", line(data, typ.Offset), typ.Value)
	case errors.As(err, &typ):
		return fmt.Errorf("the file is a %s; it must be an object", typ.Value)
	default:
		return err
	}
}

// line returns the number of the line that offset is in.
func line(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(int(offset), len(data))], []byte("\n"))
}

// twiceInJSON finds a key that an object has twice. data is valid.
func twiceInJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))

	var objects []*members // of which the last is the innermost; nil for a list

	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("line %d: %w", line(data, dec.InputOffset()), err)
		}

		switch token {
		case json.Delim('{'):
			objects = append(objects, &members{seen: map[string]bool{}})
		case json.Delim('['):
			objects = append(objects, nil)
		case json.Delim('}'), json.Delim(']'):
			objects = objects[:len(objects)-1]
			innermost(objects).next()
		default:
			if key, ok := innermost(objects).add(token); !ok {
				return fmt.Errorf("line %d: the key %q is there twice in one object; keep one of them",
					line(data, dec.InputOffset()), key)
			}
		}
	}
}

func innermost(objects []*members) *members {
	if len(objects) == 0 {
		return nil
	}

	return objects[len(objects)-1]
}

// members is the keys of an object that were seen so far. nil stands for a list.
type members struct {
	seen  map[string]bool
	value bool // the value of a key is next
}

// add takes a token that opens and closes nothing, and returns false if it is a key
// that was seen.
func (m *members) add(token json.Token) (string, bool) {
	key, ok := token.(string)
	if m == nil || m.value || !ok {
		m.next()

		return "", true
	}

	m.value = true

	if m.seen[key] {
		return key, false
	}

	m.seen[key] = true

	return key, true
}

// next says that a value is over.
func (m *members) next() {
	if m != nil {
		m.value = false
	}
}

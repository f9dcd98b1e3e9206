package storage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
)

// maxArtifactType bounds what is kept of each manifest in memory and listed with its subject, in
// bytes. RFC 6838, 4.2, allows 127 characters on each side of the slash.
const maxArtifactType = 1 << 10

// Fields whose names must be written as in the image-spec, and once: all readers are to see the
// same in a manifest as the registry, which keeps what it has found in it. Some take the last of
// two, some the first, some a name in capitals for it.
var (
	manifestFields = []string{
		"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations", "fsLayers",
	}
	descriptorFields = []string{"mediaType", "digest", "size", "urls"}
)

// parsePushed reads a manifest that a client pushes. What is stored already is held to less.
//
// Errors: *ManifestError.
func parsePushed(body []byte, dgst digest.Digest, mediaType string) (*ManifestRecord, error) {
	if err := checkShape(body); err != nil {
		return nil, err
	}

	record, err := parseManifest(body, dgst, mediaType)
	if err == nil && len(record.ArtifactType) > maxArtifactType {
		return nil, &ManifestError{Field: "artifactType", Reason: fmt.Sprintf("it is longer than %d bytes", maxArtifactType)}
	}

	return record, err
}

// checkShape says whether a manifest that is pushed means one thing only. It looks at one value
// after the other and stops at the first descriptor that is none, so that a body of
// MaxManifest bytes cannot name more than it has room for digests.
//
// Errors: *ManifestError.
func checkShape(body []byte) error {
	if !utf8.Valid(body) {
		return &ManifestError{Reason: "it is not UTF-8"} // RFC 8259, 8.1
	}

	// Most of what is no manifest is found without memory for it.
	var none struct{}
	if err := json.Unmarshal(body, &none); err != nil {
		return &ManifestError{Reason: err.Error()}
	}

	dec := json.NewDecoder(bytes.NewReader(body))

	_, err := eachField(dec, "", manifestFields, func(name string) error {
		switch name {
		case "layers", "manifests":
			return checkList(dec, name)
		case "config", "subject":
			_, err := checkDescriptor(dec, name)

			return err
		default:
			return skip(dec)
		}
	})

	return err
}

// checkList reads an array of descriptors, or null.
func checkList(dec *json.Decoder, field string) error {
	begin, err := dec.Token()
	if err != nil {
		return &ManifestError{Reason: err.Error()}
	}

	if begin == nil {
		return nil
	}

	if begin != json.Delim('[') {
		return &ManifestError{Field: field, Reason: "not an array"}
	}

	for n := 0; dec.More(); n++ {
		item := fmt.Sprintf("%s[%d]", field, n)

		there, err := checkDescriptor(dec, item)
		if err != nil {
			return err
		}

		if !there {
			return &ManifestError{Field: item, Reason: "it is null"}
		}
	}

	return end(dec)
}

// checkDescriptor reads a descriptor, or null, which is not there.
func checkDescriptor(dec *json.Decoder, field string) (there bool, err error) {
	digested := false

	there, err = eachField(dec, field, descriptorFields, func(name string) error {
		if name != "digest" {
			return skip(dec)
		}

		digested = true

		var text string
		if err := dec.Decode(&text); err != nil {
			return &ManifestError{Field: field + ".digest", Reason: err.Error()}
		}

		if _, err := ParseDigest(text); err != nil {
			return &ManifestError{Field: field + ".digest", Reason: err.Error()}
		}

		return nil
	})
	if err == nil && there && !digested {
		err = &ManifestError{Field: field + ".digest", Reason: "missing"}
	}

	return there, err
}

// eachField calls visit for each field of an object, to read its value. null is not there.
func eachField(dec *json.Decoder, field string, known []string, visit func(name string) error) (there bool, err error) {
	begin, err := dec.Token()
	if err != nil {
		return false, &ManifestError{Reason: err.Error()}
	}

	if begin == nil {
		return false, nil
	}

	if begin != json.Delim('{') {
		return false, &ManifestError{Field: field, Reason: "not a JSON object"}
	}

	var seen []string

	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return false, &ManifestError{Reason: err.Error()}
		}

		name, _ := token.(string) // of an object the decoder returns nothing else

		if seen, err = checkField(seen, name, field, known); err != nil {
			return false, err
		}

		if err := visit(name); err != nil {
			return false, err
		}
	}

	return true, end(dec)
}

// checkField adds a field's name to those that were seen, if it is a known one.
func checkField(seen []string, name, field string, known []string) ([]string, error) {
	at := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, name) })
	if at < 0 {
		return seen, nil
	}

	path := strings.TrimPrefix(field+"."+known[at], ".")

	switch {
	case name != known[at]:
		return nil, &ManifestError{Field: path, Reason: fmt.Sprintf("it is written %q", name)}
	case slices.Contains(seen, name):
		return nil, &ManifestError{Field: path, Reason: "it is there twice"}
	}

	return append(seen, name), nil
}

// skip reads a value, of at most 10,000 levels (encoding/json).
func skip(dec *json.Decoder) error {
	var value json.RawMessage
	if err := dec.Decode(&value); err != nil {
		return &ManifestError{Reason: err.Error()}
	}

	return nil
}

// end reads the end of an object or an array.
func end(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil {
		return &ManifestError{Reason: err.Error()}
	}

	return nil
}

package storage

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

var (
	shapeDigest = digest.FromString("x").String()
	shapeLayer  = `{"mediaType":"a/b","digest":"` + shapeDigest + `","size":1}`
)

// shapeImage is a manifest with further fields, and one layer that is written as given.
func shapeImage(fields, layer string) string {
	return `{"schemaVersion":2,` + fields + `"config":` + shapeLayer + `,"layers":[` + layer + `]}`
}

func push(body string) (*ManifestRecord, error) {
	return checkPut(&ManifestPut{Body: []byte(body)})
}

func TestAmbiguousManifests(t *testing.T) {
	for name, body := range map[string]string{
		"layers twice":             shapeImage(`"layers":[],`, shapeLayer),
		"layers in capitals":       shapeImage(`"Layers":[],`, shapeLayer),
		"config in capitals":       shapeImage(`"CONFIG":`+shapeLayer+`,`, shapeLayer),
		"a long s in subject":      shapeImage(`"ſubject":`+shapeLayer+`,`, shapeLayer),
		"an escaped name twice":    shapeImage(`"\u006cayers":[],`, shapeLayer),
		"digest twice":             shapeImage("", `{"digest":"`+shapeDigest+`","digest":"`+shapeDigest+`","size":1}`),
		"digest in capitals":       shapeImage("", `{"Digest":"`+shapeDigest+`","size":1}`),
		"size twice":               shapeImage("", `{"digest":"`+shapeDigest+`","size":1,"size":2}`),
		"no digest":                shapeImage("", `{}`),
		"null for a layer":         shapeImage("", `null`),
		"a layer that is a list":   shapeImage("", `[]`),
		"negative size":            shapeImage("", `{"digest":"`+shapeDigest+`","size":-1}`),
		"size beyond int64":        shapeImage("", `{"digest":"`+shapeDigest+`","size":9223372036854775808}`),
		"size with a fraction":     shapeImage("", `{"digest":"`+shapeDigest+`","size":1.5}`),
		"size in 1 MB of figures":  shapeImage("", `{"digest":"`+shapeDigest+`","size":`+strings.Repeat("9", 1<<20)+`}`),
		"a digest of a path":       shapeImage("", `{"digest":"sha256:../../../../etc/passwd","size":1}`),
		"a digest in capitals":     shapeImage("", `{"digest":"`+strings.ToUpper(shapeDigest[:8])+shapeDigest[8:]+`","size":1}`),
		"invalid UTF-8":            shapeImage("\"annotations\":{\"a\":\"\xff\"},", shapeLayer),
		"UTF-8 of a surrogate":     shapeImage("\"annotations\":{\"a\":\"\xed\xa0\x80\"},", shapeLayer),
		"annotations of numbers":   shapeImage(`"annotations":{"a":1},`, shapeLayer),
		"urls that are none":       shapeImage("", `{"digest":"`+shapeDigest+`","size":1,"urls":5}`),
		"two manifests":            shapeImage("", shapeLayer) + shapeImage("", shapeLayer),
		"half a manifest":          shapeImage("", shapeLayer)[:100],
		"no manifest":              `null`,
		"a list":                   `[` + shapeLayer + `]`,
		"100,000 levels":           shapeImage(`"x":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+`,`, shapeLayer),
		"100,000 levels of config": `{"config":` + strings.Repeat(`{"x":`, 100_000),
		"a long artifact type":     shapeImage(`"artifactType":"a/`+strings.Repeat("b", maxArtifactType)+`",`, shapeLayer),
	} {
		_, err := push(body)

		var invalid *ManifestError
		if !errors.As(err, &invalid) {
			t.Errorf("%s: got error %v", name, err)
		}

		if err != nil && len(err.Error()) > 500 {
			t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
		}
	}
}

func TestUnusualManifests(t *testing.T) {
	for name, body := range map[string]string{
		"unknown fields twice":    shapeImage(`"x":1,"x":2,"X":3,`, shapeLayer),
		"null for a subject":      shapeImage(`"subject":null,`, shapeLayer),
		"no urls":                 shapeImage("", `{"digest":"`+shapeDigest+`","size":1,"urls":[ ]}`),
		"the largest size":        shapeImage("", `{"digest":"`+shapeDigest+`","size":9223372036854775807}`),
		"9,000 levels":            shapeImage(`"x":`+strings.Repeat("[", 9000)+strings.Repeat("]", 9000)+`,`, shapeLayer),
		"1 MB of figures":         shapeImage(`"x":`+strings.Repeat("9", 1<<20)+`,`, shapeLayer),
		"annotations of 4 MiB":    shapeImage(`"annotations":{"a":"`+strings.Repeat("b", 4<<20)+`"},`, shapeLayer),
		"65,536 layers":           shapeImage("", strings.Repeat(shapeLayer+",", 65_535)+shapeLayer),
		"a long artifact type":    shapeImage(`"artifactType":"a/`+strings.Repeat("b", maxArtifactType-2)+`",`, shapeLayer),
		"spaces between anything": " { \"schemaVersion\" : 2 , \"config\" : " + shapeLayer + " , \"layers\" : [ ] } \n",
	} {
		record, err := push(body)
		if err != nil {
			t.Errorf("%s: %.300v", name, err)
		} else if len(record.Blobs) != 1 {
			t.Errorf("%s: it names %d", name, len(record.Blobs))
		}
	}
}

// TestMemoryOfManifests: whatever a body is made of, to read it takes a small multiple of it.
func TestMemoryOfManifests(t *testing.T) {
	const size, most = MaxManifest - 1<<10, 20

	fill := func(before, piece, after string) string {
		return before + strings.Repeat(piece, (size-len(before))/len(piece)) + after
	}

	var keys strings.Builder
	for n := 0; keys.Len() < size; n++ {
		fmt.Fprintf(&keys, `"%x":"",`, n)
	}

	for name, body := range map[string]string{
		"empty layers":          fill(`{"schemaVersion":2,"layers":[`, `{},`, `{}]}`),
		"null for manifests":    fill(`{"schemaVersion":2,"manifests":[`, `null,`, `null]}`),
		"layers":                fill(`{"schemaVersion":2,"config":`+shapeLayer+`,"layers":[`, shapeLayer+`,`, shapeLayer+`]}`),
		"urls":                  fill(`{"schemaVersion":2,"config":{"digest":"`+shapeDigest+`","size":1,"urls":[`, `"",`, `""]}}`),
		"levels":                fill(`{"schemaVersion":2,"x":`, `[`, ``),
		"numbers":               fill(`{"schemaVersion":2,"x":[`, `0,`, `0]}`),
		"a million annotations": shapeImage(`"annotations":{`+keys.String()[:keys.Len()-1]+`},`, ""),
	} {
		t.Run(name, func(t *testing.T) {
			if took := allocated(func() { _, _ = push(body) }); took > most*uint64(len(body)) {
				t.Errorf("%d bytes for each byte", took/uint64(len(body)))
			} else {
				t.Logf("%d bytes for each byte", took/uint64(len(body)))
			}
		})
	}
}

// allocated is how many bytes do takes from the heap, though not at once.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats

	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)

	return after.TotalAlloc - before.TotalAlloc
}

// FuzzCheckShape: what has one meaning only has the same for a reader of the image-spec's
// exact names.
func FuzzCheckShape(f *testing.F) {
	f.Add([]byte(shapeImage("", shapeLayer)))
	f.Add([]byte(shapeImage(`"Layers":[],`, shapeLayer)))
	f.Fuzz(func(t *testing.T, body []byte) {
		if checkShape(body) != nil {
			return
		}

		if parsed, err := decodeManifest(body); err == nil && parsed.Layers != nil && !bytes.Contains(body, []byte("layers")) &&
			!bytes.Contains(body, []byte(`\u`)) {
			t.Errorf("layers of another name: %s", body)
		}
	})
}

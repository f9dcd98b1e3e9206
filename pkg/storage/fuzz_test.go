package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

var (
	// From distribution-spec, "Pulling manifests".
	nameGrammar = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagGrammar  = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

func FuzzParseRepoName(f *testing.F) {
	for _, seed := range []string{"a", "a/b", "a--b", "a__b", "a___b", "a.b/c_d", "A", "a//b", "/a", "a/", "..", "a/blobs/sha256", "index.json", "a._b"} {
		f.Add(seed)
	}

	f.Fuzz(func(t *testing.T, name string) {
		_, err := ParseRepoName(name)
		want := nameGrammar.MatchString(name) && len(name) <= maxRepoName

		if err == nil && !want {
			t.Errorf("%q was taken", name)
		}

		if err != nil && want && !hasReserved(name) {
			t.Errorf("%q was refused: %v", name, err)
		}
	})
}

func hasReserved(name string) bool {
	return regexp.MustCompile(`(^|/)(index\.json|oci-layout)(/|$)|(^|/)blobs/sha(256|384|512)(/|$)|^(cache|meta)\.db`).MatchString(name)
}

func FuzzParseTag(f *testing.F) {
	f.Add("latest")
	f.Add("-a")
	f.Fuzz(func(t *testing.T, tag string) {
		if _, err := ParseTag(tag); (err == nil) != tagGrammar.MatchString(tag) {
			t.Errorf("%q: %v", tag, err)
		}
	})
}

func FuzzParseManifest(f *testing.F) {
	sum := digest.FromString("x").String()
	f.Add([]byte(`{"schemaVersion":2,"config":{"digest":"`+sum+`","size":1},"layers":[{"digest":"`+sum+`","size":1}]}`), "")
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"`+sum+`","size":1}],"subject":{"digest":"`+sum+`","size":2}}`), mediaTypeOCIIndex)
	f.Add([]byte(`[]`), "a/b; c")
	f.Add([]byte(`{"schemaVersion":1,"fsLayers":[]}`), "")
	f.Fuzz(func(t *testing.T, body []byte, mediaType string) {
		record, err := parseManifest(body, digest.FromBytes(body), mediaType)

		var invalid *ManifestError
		if err != nil && !errors.As(err, &invalid) {
			t.Fatalf("an error of another kind: %v", err)
		}

		if err != nil {
			return
		}

		st := newState()
		st.fold(Record{Seq: 1, Time: time.Unix(1, 0), Ops: []Op{{Kind: OpPutManifest, Manifest: record}}})
		checkRoundTrips(t, st)
		st.fold(Record{Seq: 2, Time: time.Unix(2, 0), Ops: []Op{{Kind: OpDeleteManifest, Digest: record.Digest}}})
		checkRoundTrips(t, st)

		if st.refs.Len() != 0 || st.referrers.Len() != 0 || st.burials.Len() != 1 {
			t.Errorf("a manifest that was deleted is there, or cannot be brought back")
		}

		st.fold(Record{Seq: 3, Ops: []Op{{Kind: OpForget, Digest: record.Digest}}})

		if st.burials.Len() != 0 || st.graves.Len() != 0 {
			t.Errorf("something stays of a manifest that was forgotten")
		}
	})
}

// checkRoundTrips writes a state as a checkpoint and reads it, and checks that the
// index.json of it is known as ours.
func checkRoundTrips(t *testing.T, st *state) {
	t.Helper()

	var checkpoint, again, index bytes.Buffer
	if err := encodeCheckpoint(&checkpoint, st); err != nil {
		t.Fatal(err)
	}

	back, err := decodeCheckpoint(bytes.NewReader(checkpoint.Bytes()))
	if err != nil {
		t.Fatal(err)
	}

	if err := errors.Join(encodeCheckpoint(&again, back), encodeIndex(&index, st)); err != nil {
		t.Fatal(err)
	}

	if !bytes.Equal(checkpoint.Bytes(), again.Bytes()) {
		t.Errorf("a checkpoint reads as another:\n%s\n%s", checkpoint.Bytes(), again.Bytes())
	}

	if seq, ours := checkIndex(index.Bytes()); !ours || seq != st.seq || !json.Valid(index.Bytes()) {
		t.Errorf("index.json is not ours: %s", index.Bytes())
	}

	if parsed, err := parseIndex(index.Bytes()); err != nil || parsed.seq != st.seq {
		t.Errorf("index.json does not parse: %v", err)
	}
}

func FuzzParseIndex(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"platform":{"os":"x"},"annotations":{"org.opencontainers.image.ref.name":"a","b":"c"}}],"x":1,"annotations":{"y":"z"}}`))
	f.Add([]byte(`{"manifests":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		index, err := parseIndex(data)
		if err != nil {
			return
		}

		st := newState()
		ops := []Op{{Kind: OpAdoptIndex, Digest: digest.FromBytes(data), Extra: index.extra}}

		for _, entry := range index.entries {
			if entry.Digest == "" {
				ops[0].Kept = append(ops[0].Kept, entry.raw)

				continue
			}

			ops = append(ops, Op{Kind: OpPutManifest, Manifest: &ManifestRecord{Digest: entry.Digest, Extra: entry.extra}})

			if tag, err := ParseTag(entry.tag); err == nil {
				ops = append(ops, Op{Kind: OpSetTag, Tag: tag, Digest: entry.Digest, Extra: entry.extra})
			}
		}

		st.fold(Record{Seq: 7, Time: time.Unix(1, 0), Ops: ops})
		checkRoundTrips(t, st)
	})
}

func FuzzDecodeCheckpoint(f *testing.F) {
	st := newState()
	st.fold(Record{Seq: 3, Time: time.Unix(1, 0), Ops: []Op{
		{Kind: OpPutManifest, Manifest: &ManifestRecord{Digest: digest.FromString("m"), Size: 1, Subject: digest.FromString("s")}},
		{Kind: OpSetTag, Tag: "t", Digest: digest.FromString("m")},
		{Kind: OpHideBlob, Digest: digest.FromString("b")},
	}})

	var seed bytes.Buffer
	if err := encodeCheckpoint(&seed, st); err != nil {
		f.Fatal(err)
	}

	f.Add(seed.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := decodeCheckpoint(bytes.NewReader(data)); err == nil {
			checkRoundTrips(t, got)
		} else if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) {
			t.Errorf("an error of another kind: %v", err)
		}
	})
}

func FuzzDecodeRecords(f *testing.F) {
	seed, err := EncodeRecords([]Record{{Seq: 1, Time: time.Unix(1, 0), Who: "me", Ops: []Op{{Kind: OpDeleteTag, Tag: "t"}}}})
	if err != nil {
		f.Fatal(err)
	}

	f.Add(seed)
	f.Fuzz(func(t *testing.T, line []byte) {
		records, err := DecodeRecords(line)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) {
				t.Errorf("an error of another kind: %v", err)
			}

			return
		}

		st := newState()
		for _, record := range records {
			st.fold(record)
		}
	})
}

func FuzzDigesterNote(f *testing.F) {
	note, err := newDigester(digest.SHA256).note()
	if err != nil {
		f.Fatal(err)
	}

	f.Add(string(note.Algorithm), note.Hashed, note.State)
	f.Fuzz(func(t *testing.T, alg string, hashed int64, state []byte) {
		d := digesterFrom(digesterNote{Algorithm: digest.Algorithm(alg), Hashed: hashed, State: state}, 10)
		if d.hashed < 0 || d.hashed > 10 {
			t.Errorf("a note claims %d bytes of 10", d.hashed)
		}
	})
}

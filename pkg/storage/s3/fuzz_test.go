package s3

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

var someDigest = digest.FromString("bytes")

func FuzzUploadState(f *testing.F) {
	for _, state := range []uploadState{
		{Format: uploadFormat, Tail: 5, Note: []byte("note")},
		{Format: uploadFormat, PartSize: minPart, Full: minPart, Tail: 1, Sent: &multipart{Key: "k", ID: "i", Parts: []part{{"etag", minPart}}}},
		{Format: uploadFormat, PartSize: minPart, Full: 7, Known: true, Dst: storage.BlobKey("a", someDigest)},
		{Format: uploadFormat + 1},
	} {
		line, err := json.Marshal(state)
		if err != nil {
			f.Fatal(err)
		}

		f.Add(append(line, '\n'))
	}

	f.Fuzz(func(t *testing.T, line []byte) {
		state, err := decodeState(line)
		if err != nil {
			isKnown(t, err)

			return
		}

		u := (&Bucket{}).newUpload("a/.uploads/x")
		u.take(state)

		if u.full < 0 || u.sent != nil && !state.Staged && u.sent.size() != u.full {
			t.Fatalf("%+v was taken", state)
		}
	})
}

func FuzzTombstone(f *testing.F) {
	f.Add([]byte(`{"format":1,"gen":3,"condemned":true,"token":"t"}`))
	f.Add([]byte(`{"format":2,"gen":"x"}`))
	f.Add([]byte(`{"format":1,"gen":-1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		stone, err := decodeTombstone(data)
		if err != nil {
			isKnown(t, err)

			return
		}

		if gen, ok := generation(poolPlaceOf(stone.Gen)); !ok || gen != stone.Gen {
			t.Fatalf("generation %d is written as %s", stone.Gen, poolPlaceOf(stone.Gen))
		}
	})
}

func isKnown(t *testing.T, err error) {
	t.Helper()

	if !errors.Is(err, storage.ErrDamaged) && !errors.Is(err, storage.ErrFormat) {
		t.Fatalf("neither damaged nor of another format: %v", err)
	}
}

func FuzzKeys(f *testing.F) {
	key := storage.BlobKey("a/b", someDigest)

	for _, seed := range []string{
		key, key + "/pool.0", key + "/pool.-1", key + "/pool.+1", key + "/pool.01", key + "/" + newToken(), key + "/x/y", key + "//x",
		"a/.uploads/x", "a/.uploads/x.data", "a/.uploads/x.aside.y", "a/.uploads/.uploads/x",
		memberPrefix(someDigest, "a/b") + "token", memberPrefix(someDigest, "a:b"), "_blobs/sha256/x/in/", "a/.zot/head", "_zot/root.json",
	} {
		f.Add(seed)
	}

	f.Fuzz(func(t *testing.T, key string) {
		checkBlobKey(t, key)
		checkMember(t, key)

		if repo, id, ok := splitUploadKey(key); ok && storage.UploadKey(repo, id) != key {
			t.Errorf("%q is upload %q of %q", key, id, repo)
		}
	})
}

func checkBlobKey(t *testing.T, key string) {
	t.Helper()

	b, ok := parseBlob(key)
	if !ok {
		return
	}

	again := b.key()
	if b.place != "" {
		again = b.at(b.place)
	}

	if again != key {
		t.Errorf("%q is read as %q", key, again)
	}

	gen, pooled := generation(b.place)
	if pooled && (poolPlaceOf(gen) != b.place || physical(key) != dataKey(b.digest, gen)) {
		t.Errorf("%q is generation %d at %q", key, gen, physical(key))
	}

	if !pooled && physical(key) != key {
		t.Errorf("%q is at %q", key, physical(key))
	}

	if strings.Contains(b.place, "/") {
		t.Errorf("%q has the place %q", key, b.place)
	}
}

func checkMember(t *testing.T, key string) {
	t.Helper()

	repo, err := splitMember(someDigest, key)
	if err == nil && strings.HasPrefix(key, membersPrefix(someDigest)) && !strings.HasPrefix(key+"/", memberPrefix(someDigest, repo)) {
		t.Errorf("%q is a membership of %q", key, repo)
	}
}

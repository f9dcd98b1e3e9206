package s3

import (
	"context"
	"testing"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// TestPartSize: S3 takes no more than 10,000 parts, and all of one size are what every
// server takes. A client that sends a large blob in small requests must not run out of
// them.
func TestPartSize(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30

	blob := storage.BlobKey("a", digest.FromString("x"))

	for _, c := range []struct {
		what     string
		dst      string
		expected int64
		want     int64
	}{
		{"nobody knows", "", -1, defaultPart},
		{"a request of 5 MiB, and more may come", "", 5 * mib, defaultPart},
		{"a request of 100 MiB, and more may come", "", 100 * mib, defaultPart},
		{"a request of 300 GiB, and more may come", "", 300 * gib, 123 * blockSize},
		{"6 MiB in all", blob, 6 * mib, 6 * mib},
		{"100 MiB in all", blob, 100 * mib, minPart},
		{"100 GiB in all", blob, 100 * gib, 10*mib + 256<<10},
	} {
		opts := Options{}
		opts.fill()

		u := (&Bucket{opts: opts, parts: opts.Parts}).newUpload("a/.uploads/x")
		u.Expect(c.dst, c.expected)
		u.decide()

		if u.partSize != c.want {
			t.Errorf("%s: parts of %d bytes, want %d", c.what, u.partSize, c.want)
		}
	}
}

// TestPartsAreCounted: a part that is through lets go of its memory, and so of its size,
// perhaps before whoever has sent it goes on.
func TestPartsAreCounted(t *testing.T) {
	b, err := connect(t.Context(), Options{Bucket: "b", Endpoint: "http://127.0.0.1:1", AccessKey: "k", SecretKey: "s"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()

	through, cancel := context.WithCancel(t.Context())
	cancel() // no request is made

	for range 500 {
		u := b.newUpload("a/.uploads/x")
		u.sent = &multipart{Key: u.key, ID: "id"}

		if _, err := u.tail.Write(make([]byte, 2*blockSize)); err != nil {
			t.Fatal(err)
		}

		if err := u.send(through); err != nil || u.Size() != 2*blockSize {
			t.Fatalf("%d bytes were taken, not %d (%v)", u.Size(), 2*blockSize, err)
		}

		if err := u.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

//go:build remote

package s3_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/internal/faultproxy"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// TestCopyInParts has the server copy what is larger than one copy may be, at a size that
// a test can send: what comes out is what came in, whatever befalls the copy of a part.
func TestCopyInParts(t *testing.T) {
	const part = 5 << 20

	b := newBench(t)

	var lines strings.Builder // no two parts are alike
	for n := 0; lines.Len() <= 2*part; n++ {
		fmt.Fprintf(&lines, "line %d of a layer that is larger than a copy may be\n", n)
	}

	content := lines.String()

	for name, fault := range map[string]*faultproxy.Rule{
		"no fault":                   nil,
		"an error in the body":       {Kind: faultproxy.ErrorBody, Times: 2},
		"done, but an error":         {Kind: faultproxy.ErrorBody, After: true, Times: 2},
		"the connection is reset":    {Kind: faultproxy.ConnReset, Times: 2},
		"done, but nobody says so":   {Kind: faultproxy.ConnReset, After: true, Times: 2},
		"the answer to one is short": {Kind: faultproxy.Truncate, Times: 1},
	} {
		t.Run(name, func(t *testing.T) {
			opts := b.proxied()
			opts.CopyAbove, opts.CopyPart = 2*part, part
			r := &countRun{bench: b, opts: opts}
			r.World = storagetest.OpenOn(t, mustOpen(t, opts), storage.NoCache{}, storage.Options{Log: zerolog.Nop()})

			b.proxy.Reset()

			want := 3

			if fault != nil {
				fault.Match = faultproxy.On(faultproxy.UploadPartCopy)
				b.proxy.Inject(*fault)

				want += fault.Times
			}

			r.upload("a", "", content) // the digest comes after the bytes

			asked := b.proxy.Counts()
			if got := asked[faultproxy.UploadPartCopy]; got != want {
				t.Errorf("%d copies of a part were asked for, want %d", got, want)
			}

			if got := asked[faultproxy.CopyObject]; got != 0 {
				t.Errorf("%d objects were copied whole", got)
			}

			if got := r.Pull("a", digest.FromString(content)); got != content {
				t.Errorf("%d bytes came out, which are not the %d that came in", len(got), len(content))
			}
		})
	}
}

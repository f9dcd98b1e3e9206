//go:build replicas

package replicas

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/internal/faultproxy"
	"zotregistry.io/zot/internal/wire"
)

// sizes of blobs, in bytes: what stays in memory, what is a tail, one part and more.
var (
	small = []int{0, 1, 2000, 300 << 10, 1500 << 10}
	large = []int{17 << 20, 40 << 20}
)

// routes are the replicas that a client is led to: for POST, for each PATCH and for PUT.
var routes = []string{"A B", "A A B", "A B A", "A BC A", "A ABA B", "A BB C", "B ACBA A"}

// TestUploadWanders begins an upload at one replica and goes on at others.
func TestUploadWanders(t *testing.T) {
	for _, dedupe := range []bool{true, false} {
		c := newCluster(t)
		c.add(t, 3, settings{"dedupe": dedupe})

		for i, route := range routes {
			t.Run(fmt.Sprintf("dedupe=%v/%s", dedupe, route), func(t *testing.T) {
				for _, size := range append(small, large[i%2]) {
					blob := randomBlob(uint64(i), size)
					repo := fmt.Sprintf("wander/%d/%d", i, size)

					wander(t, c, repo, route, blob)
					verifyBlob(t, c, repo, blob)
				}
			})
		}
	}
}

func randomBlob(seed uint64, size int) []byte {
	blob := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(size), byte(size >> 8), byte(size >> 16), byte(size >> 24)}).Read(blob) // never fails

	return blob
}

// wander sends a piece with each PATCH and the last one with the PUT.
func wander(t *testing.T, c *cluster, repo, route string, blob []byte) {
	t.Helper()

	stops := split(route)
	up, err := c.at(stops.post).StartUpload(t.Context(), repo)
	must(t, err)

	piece := len(blob) / (len(stops.patches) + 1)
	sent := 0

	for _, stop := range stops.patches {
		up = up.At(c.at(stop).Client)
		if piece > 0 {
			must(t, up.Append(t.Context(), int64(sent), blob[sent:sent+piece]))
		}

		sent += piece
	}

	up = up.At(c.at(stops.put).Client)
	must(t, up.Finish(t.Context(), digest.FromBytes(blob), blob[sent:]))
}

type stops struct {
	post, put byte
	patches   []byte
}

func split(route string) stops {
	words := bytes.Fields([]byte(route))
	last := len(words) - 1

	return stops{post: words[0][0], patches: bytes.Join(words[1:last], nil), put: words[last][0]}
}

func (c *cluster) at(letter byte) *replica { return c.replicas[letter-'A'] }

// verifyBlob reads a blob from every replica.
func verifyBlob(t *testing.T, c *cluster, repo string, blob []byte) {
	t.Helper()

	for i, r := range c.replicas {
		got, err := r.Blob(t.Context(), repo, digest.FromBytes(blob))
		if err != nil || !bytes.Equal(got, blob) {
			t.Errorf("replica %d: %s: %d of %d bytes (%v)", i, repo, len(got), len(blob), err)
		}
	}
}

// TestStreamWanders sends bytes without saying how many they are, and goes on elsewhere.
func TestStreamWanders(t *testing.T) {
	c := newCluster(t)
	c.add(t, 2, nil)

	for _, size := range append(small, large[0]) {
		blob := randomBlob(100, size)
		first := blob[:size*2/3]

		up, err := c.at('A').StartUpload(t.Context(), "stream")
		must(t, err)

		up = up.At(c.at('B').Client)
		must(t, up.Stream(t.Context(), bytes.NewReader(first)))

		up = up.At(c.at('A').Client)
		must(t, up.Finish(t.Context(), digest.FromBytes(blob), blob[len(first):]))
		verifyBlob(t, c, "stream", blob)
	}
}

// TestUploadSurvivesReplica kills the replica that took the last PATCH: what it has
// acknowledged is at the others.
func TestUploadSurvivesReplica(t *testing.T) {
	c := newCluster(t)
	c.add(t, 3, nil)

	for i, size := range append(small[2:], large...) {
		blob := randomBlob(200, size)
		third := size / 3

		up, err := c.at('A').StartUpload(t.Context(), "killed")
		must(t, err)

		dying := c.replicas[i%3]

		up = up.At(dying.Client)
		must(t, up.Append(t.Context(), 0, blob[:third]))
		dying.kill(t)

		up = up.At(c.replicas[(i+1)%3].Client)
		verifyOffset(t, up, third)
		must(t, up.Append(t.Context(), int64(third), blob[third:2*third]))

		dying.start()

		up = up.At(dying.Client)
		verifyOffset(t, up, 2*third)
		must(t, up.Finish(t.Context(), digest.FromBytes(blob), blob[2*third:]))
		verifyBlob(t, c, "killed", blob)
	}
}

func verifyOffset(t *testing.T, up *wire.Upload, want int) {
	t.Helper()

	have, err := up.Offset(t.Context())
	if err != nil || have != int64(want) {
		t.Fatalf("the upload stands at %d (%v), %d bytes were acknowledged", have, err, want)
	}
}

// TestUploadIsTakenOver: a replica that hangs is left for another one; what that has
// acknowledged is not taken back when the first one wakes up.
func TestUploadIsTakenOver(t *testing.T) {
	c := newCluster(t)
	proxies := c.addBehindProxies(t, 2)
	c.add(t, 1, nil)

	for _, begun := range []int{0, 700} {
		blob := randomBlob(400, 3000)

		up, err := c.at('A').StartUpload(t.Context(), "taken")
		must(t, err)

		if begun > 0 {
			must(t, up.Append(t.Context(), 0, blob[:begun]))
		}

		hold := proxies[0].Inject(faultproxy.Rule{Kind: faultproxy.Hold, Match: func(r faultproxy.Request) bool {
			return r.Operation == faultproxy.PutObject && strings.Contains(r.Key, "/.uploads/")
		}})
		other := up.At(c.at('B').Client)
		hanging := make(chan error, 1)

		go func() { hanging <- up.Append(t.Context(), int64(begun), blob[begun:1000]) }()

		must(t, hold.Await(t.Context(), 1))
		must(t, other.Append(t.Context(), int64(begun), blob[begun:2000]))
		hold.Release()

		var status *wire.StatusError
		if err := <-hanging; !errors.As(err, &status) || status.Status != http.StatusConflict {
			t.Errorf("the replica that hung should say that it is not alone: %v", err)
		}

		hold.Remove()

		last := other.At(c.at('C').Client)
		verifyOffset(t, last, 2000)
		must(t, last.Finish(t.Context(), digest.FromBytes(blob), blob[2000:]))
		verifyBlob(t, c, "taken", blob)
	}
}

// TestUploadIsOver: a client whose PUT was answered, but who did not hear of it, repeats it
// at another replica, and learns that there is no such upload any more.
func TestUploadIsOver(t *testing.T) {
	c := newCluster(t)
	c.add(t, 3, nil)

	for _, size := range append(small[2:], large[0]) {
		blob := randomBlob(300, size)

		up, err := c.at('A').StartUpload(t.Context(), "over")
		must(t, err)
		must(t, up.Append(t.Context(), 0, blob[:size/2]))
		must(t, up.At(c.at('B').Client).Finish(t.Context(), digest.FromBytes(blob), blob[size/2:]))

		again := func(letter byte) error {
			return up.At(c.at(letter).Client).Finish(t.Context(), digest.FromBytes(blob), blob[size/2:])
		}

		for _, letter := range []byte("CB") {
			if err := again(letter); !errors.Is(err, wire.ErrNotFound) {
				t.Errorf("replica %c, %d bytes: %v", letter, size, err)
			}
		}

		// The one that has the bytes in memory still may take them once more.
		if err := again('A'); err != nil && !errors.Is(err, wire.ErrNotFound) && !isServerError(err) {
			t.Errorf("replica A, %d bytes: %v", size, err)
		}

		verifyBlob(t, c, "over", blob)
	}
}

//go:build memory

package s3_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/internal/servers"
)

const (
	uploads     = 32
	uploadSize  = 100 << 20
	maxResident = 256 << 20
)

// TestResidentMemory has 32 clients push 100 MiB each at once to a bucket. The process
// that takes them never has more than 256 MiB of memory resident. It moves 6.4 GB
// through the server of S3, so it has a make target of its own.
func TestResidentMemory(t *testing.T) {
	for name, push := range map[string]func(context.Context, string, int) error{
		"PUT with Content-Length": pushByPut,
		"PATCH in chunks":         pushByPatch,
	} {
		t.Run(name, func(t *testing.T) {
			server := servers.StartS3(t)
			if err := server.Bucket(t.Context(), "zot"); err != nil {
				t.Fatal(err)
			}

			zot := (&daemon.Zot{Storage: map[string]any{"storageDriver": map[string]any{
				"name": "s3", "bucket": "zot", "region": server.Region, "regionendpoint": server.Endpoint,
				"accesskey": server.AccessKey, "secretkey": server.SecretKey, "forcepathstyle": true,
			}}}).Start(t)

			idle := resident(t, zot.PID())
			begun := time.Now()

			var group errgroup.Group

			for n := range uploads {
				group.Go(func() error { return push(t.Context(), "http://"+zot.Addr, n) })
			}

			if err := group.Wait(); err != nil {
				t.Fatal(err)
			}

			peak := resident(t, zot.PID())
			t.Logf("%d uploads of %d MiB took %s; %d MiB were resident at most, %d before",
				uploads, uploadSize>>20, time.Since(begun).Round(time.Millisecond), peak>>20, idle>>20)

			if peak > maxResident {
				t.Errorf("%d MiB were resident", peak>>20)
			}
		})
	}
}

// resident is how much memory of a process was resident at most, in bytes.
func resident(t *testing.T, pid int) int64 {
	t.Helper()

	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}

	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}

	t.Fatal("the kernel does not tell VmHWM")

	return 0
}

// blob is the n-th blob, made while it is read.
func blob(n int) io.Reader { return io.LimitReader(&counter{n: uint64(n) << 32}, uploadSize) }

// counter is bytes of which no two blocks are the same.
type counter struct {
	n     uint64
	block [4096]byte
	left  []byte
}

func (c *counter) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		c.n++
		binary.LittleEndian.PutUint64(c.block[:], c.n)
		c.left = c.block[:]
	}

	n := copy(p, c.left)
	c.left = c.left[n:]

	return n, nil
}

func digestOf(n int) (string, error) {
	sum := sha256.New()
	_, err := io.Copy(sum, blob(n))

	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), err
}

// do sends a request, and returns where to go on.
func do(ctx context.Context, method, url string, body io.Reader, length int64, want int) (location string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return "", err
	}

	req.ContentLength = length

	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()

	if res.StatusCode != want {
		answer, _ := io.ReadAll(res.Body)

		return "", fmt.Errorf("%s %s: %s: %s", method, url, res.Status, answer)
	}

	next, err := res.Location()
	if err != nil {
		return "", err
	}

	return next.String(), nil
}

func withDigest(location, digest string) string {
	if strings.Contains(location, "?") {
		return location + "&digest=" + digest
	}

	return location + "?digest=" + digest
}

func pushByPut(ctx context.Context, base string, n int) error {
	digest, err := digestOf(n)
	if err != nil {
		return err
	}

	location, err := do(ctx, http.MethodPost, base+"/v2/a/blobs/uploads/", nil, 0, http.StatusAccepted)
	if err != nil {
		return err
	}

	_, err = do(ctx, http.MethodPut, withDigest(location, digest), blob(n), uploadSize, http.StatusCreated)

	return err
}

func pushByPatch(ctx context.Context, base string, n int) error {
	digest, err := digestOf(n)
	if err != nil {
		return err
	}

	location, err := do(ctx, http.MethodPost, base+"/v2/a/blobs/uploads/", nil, 0, http.StatusAccepted)
	if err != nil {
		return err
	}

	location, err = do(ctx, http.MethodPatch, location, blob(n), -1, http.StatusAccepted)
	if err != nil {
		return err
	}

	_, err = do(ctx, http.MethodPut, withDigest(location, digest), nil, 0, http.StatusCreated)

	return err
}

//go:build crash

package crash

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// verifyFinished: the upload is over, so its blob is there, byte for byte.
func verifyFinished(t *testing.T, p *pusher, s *session) {
	t.Helper()

	if _, err := p.c.Blob(t.Context(), p.repo, digest.FromBytes(s.blob)); err != nil {
		t.Errorf("%s: a finished upload: %v", p.repo, err)
	}
}

// verifyAll pulls each acknowledged image, by tag and by digest, with all its blobs.
func verifyAll(t *testing.T, pushers []*pusher) {
	t.Helper()

	for _, p := range pushers {
		for _, a := range p.acked {
			verifyImage(t, p, a)
		}
	}
}

func verifyImage(t *testing.T, p *pusher, a pushed) {
	t.Helper()

	body, err := p.c.PullImage(t.Context(), p.repo, a.tag)
	if err != nil || digest.FromBytes(body) != a.digest {
		t.Errorf("pull %s:%s: got %s (%v), acknowledged was %s", p.repo, a.tag, digest.FromBytes(body), err, a.digest)
	}

	if _, err := p.c.PullImage(t.Context(), p.repo, a.digest.String()); err != nil {
		t.Errorf("pull %s@%s: %v", p.repo, a.digest, err)
	}
}

// damagedDir has an empty file for each blob that zot does not serve.
const damagedDir = "_damaged"

// verifyFiles hashes each file under root that bears a digest's name. Other tools read
// the directory too, so what is half-written must not stand there either, unless a power cut
// has left it, and zot has found and marked it.
func verifyFiles(t *testing.T, root string) {
	t.Helper()

	checked := 0

	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if path == filepath.Join(root, damagedDir) && err == nil {
			return fs.SkipDir
		}

		if err != nil || e.IsDir() || !strings.HasSuffix(filepath.Dir(path), "/blobs/sha256") {
			return err
		}

		checked++

		return verifyFile(t, root, path)
	})
	if err != nil {
		t.Errorf("walk the root: %v", err)
	}

	if checked == 0 {
		t.Error("no blob found under the root")
	}
}

func verifyFile(t *testing.T, root, path string) error {
	t.Helper()

	_, err := os.Stat(filepath.Join(root, damagedDir, strings.TrimPrefix(path, root)))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}

	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()

	dgst, err := digest.FromReader(f)
	if err == nil && dgst.Encoded() != filepath.Base(path) {
		t.Errorf("%s holds the bytes of %s", path, dgst)
	}

	return err
}

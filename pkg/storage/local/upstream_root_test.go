package local_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"
)

const refName = "org.opencontainers.image.ref.name"

// upstreamRoot is a root as an upstream zot leaves it.
type upstreamRoot struct {
	t    *testing.T
	path string
}

// newUpstreamRoot makes two repositories that share a layer, one of them with an
// index, a referrer and an untagged image, and all that lies beside them.
func newUpstreamRoot(t *testing.T) *upstreamRoot {
	t.Helper()

	u := &upstreamRoot{t: t, path: t.TempDir()}

	arm := u.image("alpine", nil, "shared layer", "arm layer")
	amd := u.image("alpine", nil, "shared layer", "amd layer")
	both := u.manifest("alpine", v1.MediaTypeImageIndex, v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex,
		Manifests: []v1.Descriptor{arm, amd},
	})
	single := u.image("alpine", nil, "shared layer")
	signature := u.image("alpine", &single, "signature")

	u.index("alpine", arm, amd, tagged(both, "3.19"), tagged(single, "3.18"), tagged(single, "latest"), signature)
	u.index("library/app", tagged(u.image("library/app", nil, "shared layer", "app layer"), "v1"))
	u.link("alpine", "library/app", "shared layer", "{}")
	u.cache(map[string][]string{
		"shared layer": {"alpine", "library/app"}, "{}": {"alpine", "library/app"},
		"arm layer": {"alpine"}, "amd layer": {"alpine"}, "app layer": {"library/app"},
	})
	u.beside()

	return u
}

// beside writes what is no image.
func (u *upstreamRoot) beside() {
	u.bolt("meta.db", func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("RepoMetadata"))

		return err
	})

	for name, content := range map[string]string{
		"hardlinkcheck.txt":                                               "x",
		"_sessions/session_ABC":                                           "someone's",
		"_trivy/db/trivy.db":                                              "vulnerabilities",
		"_trivy/java-db/index.json":                                       "{}",
		"alpine/.uploads/0b6c8e5e-5f0e-4a58-9d3c-0c4b1d6a2f11":            "half an upl",
		"alpine/.sync/7f9d/alpine/index.json":                             `{"schemaVersion":2,"manifests":[]}`,
		"alpine/.sync/7f9d/alpine/oci-layout":                             `{"imageLayoutVersion":"1.0.0"}`,
		"library/app/.uploads/3a1c6b1e-98a2-4a0b-8f35-5a7e5b0f3c22":       "",
		"library/app/.sync/11aa/library/app/blobs/sha256/half-downloaded": "ha",
	} {
		u.write(name, content)
	}
}

func (u *upstreamRoot) file(name string) string { return filepath.Join(u.path, name) }

func (u *upstreamRoot) must(err error) {
	u.t.Helper()

	if err != nil {
		u.t.Fatal(err)
	}
}

func (u *upstreamRoot) write(name, content string) {
	u.t.Helper()
	u.must(os.MkdirAll(filepath.Dir(u.file(name)), 0o700))
	u.must(os.WriteFile(u.file(name), []byte(content), 0o600))
}

func blobName(repo string, dgst digest.Digest) string {
	return repo + "/blobs/" + dgst.Algorithm().String() + "/" + dgst.Encoded()
}

func (u *upstreamRoot) blob(repo, mediaType, content string) v1.Descriptor {
	u.t.Helper()

	dgst := digest.FromString(content)
	u.write(blobName(repo, dgst), content)

	return v1.Descriptor{MediaType: mediaType, Digest: dgst, Size: int64(len(content))}
}

func (u *upstreamRoot) manifest(repo, mediaType string, content any) v1.Descriptor {
	u.t.Helper()

	body, err := json.Marshal(content)
	u.must(err)

	return u.blob(repo, mediaType, string(body))
}

func (u *upstreamRoot) image(repo string, subject *v1.Descriptor, layers ...string) v1.Descriptor {
	u.t.Helper()

	image := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: u.blob(repo, v1.MediaTypeImageConfig, "{}"), Subject: subject,
	}
	for _, layer := range layers {
		image.Layers = append(image.Layers, u.blob(repo, v1.MediaTypeImageLayer, layer))
	}

	return u.manifest(repo, v1.MediaTypeImageManifest, image)
}

func tagged(descriptor v1.Descriptor, tag string) v1.Descriptor {
	descriptor.Annotations = map[string]string{refName: tag}

	return descriptor
}

func (u *upstreamRoot) index(repo string, entries ...v1.Descriptor) {
	u.t.Helper()

	body, err := json.Marshal(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: entries})
	u.must(err)
	u.write(repo+"/index.json", string(body))
	u.write(repo+"/oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
}

// link makes blobs of one repository hard links to those of another.
func (u *upstreamRoot) link(from, to string, contents ...string) {
	u.t.Helper()

	for _, content := range contents {
		dgst := digest.FromString(content)
		u.must(os.Remove(u.file(blobName(to, dgst))))
		u.must(os.Link(u.file(blobName(from, dgst)), u.file(blobName(to, dgst))))
	}
}

// cache writes cache.db: for each digest the path that was there first, and all.
func (u *upstreamRoot) cache(known map[string][]string) {
	u.t.Helper()
	u.bolt("cache.db", func(tx *bbolt.Tx) error {
		blobs, err := tx.CreateBucket([]byte("blobs"))
		if err != nil {
			return err
		}

		for content, repos := range known {
			if err := cacheEntry(blobs, digest.FromString(content), repos); err != nil {
				return err
			}
		}

		return nil
	})
}

func cacheEntry(blobs *bbolt.Bucket, dgst digest.Digest, repos []string) error {
	entry, err := blobs.CreateBucket([]byte(dgst))
	if err != nil {
		return err
	}

	original, err := entry.CreateBucket([]byte("original"))
	if err != nil {
		return err
	}

	duplicates, err := entry.CreateBucket([]byte("duplicates"))
	if err != nil {
		return err
	}

	err = original.Put([]byte(blobName(repos[0], dgst)), nil)
	for _, repo := range repos {
		err = errors.Join(err, duplicates.Put([]byte(blobName(repo, dgst)), nil))
	}

	return err
}

func (u *upstreamRoot) bolt(name string, write func(*bbolt.Tx) error) {
	u.t.Helper()

	db, err := bbolt.Open(u.file(name), 0o600, nil)
	u.must(err)
	u.must(errors.Join(db.Update(write), db.Close()))
}

// files returns the content of all files, by name.
func (u *upstreamRoot) files() map[string]string {
	u.t.Helper()

	found := map[string]string{}
	u.must(filepath.WalkDir(u.path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}

		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}

		name, err := filepath.Rel(u.path, path)
		found[name] = string(content)

		return err
	}))

	return found
}

//go:build remote

package cli

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"
	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/pkg/admin"
	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/storage"
)

// mustOpenKept opens the stores of a configuration; the test closes them.
func mustOpenKept(t *testing.T, cfg config.Storage) *keptStores {
	t.Helper()

	stores, err := openStores(t.Context(), quietly(cfg), storeMode{}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		if err := stores.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})

	return &keptStores{stores, cfg, zerolog.Nop()}
}

// mustPushTo pushes an image with one blob.
func (k *keptStores) mustPushTo(t *testing.T, repo storage.RepoName, content string) digest.Digest {
	t.Helper()

	blob := digest.FromString(content)

	status, err := k.StartUpload(t.Context(), repo, "")
	if err != nil {
		t.Fatal(err)
	}

	chunk := storage.Chunk{Body: strings.NewReader(content), Length: int64(len(content))}
	if _, err := k.FinishUpload(t.Context(), repo, status.ID, chunk, blob, ""); err != nil {
		t.Fatal(err)
	}

	descriptor := `{"mediaType":"text/plain","digest":"` + blob.String() + `","size":` + strconv.Itoa(len(content)) + `}`

	put, err := k.PutManifest(t.Context(), storage.ManifestPut{
		Repo: repo, Tags: []storage.Tag{"v1"}, MediaType: "application/vnd.oci.image.manifest.v1+json",
		Body: []byte(`{"schemaVersion":2,"artifactType":"a/b","config":` + descriptor + `,"layers":[]}`),
	})
	if err != nil {
		t.Fatal(err)
	}

	return put.Digest
}

// TestRemoteBackup: a bucket, and a directory of a sub-path beside it, go to one backup, and
// come back to another bucket and another directory.
func TestRemoteBackup(t *testing.T) {
	bucket := func(name string) config.Storage {
		cfg := config.Default().Storage
		cfg.RootDirectory = t.TempDir()
		cfg.StorageDriver = mustStartBucket(t, name)
		cfg.StorageDriver["name"], cfg.StorageDriver["bucket"], cfg.StorageDriver["region"] = "s3", name, "us-east-1"

		var sub config.SubPath
		sub.SetDefaults()
		sub.RootDirectory = t.TempDir()
		cfg.SubPaths = map[string]config.SubPath{"/infra": sub}

		return cfg
	}

	Convey("Given a bucket and a directory", t, func() {
		stores := mustOpenKept(t, bucket("one"))
		image := stores.mustPushTo(t, "team/app", "in the bucket")
		infra := stores.mustPushTo(t, "infra/base", "in the directory")
		dir := filepath.Join(t.TempDir(), "backup")

		done, err := stores.Backup(t.Context(), admin.BackupOptions{Dir: dir}, func(storage.Copied) {})
		So(err, ShouldBeNil)
		So(done.Repos, ShouldEqual, 2)

		done, err = stores.Backup(t.Context(), admin.BackupOptions{Dir: dir}, func(storage.Copied) {})
		So(err, ShouldBeNil)
		So(done, ShouldResemble, storage.Copied{Repos: 2, Of: 2})

		Convey("others hold the same after a restore, each where it belongs", func() {
			again := mustOpenKept(t, bucket("two"))
			_, err := again.Restore(t.Context(), admin.RestoreOptions{Dir: dir}, func(storage.Copied) {})
			So(err, ShouldBeNil)

			for repo, dgst := range map[storage.RepoName]digest.Digest{"team/app": image, "infra/base": infra} {
				want, err := stores.GetManifest(t.Context(), repo, storage.Reference{Digest: dgst})
				So(err, ShouldBeNil)

				got, err := again.GetManifest(t.Context(), repo, storage.Reference{Tag: "v1"})
				So(err, ShouldBeNil)
				So(string(got.Body), ShouldEqual, string(want.Body))
			}

			done, err := again.Backup(t.Context(), admin.BackupOptions{Dir: dir}, func(storage.Copied) {})
			So(err, ShouldBeNil)
			So(done.Bytes, ShouldEqual, 0)
		})
	})
}

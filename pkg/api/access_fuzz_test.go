package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// hoard is a registry in which secret/app has an image.
type hoard struct {
	*storage.Store

	// known are what others must not be told who do not name it themselves: the tag, the
	// name of the repository, and digests.
	known []string
}

// treasure is in all bytes of secret/app.
const treasure = "Tr3asure-chest"

func openHoard(t *testing.T) hoard {
	t.Helper()

	ctx := t.Context()

	store, err := storage.Open(ctx, storagetest.NewMemory().Driver(), storagetest.NewMapCache(),
		storage.Options{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		if err := store.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})

	layer, body := hoardLayer(), hoardManifest()
	upload, err := store.StartUpload(ctx, "secret/app", "")

	if err == nil {
		_, err = store.FinishUpload(ctx, "secret/app", upload.ID,
			storage.Chunk{Body: strings.NewReader(treasure), Length: int64(len(treasure))}, layer, "")
	}

	if err == nil {
		_, err = store.PutManifest(ctx, storage.ManifestPut{
			Repo: "secret/app", Tags: []storage.Tag{"opensesame"}, MediaType: mediaTypeManifest, Body: []byte(body),
		})
	}

	if err != nil {
		t.Fatal(err)
	}

	return hoard{store, []string{"opensesame", "secret/app", layer.Encoded(), digest.FromString(body).Encoded()}}
}

func hoardLayer() digest.Digest { return digest.FromString(treasure) }

func hoardManifest() string {
	layer := fmt.Sprintf(`{"mediaType":"a/b","digest":%q,"size":%d}`, hoardLayer(), len(treasure))

	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":%q,"config":%s,"layers":[%s],`+
		`"subject":{"mediaType":%q,"digest":%q,"size":1},"annotations":{"note":%q}}`,
		mediaTypeManifest, "application/"+treasure, layer, layer, mediaTypeManifest, someDigest, treasure)
}

// ask sends a request that is written as "METHOD target<tab>Header: value<tab>body".
func ask(server *Server, line string) (text string, status int) {
	parts := strings.SplitN(line, "\t", 3)
	parts = append(parts, "", "")
	method, target, _ := strings.Cut(parts[0], " ")

	r := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(parts[2]))
	r.Method = method
	r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")

	name, value, _ := strings.Cut(parts[1], ": ")
	r.Header.Set(name, value)
	r.Header.Set("Content-Type", mediaTypeManifest)

	w := httptest.NewRecorder()

	func() {
		defer func() {
			if value := recover(); value != nil && value != http.ErrAbortHandler { //nolint:errorlint // it is that very value
				panic(value)
			}
		}()

		server.Handler().ServeHTTP(w, r)
	}()

	return fmt.Sprint(w.Header(), w.Body), w.Code
}

// FuzzAccess sends some requests one after the other, as somebody who may not read in
// secret/app: he may do anything in mine/**, and maybe write in secret/**.
func FuzzAccess(f *testing.F) {
	layer, manifest := hoardLayer().String(), digest.FromString(hoardManifest()).String()

	for _, lines := range []string{
		"GET /v2/secret/app/blobs/" + layer + "\tRange: bytes=0-3",
		"HEAD /v2/secret/app/blobs/" + layer + "\tIf-None-Match: *",
		"GET /v2/secret/app/manifests/opensesame\tIf-None-Match: \"" + manifest + `"`,
		"GET /v2/secret/app/manifests/" + manifest,
		"GET /v2/secret/app/tags/list?n=1\nGET /v2/_catalog?n=1\nGET /v2/_catalog?last=a",
		"GET /v2/secret/app/referrers/" + someDigest.String() + "?artifactType=x",
		"GET /v2/secret/app/_oci/tag-history/opensesame",
		"POST /v2/mine/a/blobs/uploads/?mount=" + layer + "&from=secret/app\nGET /v2/mine/a/blobs/" + layer,
		"POST /v2/mine/a/blobs/uploads/?mount=" + layer + "\nGET /v2/mine/a/blobs/" + layer,
		"POST /v2/secret/app/blobs/uploads/?mount=" + layer + "&from=secret/app\nGET /v2/secret/app/blobs/" + layer,
		"PUT /v2/mine/a/manifests/x\t\t" + `{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"` + layer +
			`","size":14},"layers":[]}` + "\nGET /v2/mine/a/manifests/x\nGET /v2/mine/a/blobs/" + layer,
		"PUT /v2/secret/app/manifests/opensesame\tIf-Match: \"" + manifest + `"` + "\t{}\nDELETE /v2/secret/app/manifests/" + manifest,
		"DELETE /v2/secret/app/_oci/repository\nDELETE /v2/secret/app/blobs/" + layer,
		"POST /v2/secret/app/blobs/uploads/?digest=" + layer + "\t\tx\nGET /v2/secret/app/blobs/uploads/x",
		"GET /v2/secret/app/../../secret/app/tags/list\nGET /v2//secret/app/tags/list\nGET /v2/secret/app/tags/list/",
		"OPTIONS /v2/secret/app/tags/list\nTRACE /v2/secret/app/tags/list\nget /v2/secret/app/tags/list",
		"GET /v2/_oci/ext/discover\nGET /v2/\nGET /livez",
	} {
		f.Add(lines, false)
		f.Add(lines, true)
	}

	f.Fuzz(func(t *testing.T, lines string, writes bool) {
		if strings.Contains(lines, treasure) {
			return // he has it already
		}

		store := openHoard(t)
		server := mustServer(t, store, writes)

		said := ""

		for i, line := range strings.Split(lines, "\n") {
			if i == 5 {
				return
			}

			said += line
			told, status := ask(server, line)

			if status >= http.StatusInternalServerError && status != http.StatusServiceUnavailable {
				t.Errorf("%q: %d %s", line, status, told)
			}

			if strings.Contains(told, treasure) {
				t.Errorf("%q: he has it: %s", line, told)
			}

			if reads(line) && status < http.StatusBadRequest && !strings.Contains(told, `"manifests":[]`) {
				t.Errorf("%q: %d %s", line, status, told)
			}

			for _, word := range store.known {
				if strings.Contains(told, word) && !strings.Contains(said, word) {
					t.Errorf("%q: he is told of %s: %s", line, word, told)
				}
			}

			if !reads(line) {
				continue
			}

			// What one may not read looks as if it were not there.
			if _, other := ask(server, strings.ReplaceAll(line, "secret/app", "secret/nix")); other != status {
				t.Errorf("%q: %d, and %d where nothing is", line, status, other)
			}
		}
	})
}

// reads says whether a line asks for what is in secret/app, however it is written.
func reads(line string) bool {
	method, target, _ := strings.Cut(line, " ")
	path, _, _ := strings.Cut(strings.SplitN(target, "\t", 2)[0], "?")

	return (method == http.MethodGet || method == http.MethodHead) && strings.HasPrefix(path, "/v2/secret/app/")
}

func mustServer(t *testing.T, registry Registry, writes bool) *Server {
	t.Helper()

	everything := []string{"read", "create", "update", "delete"}
	cfg := &config.AccessControl{Repositories: map[string]config.RepositoryPolicy{
		"mine/**": {AnonymousPolicy: everything}, "secret/**": {},
	}}

	if writes {
		cfg.Repositories["secret/**"] = config.RepositoryPolicy{AnonymousPolicy: everything[1:]}
	}

	server, err := New(config.HTTP{AccessControl: cfg}, registry, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}

	return server
}

package storage_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// TestWhyUnknown: of what is not there nothing is said, though somebody has asked for it.
func TestWhyUnknown(t *testing.T) {
	g := openGarden(t, storagetest.NewMemory())

	_, err := g.Store.Why(t.Context(), "a", digest.FromString("none"))
	g.Is(err, storage.ErrRepoUnknown, "why, in no repository")

	g.push("x", "x")
	g.Is(g.Stat("a", digest.FromString("none")), storage.ErrBlobUnknown, "HEAD")

	_, err = g.Store.Why(t.Context(), "a", digest.FromString("none"))
	g.Is(err, storage.ErrBlobUnknown, "why, of nothing")
}

// TestWhySays has what people and programs read.
func TestWhySays(t *testing.T) {
	g := openGarden(t, storagetest.NewMemory(), keepTags(rule(storage.Keep{PushedWithin: 110 * time.Hour}, "^v")))
	g.run([]step{{100, "push", "v1"}, {100, "push", "other"}, {50, "put", "loose"}, {20, "put", "gone"}, {20, "delete", "gone"}})
	spare := g.Blob("a", "spare")

	for dgst, want := range map[digest.Digest]string{
		g.of["v1"].Digest:          `is a manifest, and is kept until 2026-01-10T08:00:00Z at the least` + "\n" + `- tag v1 points to it: pushedWithin 110h keeps it (until 2026-01-10T08:00:00Z)`,
		g.of["other"].Digest:       `- tag other, which points to it, goes: no rule of keepTags keeps it` + "\n" + `- what held it let go of it at 2026-01-09T22:00:00Z (until 2026-01-09T23:00:00Z)`,
		g.of["loose"].Digest:       `nothing keeps it` + "\n" + `Then it is removed by a run of gc, since no tag, index or subject holds it, and can be brought back for 24h`,
		g.of["gone"].Digest:        `is a deleted manifest, and is kept until 2026-01-10T02:00:00Z at the least`,
		digest.FromString("gone"):  `deleted at 2026-01-09T02:00:00Z, names it, and can be brought back (until 2026-01-10T02:00:00Z)`,
		digest.FromString("loose"): `is a blob, and is kept` + "\n" + `- manifest ` + g.of["loose"].Digest.String() + ` names it`,
		spare:                      `- a client was told at 2026-01-09T22:00:00Z that it is there (until 2026-01-09T23:00:00Z)`,
	} {
		e, err := g.Store.Why(t.Context(), "a", dgst)
		g.NoError(err, "why")
		g.True(strings.Contains(e.String(), want), "it says "+want, e.String())

		data, err := json.Marshal(e)
		g.NoError(err, "encode")

		var read storage.Explanation

		g.NoError(json.Unmarshal(data, &read), "decode")
		g.Equal(read.String(), e.String(), "what JSON says")
	}
}

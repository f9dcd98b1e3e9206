package storage_test

import (
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// step is something that was done some hours ago.
type step struct {
	hours      float64
	verb, name string
}

// run does the steps, each in its time, until now is the present.
func (g gardenWorld) run(steps []step) {
	g.T.Helper()

	const first = 200 * time.Hour

	end := g.now().Add(first)

	for _, s := range steps {
		g.wait(end.Add(-time.Duration(s.hours * float64(time.Hour))).Sub(g.now()))
		g.do(s.verb, s.name)
	}

	g.wait(end.Sub(g.now()))
}

// keepTags is a policy for all repositories.
func keepTags(rules ...storage.KeepTags) storage.Policy {
	return storage.Policy{Repositories: []string{"**"}, DeleteUntagged: true, KeepTags: rules}
}

// rule is a rule for the tags that match patterns.
func rule(keep storage.Keep, patterns ...string) storage.KeepTags {
	rule := storage.KeepTags{Keep: keep}
	for _, pattern := range patterns {
		rule.Patterns = append(rule.Patterns, regexp.MustCompile(pattern))
	}

	return rule
}

const day = 24 * time.Hour

func TestRetentionOfTags(t *testing.T) {
	three := []step{{100, "push", "v1"}, {90, "push", "v2"}, {80, "push", "v3"}}
	pulled := slices.Concat(three, []step{{10, "pull", "v1"}, {9, "head", "v2"}})
	withSignature := []step{{100, "push", "v1"}, {100, "sign", "v1"}}

	elsewhere := keepTags(rule(storage.Keep{}, "none"))
	elsewhere.Repositories = []string{"b/**", "aa"}
	first := keepTags(rule(storage.Keep{}, "^v1$"))
	first.Repositories = []string{"?", "x"}

	referrers := keepTags(rule(storage.Keep{}, "none"))
	referrers.DeleteReferrers = true

	for _, row := range []struct {
		name     string
		policies []storage.Policy
		steps    []step
		want     string
	}{
		{"without a policy all stay", nil, three, "v1 v2 v3"},
		{"without keepTags all stay", []storage.Policy{keepTags()}, three, "v1 v2 v3"},
		{"a policy of other repositories", []storage.Policy{elsewhere}, three, "v1 v2 v3"},
		{"the first policy that matches", []storage.Policy{elsewhere, first, keepTags(rule(storage.Keep{}))}, three, "v1"},
		{"pushed within", []storage.Policy{keepTags(rule(storage.Keep{PushedWithin: 85 * time.Hour}))}, three, "v3"},
		{"pushed within, to the second", []storage.Policy{keepTags(rule(storage.Keep{PushedWithin: 80 * time.Hour}))}, three, ""},
		{"most recently pushed", []storage.Policy{keepTags(rule(storage.Keep{MostRecentlyPushed: 2}))}, three, "v2 v3"},
		{"more than there are", []storage.Policy{keepTags(rule(storage.Keep{MostRecentlyPushed: 9}))}, three, "v1 v2 v3"},
		{"pulled within: HEAD is no pull", []storage.Policy{keepTags(rule(storage.Keep{PulledWithin: day}))}, pulled, "v1"},
		{"most recently pulled: a push counts where there was no pull", []storage.Policy{keepTags(rule(storage.Keep{MostRecentlyPulled: 2}))}, pulled, "v1 v3"},
		{"never pulled, but pushed not long ago", []storage.Policy{keepTags(rule(storage.Keep{PulledWithin: 85 * time.Hour}))}, three, "v3"},
		{"one condition is enough", []storage.Policy{keepTags(rule(storage.Keep{MostRecentlyPushed: 1, PulledWithin: day}))}, pulled, "v1 v3"},
		{"patterns are found anywhere", []storage.Policy{keepTags(rule(storage.Keep{}, "1", "^3"))}, three, "v1"},
		{"one rule is enough", []storage.Policy{keepTags(rule(storage.Keep{}, "1"), rule(storage.Keep{MostRecentlyPushed: 1}))}, three, "v1 v3"},
		{"a count is of those that match", []storage.Policy{keepTags(rule(storage.Keep{MostRecentlyPushed: 1}, "1|2"))}, three, "v2"},
		{"what was pushed just now stays", []storage.Policy{keepTags(rule(storage.Keep{}, "none"))}, []step{{100, "push", "v1"}, {0.9, "push", "v2"}}, "v2"},
		{"a tag that was pushed again is young", []storage.Policy{keepTags(rule(storage.Keep{PushedWithin: day}))}, append(three, step{5, "push", "v1"}), "v1"},
		{"a signature stays with its image", []storage.Policy{keepTags(rule(storage.Keep{}, "^v1$"))}, withSignature, signatureTag(t, "v1") + " v1"},
		{"and without it, unless deleteReferrers is set", []storage.Policy{keepTags(rule(storage.Keep{}, "^v1$"))}, append(withSignature, step{50, "delete", "v1"}), signatureTag(t, "v1")},
		{"if it is, it goes", []storage.Policy{referrers}, append(withSignature, step{50, "delete", "v1"}), ""},
		{"but not at once", []storage.Policy{referrers}, append(withSignature, step{0.5, "delete", "v1"}), signatureTag(t, "v1")},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := openGarden(t, storagetest.NewMemory(), row.policies...)
			g.run(row.steps)

			before := len(g.tagList())
			done := g.collect()
			g.Equal(g.Tags("a", "", -1), row.want, "tags that are left")
			g.Equal(done.Tags, before-len(g.tagList()), "counted")
		})
	}
}

// signatureTag is the tag of the signature of an image called name.
func signatureTag(t *testing.T, name string) string {
	t.Helper()

	g := openGarden(t, storagetest.NewMemory())
	g.do("push", name)
	g.do("sign", name)
	tags := g.tagList()

	return string(tags[0])
}

func (g gardenWorld) tagList() []storage.Tag {
	g.T.Helper()

	tags, _, err := g.Store.ListTags(g.T.Context(), "a", "", -1)
	g.NoError(err, "list tags")

	return tags
}

func TestRetentionOfManifests(t *testing.T) {
	untagged := func(change func(*storage.Policy)) []storage.Policy {
		policy := keepTags()
		change(&policy)

		return []storage.Policy{policy}
	}
	keep := func(keep ...storage.Keep) []storage.Policy {
		return untagged(func(p *storage.Policy) { p.KeepUntagged = keep })
	}
	deleteReferrers := untagged(func(p *storage.Policy) { p.DeleteReferrers = true })
	three := []step{{100, "put", "x"}, {90, "put", "y"}, {80, "put", "z"}, {0, "push", "tagged"}}
	attached := []step{{100, "push", "x"}, {100, "attach", "x"}, {99, "attach", "referrer of x"}}

	for _, row := range []struct {
		name     string
		policies []storage.Policy
		steps    []step
		want     string
	}{
		{"untagged ones go", nil, three, "tagged"},
		{"unless that is not wanted", untagged(func(p *storage.Policy) { p.DeleteUntagged = false }), three, "tagged, x, y, z"},
		{"all are kept", keep(storage.Keep{}), three, "tagged, x, y, z"},
		{"some are kept", keep(storage.Keep{PushedWithin: 85 * time.Hour}), three, "tagged, z"},
		{"a count is of the untagged", keep(storage.Keep{MostRecentlyPushed: 2}), three, "tagged, y, z"},
		{"pulled within", keep(storage.Keep{PulledWithin: day}), append(three, step{0, "get", "tagged"}), "tagged"},
		{"one rule is enough", keep(storage.Keep{PushedWithin: 85 * time.Hour}, storage.Keep{PushedWithin: 95 * time.Hour}), three, "tagged, y, z"},
		{"what was let go of just now stays", nil, []step{{100, "push", "x"}, {0.9, "untag", "x"}}, "x"},
		{"for the delay", nil, []step{{100, "push", "x"}, {1, "untag", "x"}}, ""},
		{"what was pushed just now stays", nil, []step{{0.9, "put", "x"}}, "x"},
		{"a client was told of it", nil, []step{{100, "put", "x"}, {0.9, "get", "x"}}, "x"},
		{"a client was told of it long ago", nil, []step{{100, "put", "x"}, {1, "get", "x"}}, ""},
		{"an index holds it", nil, []step{{100, "put", "x"}, {100, "index", "x"}}, "index of x, x"},
		{"an index that goes lets go of it", nil, []step{{100, "put", "x"}, {100, "index", "x"}, {90, "untag", "index-x"}}, "x"},
		{"a subject holds its referrers", nil, attached, "referrer of referrer of x, referrer of x, x"},
		{"without it they stay", nil, append(attached, step{50, "delete", "x"}), "referrer of referrer of x, referrer of x"},
		{"unless deleteReferrers is set", deleteReferrers, append(attached, step{50, "delete", "x"}), "referrer of referrer of x"},
		{"but not at once", deleteReferrers, append(attached, step{0.5, "delete", "x"}), "referrer of referrer of x, referrer of x"},
		{"an untagged subject goes", deleteReferrers, append(attached, step{50, "untag", "x"}), "referrer of referrer of x, referrer of x"},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := openGarden(t, storagetest.NewMemory(), row.policies...)
			g.run(row.steps)

			before := len(g.names)
			done := g.collect()
			g.Equal(g.manifests(), row.want, "manifests that are left")
			g.True(done.Manifests <= before, "counted")
		})
	}
}

// TestRetentionByAndBy: of a tag that goes, all is gone after the delay, and then the time
// to bring it back.
func TestRetentionByAndBy(t *testing.T) {
	g := openGarden(t, storagetest.NewMemory(), keepTags(rule(storage.Keep{}, "keep")))
	g.run([]step{{100, "push", "old"}, {100, "push", "keep"}, {100, "attach", "old"}})

	g.Equal(g.collect().Tags, 1, "tags that went")
	g.wait(gardenDelay - time.Minute)
	g.Equal(g.collect().Manifests, 0, "manifests that went, too early")
	g.wait(time.Minute)
	g.Equal(g.collect().Manifests, 1, "manifests that went")
	g.Equal(g.manifests(), "keep, referrer of old", "what is left")
	g.wait(gardenUndelete)

	done := g.collect()
	g.Equal(done.Forgotten, 1, "forgotten")
	g.Equal(done.Blobs, 2, "freed: a manifest and its layer")
	g.Is(g.Get("a", g.of["old"].Digest.String()), storage.ErrManifestUnknown, "get what is gone")
}

// TestRetentionWithoutDelay: what is let go of in a run goes in it, down to the last
// referrer.
func TestRetentionWithoutDelay(t *testing.T) {
	policy := keepTags(rule(storage.Keep{}, "none"))
	policy.DeleteReferrers = true

	g := openGarden(t, storagetest.NewMemory(), policy)
	g.opts.GC.Retention.Delay = new(time.Duration)
	g = g.another()
	g.run([]step{{100, "push", "x"}, {100, "attach", "x"}, {99, "attach", "referrer of x"}})

	done := g.collect()
	g.Equal(done.Tags, 1, "tags that went")
	g.Equal(done.Manifests, 3, "manifests that went")
	g.Equal(g.manifests(), "", "what is left")
}

// TestRetentionRace: a client that asks for a manifest while it is removed is not told that
// it is there.
func TestRetentionRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGarden(t, storagetest.NewMemory())
		driver := &spy{Driver: g.memory.Driver()}
		g.World = storagetest.OpenOn(t, driver, storagetest.NewMapCache(), g.opts)
		g.run([]step{{100, "put", "x"}, {100, "push", "other"}})

		answers := make(chan error, 2)

		driver.onAppend = func(_ string, records []storage.Record) {
			if records[0].Ops[0].Kind != storage.OpDeleteManifest {
				return
			}

			go func() { answers <- g.Get("a", g.of["x"].Digest.String()) }()
			go func() { // an index that names it
				_, err := g.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"index"}, Body: []byte(
					`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":` +
						`"application/vnd.oci.image.manifest.v1+json","digest":"` + g.of["x"].Digest.String() + `","size":1}]}`)})
				answers <- err
			}()

			synctest.Wait()
			g.Equal(len(answers), 0, "answers while it is removed")
		}

		g.Equal(g.collect().Manifests, 1, "manifests that went")

		for range 2 {
			g.True(<-answers != nil, "nobody is told that it is there")
		}
	})
}

// TestRetentionLooksAgain: a tag that is pushed again while GC decides stays.
func TestRetentionLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := openGarden(t, storagetest.NewMemory(), keepTags(rule(storage.Keep{PushedWithin: day})))
		driver := &spy{Driver: g.memory.Driver()}
		g.World = storagetest.OpenOn(t, driver, storagetest.NewMapCache(), g.opts)
		g.run([]step{{100, "push", "again"}, {100, "push", "old"}})

		blocked, begin := make(chan struct{}), make(chan struct{})
		driver.onAppend = func(string, []storage.Record) {
			driver.onAppend = nil

			close(begin)
			<-blocked
		}

		put := func(tag storage.Tag) {
			_, err := g.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{tag}, Body: g.of["again"].Body})
			g.NoError(err, "push "+string(tag))
		}

		go put("first")
		<-begin

		go put("again") // waits behind the first, and nobody sees it yet
		synctest.Wait()

		go func() { g.Equal(g.collect().Tags, 1, "tags that went") }()
		synctest.Wait() // it has decided

		close(blocked)
		synctest.Wait()
		g.Equal(g.Tags("a", "", -1), "again first", "tags that are left")
	})
}

// TestRetentionInBucket: a manifest is condemned first, and goes when no replica can have
// answered otherwise.
func TestRetentionInBucket(t *testing.T) {
	memory := storagetest.NewMemory()
	memory.Remote = true

	g := openGarden(t, memory)
	other := g.another()
	g.run([]step{{100, "put", "x"}, {100, "put", "y"}, {100, "push", "tagged"}})

	g.Equal(g.collect().Manifests, 0, "removed when they are condemned")
	other.wait(gardenDelay + storage.Staleness - time.Second)
	g.Equal(g.collect().Manifests, 0, "removed too early")

	_, err := other.Put(storage.ManifestPut{Repo: "a", Tags: []storage.Tag{"y"}, Body: g.of["y"].Body})
	g.NoError(err, "tag one at another replica")
	g.NoError(other.Delete("a", "y", storage.Precondition{}), "and take the tag away")

	g.wait(time.Second)
	g.Equal(g.collect().Manifests, 1, "removed")
	g.Equal(g.manifests(), "tagged, y", "what is left")

	g.wait(gardenDelay)
	g.Equal(other.collect().Manifests, 0, "removed by another, which has not waited")
	g.wait(gardenDelay + storage.Staleness)
	g.Equal(other.collect().Manifests, 1, "removed by another, which has")
}

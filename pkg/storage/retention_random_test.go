package storage_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

// randomGarden is a repository to which random things happen, under a random policy.
type randomGarden struct {
	gardenWorld

	rand *rand.Rand
	all  []string // names of manifests
}

// eachGarden runs a test on some repositories. ZOT_SEED replays a run.
func eachGarden(t *testing.T, test func(g *randomGarden)) {
	t.Helper()

	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("ZOT_SEED"), 10, 64); err == nil {
		seed = s
	}

	t.Logf("ZOT_SEED=%d", seed)

	for round := range uint64(15) {
		t.Run(strconv.FormatUint(round, 10), func(t *testing.T) {
			g := &randomGarden{rand: rand.New(rand.NewPCG(seed, round))}
			g.gardenWorld = openGarden(t, storagetest.NewMemory(), g.policy())

			if g.rand.IntN(4) == 0 {
				delay := time.Duration(g.rand.IntN(3)) * time.Hour
				g.opts.GC.Retention.Delay = &delay
				g.gardenWorld = g.another()
				g.wait(2 * gardenDelay)
			}

			test(g)
		})
	}
}

func (g *randomGarden) policy() storage.Policy {
	policy := storage.Policy{
		Repositories: []string{"**"}, DeleteReferrers: g.rand.IntN(2) == 0, DeleteUntagged: g.rand.IntN(4) > 0,
	}

	for range g.rand.IntN(3) {
		rule := storage.KeepTags{Keep: g.keep()}
		if g.rand.IntN(2) == 0 {
			rule.Patterns = []*regexp.Regexp{regexp.MustCompile(fmt.Sprint(g.rand.IntN(10)))}
		}

		policy.KeepTags = append(policy.KeepTags, rule)
	}

	if g.rand.IntN(2) == 0 {
		policy.KeepUntagged = []storage.Keep{g.keep()}
	}

	return policy
}

func (g *randomGarden) keep() storage.Keep {
	hours := func() time.Duration { return time.Duration(g.rand.IntN(50)) * time.Hour }

	return []storage.Keep{
		{PulledWithin: hours()},
		{PushedWithin: hours()},
		{MostRecentlyPushed: 1 + g.rand.IntN(5)},
		{MostRecentlyPulled: 1 + g.rand.IntN(5)},
		{PushedWithin: hours(), MostRecentlyPulled: 1},
	}[g.rand.IntN(5)]
}

func (g *randomGarden) any() string { return g.all[g.rand.IntN(len(g.all))] }

// live does n random things.
func (g *randomGarden) live(n int) {
	for range n {
		g.wait(time.Duration(g.rand.IntN(180)) * time.Minute)

		name := fmt.Sprintf("image%d", g.rand.IntN(30))

		switch g.rand.IntN(8) {
		case 0, 1, 2:
			g.image(name, fmt.Sprintf("v%d", g.rand.IntN(20)))
		case 3:
			g.image(name, "")
		case 4:
			g.untagOne()
		default:
			if len(g.all) > 0 {
				g.build(g.any())
			}
		}
	}
}

func (g *randomGarden) image(name, tag string) {
	g.push(name, tag)
	g.know(name)
}

func (g *randomGarden) know(name string) {
	if !slices.Contains(g.all, name) {
		g.all = append(g.all, name)
	}
}

func (g *randomGarden) untagOne() {
	if tags := g.existingTags(); len(tags) > 0 {
		g.do("untag", tags[g.rand.IntN(len(tags))])
	}
}

// existingTags lists the tags as strings; of a repository that is not there there are none.
func (g *randomGarden) existingTags() []string {
	if len(g.all) == 0 {
		return nil
	}

	var tags []string
	for _, tag := range g.tagList() {
		tags = append(tags, string(tag))
	}

	return tags
}

// build pulls a manifest, or pushes one that is about it.
func (g *randomGarden) build(name string) {
	dgst := g.of[name].Digest
	ref := storage.Reference{Digest: dgst}

	switch g.rand.IntN(4) {
	case 0:
		_, _ = g.Store.GetManifest(g.T.Context(), "a", ref) // it may be gone
	case 1:
		if len(name) < 60 {
			g.do("attach", name)
			g.know("referrer of " + name)
		}
	case 2:
		g.do("sign", name)
		g.know("signature of " + name)
	case 3:
		if _, err := g.Store.StatManifest(g.T.Context(), "a", ref); err == nil {
			index := g.PutIndex("a", fmt.Sprintf("v%d", g.rand.IntN(20)), dgst)
			g.names[index] = "index of " + name
			g.of["index of "+name] = storagetest.Image{Digest: index}
			g.know("index of " + name)
		}
	}
}

// content lists the tags and the manifests of the repository.
func (g *randomGarden) content() string {
	return strings.Join(g.existingTags(), " ") + "; " + g.manifests()
}

// TestDryRun: what a dry run says is what the real run then does, no more and no less.
func TestDryRun(t *testing.T) {
	removed := 0

	eachGarden(t, func(g *randomGarden) {
		for range 4 {
			g.live(25)

			before := g.content()
			there := len(g.existingTags()) + len(g.manifestList())

			g.log.take(g.T, hasRemoved)
			g.Store.SetDryRun(true)
			g.collect()

			said := g.log.take(g.T, wouldRemove)
			g.Equal(g.content(), before, "after a dry run")

			g.Store.SetDryRun(false)
			done := g.collect()
			did := g.log.take(g.T, hasRemoved)

			g.Equal(strings.Join(did, "\n"), strings.Join(said, "\n"), "what was done, and said")
			g.Equal(done.Tags+done.Manifests, len(said), "counted")
			g.Equal(len(g.existingTags())+len(g.manifestList()), there-len(said), "tags and manifests that are left")

			removed += len(said)
		}
	})

	if removed < 50 {
		t.Errorf("only %d tags and manifests were removed in all: the test has nothing to say", removed)
	}
}

// known lists all digests that were ever pushed.
func (g *randomGarden) known() []digest.Digest {
	all := []digest.Digest{digest.FromString("{}")}
	for dgst, name := range g.names {
		all = append(all, dgst, digest.FromString(name))
	}

	return all
}

// explain asks why for all that is there.
func (g *randomGarden) explain() map[digest.Digest]storage.Explanation {
	g.T.Helper()

	all := map[digest.Digest]storage.Explanation{}

	for _, dgst := range g.known() {
		if e, err := g.Store.Why(g.T.Context(), "a", dgst); err == nil {
			all[dgst] = e
		}
	}

	return all
}

// TestWhy: what nothing keeps goes with the next run, all else stays, and what is kept for
// a time stays until then.
func TestWhy(t *testing.T) {
	gone := 0

	eachGarden(t, func(g *randomGarden) {
		g.live(60)

		for range 6 {
			before := g.explain()
			g.collect()
			after := g.explain()

			for dgst, e := range before {
				stayed := after[dgst].What == e.What
				if stayed != e.Kept {
					g.T.Errorf("%s\nit stayed: %v, and then: %s", e, stayed, after[dgst])
				}

				if !stayed {
					gone++
				}
			}

			g.wait(time.Duration(g.rand.IntN(20)) * time.Hour)
			then := g.now()
			g.collect()

			later := g.explain()

			for dgst, e := range after {
				if e.Kept && e.Until.After(then) && later[dgst].What != e.What {
					g.T.Errorf("%s\nit is gone at %s", e, then)
				}
			}
		}
	})

	if gone < 50 {
		t.Errorf("only %d things went: the test has nothing to say", gone)
	}
}

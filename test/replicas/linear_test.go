//go:build replicas

package replicas

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"zotregistry.io/zot/internal/faultproxy"
	"zotregistry.io/zot/internal/wire"
)

// What one history consists of. Clients outnumber tags, so that they collide.
const (
	tagsWritten = 4
	clients     = 9
	asksEach    = 60
	askLimit    = 15 * time.Second // then an answer counts as lost
)

// faults are what may befall each request of a replica to S3, the chance of each, which
// REPLICAS_FAULTS multiplies, and how late what comes late is.
func faults(t *testing.T) []faultproxy.Rule {
	t.Helper()

	served := func(r faultproxy.Request) bool { return !strings.HasPrefix(r.Key, "_zot/") } // not the start
	changes := faultproxy.On(faultproxy.PutObject, faultproxy.DeleteObject, faultproxy.CopyObject,
		faultproxy.UploadPart, faultproxy.CreateMultipartUpload, faultproxy.CompleteMultipartUpload, faultproxy.AbortMultipartUpload)
	writes := func(r faultproxy.Request) bool { return served(r) && changes(r) }

	rules := []faultproxy.Rule{
		{Match: served, Kind: faultproxy.SlowDown, Chance: 0.02},
		{Match: served, Kind: faultproxy.InternalError, After: true, Chance: 0.03},
		{Match: served, Kind: faultproxy.ConnReset, Chance: 0.02},
		{Match: served, Kind: faultproxy.ConnReset, After: true, Chance: 0.03},
		{Match: served, Kind: faultproxy.Truncate, Chance: 0.03},
		{Match: served, Kind: faultproxy.Hold, Delay: 80 * time.Millisecond, Chance: 0.05},
		{Match: served, Kind: faultproxy.Hold, After: true, Delay: 80 * time.Millisecond, Chance: 0.05},
		{Match: writes, Kind: faultproxy.Conflict, Chance: 0.02},
		{Match: writes, Kind: faultproxy.Conflict, After: true, Chance: 0.02},
		{Match: writes, Kind: faultproxy.Duplicate, Delay: 150 * time.Millisecond, Chance: 0.05},
		{Match: writes, Kind: faultproxy.Late, Delay: 150 * time.Millisecond, Chance: 0.05},
	}

	for i := range rules {
		rules[i].Chance *= float64(number(t, faultsEnv, 1))
	}

	return rules
}

// TestLinearizable has clients write, read and delete the same few tags at three
// replicas, whose bucket fails now and then, and of which one is killed and one halted.
// What they see is what one registry could have answered, one request after the other.
func TestLinearizable(t *testing.T) {
	c := newCluster(t)
	proxies := c.addBehindProxies(t, 3)
	first := seed(t)

	for n := range number(t, seedsEnv, 3) {
		seed := first + uint64(n)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			r := newRun(t, c, seed)

			unleash(t, proxies, seed)
			r.disturb(t, c, r.start(t))
			met := calm(t, proxies)

			r.readAll(t)
			r.verify(t, met)
		})
	}
}

// addBehindProxies starts replicas each of which has a proxy between itself and the bucket.
func (c *cluster) addBehindProxies(t *testing.T, n int) (proxies []*faultproxy.Proxy) {
	t.Helper()

	for range n {
		proxy := faultproxy.Start(t, c.s3.Endpoint)
		proxies = append(proxies, proxy)
		c.addAt(t, proxy.URL, nil)
	}

	return proxies
}

// unleash adds the faults.
func unleash(t *testing.T, proxies []*faultproxy.Proxy, seed uint64) {
	t.Helper()

	for i, proxy := range proxies {
		proxy.Reset()
		proxy.Seed(seed*31 + uint64(i))

		for _, rule := range faults(t) {
			proxy.Inject(rule)
		}
	}
}

// calm ends the faults, and returns how many requests met one. What is late is sent at
// once.
func calm(t *testing.T, proxies []*faultproxy.Proxy) (met int) {
	t.Helper()

	for _, proxy := range proxies {
		for _, entry := range proxy.Log() {
			if entry.Fault != faultproxy.None {
				met++
			}
		}

		proxy.Reset()
	}

	return met
}

// run is one history in the making.
type run struct {
	history

	seed     uint64
	repo     string
	replicas []*replica
	config   []byte
	asked    atomic.Int64
	failed   chan error // the first answer that nothing explains
}

// newRun pushes what all manifests name.
func newRun(t *testing.T, c *cluster, seed uint64) *run {
	t.Helper()

	r := &run{
		seed: seed, repo: fmt.Sprintf("linear/%d", seed), replicas: c.replicas,
		config: []byte("{}"), failed: make(chan error, 1),
	}
	r.begun = time.Now()
	must(t, c.replicas[0].PushMonolithic(t.Context(), r.repo, r.config))

	return r
}

// start has all clients ask. The channel is closed when they are done.
func (r *run) start(t *testing.T) <-chan struct{} {
	t.Helper()

	var group sync.WaitGroup

	for n := range clients {
		group.Go(func() {
			c := &client{run: r, id: n, rng: rand.New(rand.NewPCG(r.seed, uint64(n))), seen: map[string]digest.Digest{}}
			for range asksEach {
				c.ask(t.Context(), c.draw())
			}
		})
	}

	over := make(chan struct{})

	go func() {
		group.Wait()
		close(over)
	}()

	t.Cleanup(func() { <-over })

	return over
}

// disturb kills a replica after a third of the requests, and halts one after two thirds.
func (r *run) disturb(t *testing.T, c *cluster, over <-chan struct{}) {
	t.Helper()

	rng := rand.New(rand.NewPCG(r.seed, 99))
	third := int64(clients * asksEach / 3)

	await(t, time.Minute, "a third of the requests", func() bool { return r.asked.Load() >= third })

	dying := c.replicas[rng.IntN(len(c.replicas))]
	dying.kill(t)
	dying.start()

	await(t, time.Minute, "two thirds of the requests", func() bool { return r.asked.Load() >= 2*third })

	halted := c.replicas[rng.IntN(len(c.replicas))]
	must(t, halted.proc.Pause())
	pass(t, time.Second)
	must(t, halted.proc.Resume())

	select {
	case <-over:
	case err := <-r.failed:
		t.Fatal(err)
	case <-time.After(2 * time.Minute):
		t.Fatal("the clients are not done after two minutes")
	}
}

// readAll has every replica say at the end what it has.
func (r *run) readAll(t *testing.T) {
	t.Helper()

	for i := range r.replicas {
		c := &client{run: r, id: clients, seen: map[string]digest.Digest{}}

		for n := range tagsWritten {
			for _, kind := range []kind{read, list} {
				c.askAt(t.Context(), r.replicas[i], request{kind: kind, tag: tagOf(n)})
			}
		}
	}
}

func tagOf(n int) string { return fmt.Sprintf("tag%d", n) }

// verify checks the history.
func (r *run) verify(t *testing.T, met int) {
	t.Helper()

	select {
	case err := <-r.failed:
		t.Error(err)
	default:
	}

	open := r.count(func(_ request, out answer) bool { return out.verdict == unknown })
	writes := r.count(func(in request, out answer) bool { return in.kind == write && out.verdict == done })
	begun := time.Now()

	result, info := porcupine.CheckOperationsVerbose(model, r.ops, time.Minute)
	t.Logf("%d requests, %d writes done, %d answers lost, %d faults met; checked in %s",
		len(r.ops), writes, open, met, time.Since(begun).Round(time.Millisecond))

	if result != porcupine.Ok {
		t.Errorf("linearizable: %s; %s=%d %s=1 repeats it%s%s",
			result, seedEnv, r.seed, seedsEnv, draw(t, info), r.contradiction(info))
	}

	if met < 20 || writes < 20 || open > len(r.ops)/4 {
		t.Error("too little was under way, or too little came through, for this run to prove anything")
	}
}

// draw puts a picture of a history where REPLICAS_RESULTS says.
func draw(t *testing.T, info porcupine.LinearizationInfo) string {
	t.Helper()

	dir := os.Getenv("REPLICAS_RESULTS")
	if dir == "" {
		return ""
	}

	must(t, os.MkdirAll(dir, 0o755))

	path := filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "-")+".html")
	must(t, porcupine.VisualizePath(model, info, path))

	return "; see " + path
}

// client asks one thing after the other.
type client struct {
	*run

	id   int
	rng  *rand.Rand
	seen map[string]digest.Digest // what a tag pointed to when it was read last
	sent int
}

// draw decides what to ask next.
func (c *client) draw() request {
	in := request{tag: tagOf(c.rng.IntN(tagsWritten))}
	last := c.seen[in.tag]

	switch dice := c.rng.IntN(100); {
	case dice < 25:
		in.kind = write
	case dice < 32:
		in.kind, in.absent = write, true
	case dice < 42:
		in.kind, in.match = write, last
	case dice < 75:
		in.kind = read
	case dice < 82:
		in.kind = list
	case dice < 91 || last == "":
		in.kind = remove
	default:
		in.kind, in.digest = erase, last
	}

	return in
}

// ask asks a replica that listens.
func (c *client) ask(ctx context.Context, in request) {
	defer c.asked.Add(1)

	for !c.askAt(ctx, c.replicas[c.rng.IntN(len(c.replicas))], in) {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// askAt asks one replica, and notes what became of it. It returns false if the replica
// was not there to be asked.
func (c *client) askAt(ctx context.Context, at *replica, in request) bool {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()

	call := c.now()
	out, err := c.exchange(ctx, at.Client, &in)

	if errors.Is(err, syscall.ECONNREFUSED) {
		return false
	}

	if err != nil {
		select {
		case c.failed <- fmt.Errorf("%s at %s: %w", describe(in, out), at.zot.Addr, err):
		default:
		}
	}

	c.add(c.id, at.zot.Addr, in, call, out)

	return true
}

// exchange asks. An error is an answer that does not belong to what was asked, or that
// nobody listens.
func (c *client) exchange(ctx context.Context, at *wire.Client, in *request) (answer, error) {
	switch in.kind {
	case read:
		_, dgst, err := at.Manifest(ctx, c.repo, in.tag)
		out, err := judge(err)
		out.digest = dgst
		c.seen[in.tag] = dgst

		return out, err
	case list:
		tags, err := at.Tags(ctx, c.repo)
		out, err := judge(err)

		if out.verdict == done && !slices.Contains(tags, in.tag) {
			out.verdict = missing
		}

		return out, err
	case write:
		return c.write(ctx, at, in)
	case remove:
		return judge(at.DeleteManifest(ctx, c.repo, in.tag))
	default:
		return judge(at.DeleteManifest(ctx, c.repo, in.digest.String()))
	}
}

func (c *client) write(ctx context.Context, at *wire.Client, in *request) (answer, error) {
	c.sent++

	body, err := json.Marshal(v1.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   v1.MediaTypeImageManifest,
		Config:      v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: digest.FromBytes(c.config), Size: int64(len(c.config))},
		Layers:      []v1.Descriptor{},
		Annotations: map[string]string{"write": fmt.Sprintf("%d of client %d", c.sent, c.id)},
	})
	if err != nil {
		return answer{verdict: unknown}, err
	}

	in.digest = digest.FromBytes(body)
	header := http.Header{}

	if in.absent {
		header.Set("If-None-Match", "*")
	}

	if in.match != "" {
		header.Set("If-Match", `"`+in.match.String()+`"`)
	}

	return judge(at.PutManifestIf(ctx, c.repo, in.tag, v1.MediaTypeImageManifest, body, header))
}

// judge says what an answer means.
func judge(err error) (answer, error) {
	var status *wire.StatusError

	switch {
	case err == nil:
		return answer{verdict: done}, nil
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, wire.ErrDigest):
		return answer{verdict: unknown}, err
	case !errors.As(err, &status) || status.Status >= http.StatusInternalServerError:
		return answer{verdict: unknown}, nil
	case status.Status == http.StatusNotFound && !strings.Contains(status.Body, "BLOB_UNKNOWN"):
		return answer{verdict: missing}, nil
	case status.Status == http.StatusPreconditionFailed:
		return answer{verdict: refused}, nil
	}

	return answer{verdict: unknown}, err
}

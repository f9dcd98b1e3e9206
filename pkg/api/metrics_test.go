package api

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"zotregistry.io/zot/pkg/api/config"
)

const metricsPath = "/figures"

// counted is metrics that remember what they were told.
type counted struct {
	mu      sync.Mutex // guards what follows
	running int
	done    []Measured
}

func (c *counted) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "zot_up 1\n") // the client tells
}

func (c *counted) Begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running++
}

func (c *counted) End(done Measured) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	done.Took = 0
	c.done = append(c.done, done)
}

// last is what was measured last. The answer may be there a moment before that.
func (c *counted) last(t *testing.T, stop func() error) Measured {
	t.Helper()

	if err := stop(); err != nil {
		t.Fatal(err)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	equal(t, c.running, 0, "requests that go on")

	return c.done[len(c.done)-1]
}

func TestMeasured(t *testing.T) {
	endpoints := Endpoints()
	number := func(name string) int { return slices.Index(endpoints, name) }

	for line, want := range map[string]Measured{
		"GET /v2/":                            {Endpoint: number("base"), Status: 200, Sent: 2},
		"GET /v2/a/tags/list":                 {Endpoint: number("tags"), Status: 404},
		"GET /v2/public/app/manifests/v1":     {Endpoint: number("manifest"), Status: 200, Pulled: true},
		"HEAD /v2/public/app/manifests/v1":    {Endpoint: number("manifest"), Status: 200},
		"DELETE /v2/public/app/manifests/v1":  {Endpoint: number("manifest"), Status: 202},
		"GET /v2/public/app/manifests/none":   {Endpoint: number("manifest"), Status: 404},
		"GET /nothing":                        {Endpoint: number("none"), Status: 404},
		"BREW /v2/":                           {Endpoint: number("base"), Status: 405},
		"PUT /v2/public/app/manifests/v1 bad": {Endpoint: number("manifest"), Status: 400},
		"GET " + metricsPath:                  {Endpoint: number("metrics"), Status: 200, Sent: 9},
		"GET /livez":                          {Endpoint: number("livez"), Status: 200, Sent: 3},
	} {
		t.Run(line, func(t *testing.T) {
			registry, _, _ := keeper(t)
			figures := &counted{}
			c := dialWith(t, config.HTTP{}, registry, WithMetrics(metricsPath, figures))

			parts := strings.Fields(line + " ")
			want.Method = parts[0]
			c.send(parts[0], parts[1], strings.Join(parts[2:], ""))

			got := figures.last(t, c.stop)
			if want.Sent == 0 {
				got.Sent = 0 // errors and manifests have what length they have
			}

			equal(t, got, want, line)
		})
	}
}

func TestMeasuredPush(t *testing.T) {
	figures := &counted{}
	c := dialWith(t, config.HTTP{}, openRegistry(t), WithMetrics(metricsPath, figures))
	c.image("a", "v1", "layer")

	got := figures.last(t, c.stop)
	equal(t, got.Pushed && got.Status == 201 && got.Method == http.MethodPut, true, "a push is counted")
}

func TestNoMetrics(t *testing.T) {
	c := dial(t)
	c.get(metricsPath).refused(t, 404, "UNSUPPORTED")
	c.get("/metrics").refused(t, 404, "UNSUPPORTED")
}

// TestPublicMetrics: everyone may read them where nobody may read an image.
func TestPublicMetrics(t *testing.T) {
	way := byPassword(t)
	cfg := config.HTTP{AccessControl: limited()}
	way.configure(&cfg)
	cfg.AccessControl.Metrics = config.MetricsPolicy{AnonymousPolicy: []string{"read"}}

	c := dialWith(t, cfg, openRegistry(t), WithMetrics(metricsPath, &counted{}))
	equal(t, c.get(metricsPath).expect(t, 200).body, "zot_up 1\n", "metrics")
	c.get("/v2/").refused(t, 401, "UNAUTHORIZED")
	c.get(metricsPath, basic("all", "wrong")).refused(t, 401, "UNAUTHORIZED")
}

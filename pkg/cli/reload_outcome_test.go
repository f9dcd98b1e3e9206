package cli

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// figures are the metrics without labels, by name.
func (c *changing) figures() map[string]float64 {
	c.t.Helper()

	req := mustRequest(c.t, http.MethodGet, c.url+"/metrics", nil)
	req.SetBasicAuth("alice", "secret")

	resp, err := client.Do(req)
	c.must(err)

	body, err := io.ReadAll(resp.Body)
	c.must(err)
	c.must(resp.Body.Close())

	figures := map[string]float64{}

	for line := range strings.Lines(string(body)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if number, err := strconv.ParseFloat(value, 64); err == nil {
			figures[name] = number
		}
	}

	return figures
}

// TestReloadMetrics: they say that a file was refused until one is taken in, and when that was.
func TestReloadMetrics(t *testing.T) {
	const (
		successful = "zot_config_last_reload_successful"
		taken      = "zot_config_last_reload_success_timestamp_seconds"
	)

	shown := func(level string) func(http, file object) {
		return func(http, file object) {
			file["extensions"] = object{"metrics": object{}}
			file["log"] = object{"level": level}
			http["accessControl"].(object)["metrics"] = object{"users": []string{"alice"}}
		}
	}

	begin := time.Now()
	c := mustChange(t, shown("info"))

	started := c.figures()
	c.equal(started[successful], 1.0, "at the start")
	c.equal(started[taken] > float64(begin.Unix()), true, "it was taken in at the start")

	c.write(shown("loud"))
	c.next("configuration refused")

	refused := c.figures()
	c.equal(refused[successful], 0.0, "a bad file")
	c.equal(refused[taken], started[taken], "what is in force stays")

	c.write(shown("debug"))
	c.taken()

	good := c.figures()
	c.equal(good[successful], 1.0, "a good file")
	c.equal(good[taken] > started[taken], true, "when it was taken in")
}

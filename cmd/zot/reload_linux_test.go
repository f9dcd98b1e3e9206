package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"zotregistry.io/zot/internal/servers"
)

// reloads is how often the configuration is changed under load.
const reloads = 1000

// changed is a zot whose files are changed while clients push and pull.
type changed struct {
	*process

	t      *testing.T
	dir    string
	client *http.Client
	taken  atomic.Int64 // reloads that the log tells of
	bad    atomic.Int64 // lines of warnings and errors
	said   sync.Map     // the messages of these
	wake   chan struct{}
}

func (c *changed) must(err error) {
	c.t.Helper()

	if err != nil {
		c.t.Fatal(err)
	}
}

// put replaces a file by a rename.
func (c *changed) put(name string, data []byte) {
	c.t.Helper()
	c.must(os.WriteFile(filepath.Join(c.dir, "next"), data, 0o600))
	c.must(os.Rename(filepath.Join(c.dir, "next"), filepath.Join(c.dir, name)))
}

// pair is a certificate and its key, in one file: so both are replaced at once.
func pair(t *testing.T, ca *servers.CA) []byte {
	t.Helper()

	var all []byte

	cert, key := ca.Issue(t)
	for _, path := range []string{cert, key} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}

		all = append(all, data...)
	}

	return all
}

// rules are configurations that differ, and allow ann and bob the same.
func rules(t *testing.T, root string) [][]byte {
	t.Helper()

	var all [][]byte

	for _, control := range []map[string]any{
		{"repositories": map[string]any{"**": map[string]any{"policies": []any{
			map[string]any{"users": []string{"ann", "bob"}, "actions": []string{"read", "create", "update"}},
		}}}, "adminPolicy": map[string]any{"users": []string{"ann"}, "actions": []string{"read"}}},
		{
			"groups": map[string]any{"all": map[string]any{"users": []string{"ann", "bob"}}},
			"repositories": map[string]any{"load/*": map[string]any{"policies": []any{
				map[string]any{"groups": []string{"all"}, "actions": []string{"read", "create", "update"}},
			}}}, "adminPolicy": map[string]any{"users": []string{"ann"}, "actions": []string{"read"}},
		},
	} {
		data, err := json.Marshal(map[string]any{
			"storage": map[string]any{"rootDirectory": root, "commit": false},
			"log":     map[string]any{"level": "info"},
			"http": map[string]any{
				"port": "0", "accessControl": control, "tls": map[string]any{"cert": "pair.pem", "key": "pair.pem"},
				"auth": map[string]any{"htpasswd": map[string]any{"path": "htpasswd"}, "failDelay": 0},
			},
		})
		if err != nil {
			t.Fatal(err)
		}

		all = append(all, data)
	}

	return all
}

func mustChanged(t *testing.T) (c *changed, files, pairs [][]byte) {
	t.Helper()

	ca := servers.NewCA(t)
	c = &changed{t: t, dir: t.TempDir(), wake: make(chan struct{}, 1)}
	files, pairs = rules(t, filepath.Join(c.dir, "data")), [][]byte{pair(t, ca), pair(t, ca)}

	var users []byte

	for _, user := range []string{"ann", "bob"} {
		hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
		c.must(err)

		users = append(users, user+":"+string(hash)+"\n"...)
	}

	c.put("htpasswd", users)
	c.put("pair.pem", pairs[0])
	c.process = mustServe(t, c.dir, string(files[0]))
	c.url = strings.Replace(c.url, "http:", "https:", 1)
	c.client = newClient()

	return c, files, pairs
}

// newClient makes a client with connections of its own. Only who uses it closes these: one that is
// about to be used cannot be closed by another.
func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // made by the test
	}}
}

// read counts what the log tells, until it ends.
func (c *changed) read() {
	for c.log.Scan() {
		var line struct{ Level, Message string }
		if err := json.Unmarshal(c.log.Bytes(), &line); err != nil {
			line.Level = "error"
		}

		switch {
		case line.Message == "configuration reloaded":
			c.taken.Add(1)

			select {
			case c.wake <- struct{}{}:
			default:
			}
		case line.Level != "info":
			c.bad.Add(1)
			c.said.Store(c.log.Text(), true)
		}
	}
}

// reload asks for a reload, and waits for one.
func (c *changed) reload() {
	c.t.Helper()

	select {
	case <-c.wake: // of an event of before
	default:
	}

	c.mustSignal(c.t, syscall.SIGHUP)

	select {
	case <-c.wake:
	case <-time.After(10 * time.Second):
		c.t.Fatal("no reload")
	}
}

// ask sends a request, and returns what is wrong with the answer.
func (c *changed) ask(ctx context.Context, client *http.Client, user, method, path string, body []byte, want int, headers ...string) error {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}

	req.SetBasicAuth(user, "secret")

	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}

	resp, err := client.Do(req)
	if err != nil {
		return err
	}

	defer resp.Body.Close()

	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, data)
	}

	return err
}

// work pushes and pulls images, one and then others until ctx ends, and counts its requests.
func (c *changed) work(ctx context.Context, user string, done *atomic.Int64) error {
	client := newClient()
	defer client.CloseIdleConnections()

	for n := 0; n == 0 || ctx.Err() == nil; n++ {
		config := fmt.Appendf(nil, `{"user": %q, "n": %d}`, user, n)
		dgst := fmt.Sprintf("sha256:%x", sha256.Sum256(config))
		manifest := fmt.Appendf(nil, `{"schemaVersion": 2, "mediaType": %q, "config": {"mediaType": %q, "digest": %q, "size": %d},
			"layers": []}`, manifestType, "application/vnd.oci.image.config.v1+json", dgst, len(config))
		repo := "/v2/load/" + user

		for _, step := range []struct {
			method, path string
			body         []byte
			want         int
		}{
			{http.MethodPost, repo + "/blobs/uploads/?digest=" + dgst, config, http.StatusCreated},
			{http.MethodPut, repo + "/manifests/" + strconv.Itoa(n%10), manifest, http.StatusCreated},
			{http.MethodGet, repo + "/manifests/" + strconv.Itoa(n%10), nil, http.StatusOK},
			{http.MethodGet, repo + "/blobs/" + dgst, nil, http.StatusOK},
		} {
			// Finished although the load ends meanwhile: one that is cut off is no answer.
			err := c.ask(context.WithoutCancel(ctx), client, user, step.method, step.path, step.body, step.want, "Content-Type", manifestType)
			if err != nil {
				return err
			}

			done.Add(1)
		}

		if n%5 == 0 {
			client.CloseIdleConnections() // the next one gets the certificate of the moment
		}
	}

	return nil
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// open counts descriptors and goroutines, without those of our connections.
func (c *changed) open() (descriptors, goroutines int) {
	c.t.Helper()
	c.client.CloseIdleConnections()

	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.cmd.Process.Pid))
	c.must(err)

	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.url+"/zot/debug/pprof/goroutine?debug=1", nil)
	c.must(err)
	req.SetBasicAuth("ann", "secret")

	resp, err := c.client.Do(req)
	c.must(err)

	defer resp.Body.Close()

	head, err := bufio.NewReader(resp.Body).ReadString('\n')
	c.must(err)

	_, err = fmt.Sscanf(head, "goroutine profile: total %d", &goroutines)
	c.must(err)

	return len(fds), goroutines
}

// settled counts until it is no more than before, or for 10 seconds: connections that were
// closed take a moment.
func (c *changed) settled(descriptors, goroutines int) (int, int) {
	c.t.Helper()

	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()

	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		d, g := c.open()
		if d <= descriptors && g <= goroutines || time.Now().After(deadline) {
			return d, g
		}
	}
}

// TestReloads changes the configuration and the certificate a thousand times while two users
// push and pull: no request fails, and nothing is left open.
func TestReloads(t *testing.T) {
	c, files, pairs := mustChanged(t)

	var background sync.WaitGroup

	background.Go(c.read)

	var (
		ctx, stop = context.WithCancel(t.Context())
		failed    = make(chan error, 2)
		done      atomic.Int64
	)

	for range 20 { // what is made once is made now
		c.reload()
	}

	once, cancel := context.WithCancel(t.Context())
	cancel()

	for _, user := range []string{"ann", "bob"} {
		c.must(c.work(once, user, &done))
	}

	descriptors, goroutines := c.open()
	start := time.Now()

	for _, user := range []string{"ann", "bob"} {
		go func() { failed <- c.work(ctx, user, &done) }()
	}

	for i := range reloads {
		if i%10 == 0 {
			c.put("pair.pem", pairs[i/10%2])
		}

		c.put("config.json", files[i%2])
		c.reload()
	}

	took := time.Since(start)

	stop()

	for range 2 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}

	if d, g := c.settled(descriptors, goroutines); d > descriptors || g > goroutines {
		t.Errorf("left open: %d descriptors (%d before), %d goroutines (%d before)", d, descriptors, g, goroutines)
	}

	left := time.Since(start) - took

	if got := c.taken.Load(); got < reloads {
		t.Errorf("only %d reloads were taken in", got)
	}

	c.client.CloseIdleConnections()
	c.mustSignal(t, syscall.SIGTERM)
	background.Wait()

	if err := c.cmd.Wait(); err != nil {
		t.Error(errors.Join(err, errors.New(c.err.String())))
	}

	c.said.Range(func(line, _ any) bool {
		t.Errorf("in the log: %s", line)

		return true
	})

	t.Logf("%d reloads in %s beside %d requests; descriptors %d, goroutines %d, counted again in %s, stopped in %s",
		c.taken.Load(), took, done.Load(), descriptors, goroutines, left, time.Since(start)-took-left)
}

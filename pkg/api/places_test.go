package api

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/pkg/api/config"
)

const newUpload = "/v2/a/blobs/uploads/"

// begun begins an upload as someone, and returns where it goes on.
func (c *client) begun(headers ...string) string {
	c.t.Helper()

	return c.equalStatus(1, http.StatusAccepted, http.MethodPost, newUpload, headers...).Header.Get("Location")
}

func (c *client) full(headers ...string) {
	c.t.Helper()

	refused := c.equalStatus(1, http.StatusTooManyRequests, http.MethodPost, newUpload, headers...)
	equal(c.t, refused.Header.Get("Retry-After"), "1", "Retry-After")
	equal(c.t, strings.Contains(refused.body, `"code":"TOOMANYREQUESTS"`), true, refused.body)
}

func uploads(n int) config.HTTP {
	return config.HTTP{RateLimit: &config.RateLimit{PerClient: &config.ClientRate{Uploads: n}}}
}

func TestUploadsInProgressAreBounded(t *testing.T) {
	content := "0123456789"
	right := "?digest=" + digest.FromString(content).String()

	for name, end := range map[string]func(c *client, location string){
		"finished": func(c *client, location string) {
			c.send(http.MethodPatch, location, content).expect(t, http.StatusAccepted)
			c.do(http.MethodPut, location+right, nil).expect(t, http.StatusCreated)
		},
		"cancelled": func(c *client, location string) {
			c.do(http.MethodDelete, location, nil).expect(t, http.StatusNoContent)
		},
		"failed": func(c *client, location string) {
			c.send(http.MethodPut, location+right, "other").expect(t, http.StatusBadRequest)
		},
		"dropped by GC": func(c *client, location string) {
			now := c.server.doors.Load().places.now().Add(defaultUploadLife)
			c.server.doors.Load().places.now = func() time.Time { return now }
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := dialWith(t, uploads(2), openRegistry(t))

			first := c.begun()
			c.begun()
			c.full()
			c.get(first).expect(t, http.StatusNoContent)

			end(c, first)
			c.begun()

			if name != "dropped by GC" {
				c.full()
			}
		})
	}
}

// What can still be finished, as nothing was wrong with what was sent, counts on.
func TestUploadThatIsKeptCounts(t *testing.T) {
	c := dialWith(t, uploads(1), openRegistry(t))
	location := c.begun()

	c.send(http.MethodPatch, location, "abc").expect(t, http.StatusAccepted)
	c.do(http.MethodPut, location+"?digest="+digest.FromString("other").String(), nil).expect(t, http.StatusBadRequest)
	c.full()
}

func TestUploadInOneRequestCountsWhileItRuns(t *testing.T) {
	content := "0123456789"
	c := dialWith(t, uploads(1), openRegistry(t))
	whole := newUpload + "?digest=" + digest.FromString(content).String()

	body, sends := io.Pipe()
	done := make(chan answer)

	go func() { done <- c.do(http.MethodPost, whole, body) }()

	_, err := io.WriteString(sends, content[:4]) // the client has begun; has the server?
	c.must(err)
	c.waitFull()
	c.full()

	_, err = io.WriteString(sends, content[4:])
	c.must(err)
	c.must(sends.Close())
	(<-done).expect(t, http.StatusCreated)

	c.send(http.MethodPost, whole, "wrong").expect(t, http.StatusBadRequest)
	c.begun()
}

func TestClientThatVanishesFreesItsPlace(t *testing.T) {
	c := dialWith(t, uploads(1), openRegistry(t))

	body, sends := io.Pipe()
	whole := c.base + newUpload + "?digest=" + digest.FromString("all").String()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, whole, body)
	c.must(err)

	gone := make(chan error)

	go func() {
		answered, err := c.http.Do(req)
		if err == nil {
			err = answered.Body.Close()
		}

		gone <- err
	}()

	_, err = io.WriteString(sends, "a")
	c.must(err)
	c.waitFull()

	c.must(sends.CloseWithError(io.ErrClosedPipe)) // the connection is cut

	if err := <-gone; err == nil {
		t.Error("the request did not fail")
	}

	p := c.server.doors.Load().places
	for range 1000 {
		if p.count() == 0 {
			break
		}

		<-time.After(10 * time.Millisecond)
	}

	c.begun()
}

func (p *places) count() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()

	for _, all := range p.taken {
		n += len(all)
	}

	return n
}

// waitFull waits until the server has an upload.
func (c *client) waitFull() {
	c.t.Helper()

	for range 1000 {
		if c.server.doors.Load().places.count() > 0 {
			return
		}

		<-time.After(10 * time.Millisecond)
	}

	c.t.Fatal("the server has no upload in progress")
}

func TestUploadsOfUsersAreApart(t *testing.T) {
	c := locked(t, func(cfg *config.HTTP) { cfg.RateLimit = uploads(1).RateLimit })
	issuer := servers.StartIssuer(t)
	c2 := locked(t, func(cfg *config.HTTP) {
		byOpenID(issuer)(cfg)
		cfg.RateLimit = uploads(1).RateLimit
	})

	ann := basic("ann", "se:cret")
	c.begun(ann)
	c.full(ann)

	for _, user := range []string{"bob@example.com", "eve@example.com"} {
		session := c2.logIn(issuer, user)
		c2.begun(session...)
		c2.full(session...)
	}
}

// Browsers of several users behind one address have a rate each.
func TestSessionsAreChargedToTheirUsers(t *testing.T) {
	issuer := servers.StartIssuer(t)
	c := locked(t, func(cfg *config.HTTP) {
		byOpenID(issuer)(cfg)
		cfg.RateLimit = &config.RateLimit{PerClient: &config.ClientRate{Rate: 5}} // a login takes two of the address
	})

	ann, bob := c.logIn(issuer, "ann@example.com"), c.logIn(issuer, "bob@example.com")

	for _, user := range [][]string{ann, bob} {
		c.equalStatus(5, http.StatusOK, http.MethodGet, "/v2/", user...)
		c.equalStatus(1, http.StatusTooManyRequests, http.MethodGet, "/v2/", user...)
	}

	forged := "Cookie: __Host-zot-session=forged"
	c.equalStatus(1, http.StatusUnauthorized, http.MethodGet, "/v2/", forged)
	c.equalStatus(1, http.StatusTooManyRequests, http.MethodGet, "/v2/", forged)
}

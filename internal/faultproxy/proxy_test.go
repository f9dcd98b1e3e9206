package faultproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	. "github.com/smartystreets/goconvey/convey"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend is a server that keeps the bodies of PUT and answers them to GET.
type backend struct {
	mu     sync.Mutex
	bodies map[string]string
	hosts  []string
	puts   int
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}

	b.mu.Lock()
	defer b.mu.Unlock()

	b.hosts = append(b.hosts, r.Host)

	if r.Method == http.MethodPut {
		b.puts++
		b.bodies[r.URL.Path] = string(body)
		w.Header().Set("Etag", `"tag"`)

		return
	}

	if b.bodies[r.URL.Path] == "" {
		w.WriteHeader(http.StatusNotFound)
	}

	_, _ = io.WriteString(w, b.bodies[r.URL.Path])
}

func (b *backend) get(path string) string {
	b.mu.Lock()
	defer b.mu.Unlock()

	return b.bodies[path]
}

// client sends each request over a connection of its own, so that net/http tries
// none of them twice.
type client struct {
	http *http.Client
	url  string
}

func (c client) do(t *testing.T, method, path, body string) (int, string, error) {
	t.Helper()

	req, err := http.NewRequestWithContext(t.Context(), method, c.url+path, strings.NewReader(body))
	So(err, ShouldBeNil)

	res, err := c.http.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()

	got, err := io.ReadAll(res.Body)

	return res.StatusCode, string(got), err
}

func setUp(t *testing.T) (*Proxy, *backend, client) {
	t.Helper()

	b := &backend{bodies: map[string]string{}}
	server := httptest.NewServer(b)
	Reset(server.Close)

	p, err := New(server.URL)
	So(err, ShouldBeNil)
	Reset(func() { So(p.Close(), ShouldBeNil) })

	return p, b, client{&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, p.URL}
}

func TestProxy(t *testing.T) {
	Convey("A proxy", t, func() {
		p, b, c := setUp(t)

		Convey("passes requests and answers on as they are", func() {
			status, _, err := c.do(t, "PUT", "/b/a%2Fb", "body")
			So(err, ShouldBeNil)
			So(status, ShouldEqual, 200)
			So(b.get("/b/a/b"), ShouldEqual, "body")
			So(b.hosts, ShouldResemble, []string{strings.TrimPrefix(p.URL, "http://")})

			_, body, err := c.do(t, "GET", "/b/a/b", "")
			So(err, ShouldBeNil)
			So(body, ShouldEqual, "body")

			status, _, err = c.do(t, "GET", "/b/none", "")
			So(err, ShouldBeNil)
			So(status, ShouldEqual, 404)
		})

		Convey("counts and logs requests until it is reset", func() {
			for _, path := range []string{"/b/k", "/b/l", "/b/k"} {
				_, _, err := c.do(t, "PUT", path, "body")
				So(err, ShouldBeNil)
			}
			_, _, err := c.do(t, "GET", "/b/none", "")
			So(err, ShouldBeNil)

			So(p.Counts(), ShouldResemble, map[Operation]int{PutObject: 3, GetObject: 1})

			log := p.Log()
			So(log, ShouldHaveLength, 4)
			So(log[2], ShouldResemble, Entry{
				Request: Request{Operation: PutObject, Bucket: "b", Key: "k", Seq: 3, Nth: 3, NthOfKey: 2, Size: 4},
				Server:  200, Status: 200,
			})
			So(log[3].Status, ShouldEqual, 404)

			p.Reset()
			So(p.Counts(), ShouldBeEmpty)
			So(p.Log(), ShouldBeEmpty)
		})

		Convey("resets connections if the server is away", func() {
			p.target.Host = "127.0.0.1:1"

			_, _, err := c.do(t, "PUT", "/b/k", "body")
			So(errors.Is(err, syscall.ECONNRESET), ShouldBeTrue)
			So(p.Log()[0].Server, ShouldEqual, 0)
		})

		Convey("can be closed while requests are under way", func() {
			f := p.Inject(Rule{Kind: Hold})
			answered := make(chan error, 1)

			go func() {
				res, err := c.http.Get(p.URL + "/b/k")
				if err == nil {
					err = res.Body.Close()
				}
				answered <- err
			}()

			So(f.Await(t.Context(), 1), ShouldBeNil)
			So(p.Close(), ShouldBeNil)
			So(<-answered, ShouldNotBeNil)
		})
	})

	Convey("What is no address of a server is refused", t, func() {
		_, err := New("127.0.0.1:80")
		So(err, ShouldNotBeNil)
		_, err = New("/path")
		So(err, ShouldNotBeNil)
	})
}

func TestErrors(t *testing.T) {
	for _, k := range []struct {
		kind   Kind
		status int
		code   string
	}{
		{SlowDown, 503, "SlowDown"},
		{InternalError, 500, "InternalError"},
		{Conflict, 409, "ConditionalRequestConflict"},
		{ErrorBody, 200, "InternalError"},
	} {
		for _, after := range []bool{false, true} {
			Convey(fmt.Sprintf("%s, after: %t", k.kind, after), t, func() {
				p, b, c := setUp(t)
				p.Inject(Rule{Kind: k.kind, After: after, Times: 1})

				status, body, err := c.do(t, "PUT", "/b/k", strings.Repeat("body", 1<<20))
				So(err, ShouldBeNil)
				So(status, ShouldEqual, k.status)
				So(body, ShouldContainSubstring, "<Code>"+k.code+"</Code>")
				So(b.get("/b/k") != "", ShouldEqual, after)

				entry := p.Log()[0]
				So(entry.Fault, ShouldEqual, k.kind)
				So(entry.Status, ShouldEqual, k.status)
				So(entry.Server != 0, ShouldEqual, after)
			})
		}
	}
}

func TestConnReset(t *testing.T) {
	for _, after := range []bool{false, true} {
		Convey(fmt.Sprintf("A connection is reset, after: %t", after), t, func() {
			p, b, c := setUp(t)
			p.Inject(Rule{Kind: ConnReset, After: after, Times: 1})

			_, _, err := c.do(t, "PUT", "/b/k", "body")
			So(errors.Is(err, syscall.ECONNRESET), ShouldBeTrue)
			So(b.get("/b/k") == "body", ShouldEqual, after)
			So(p.Log()[0].Status, ShouldEqual, 0)

			_, _, err = c.do(t, "PUT", "/b/k", "body")
			So(err, ShouldBeNil)
		})
	}
}

func TestTruncate(t *testing.T) {
	Convey("Half of a body arrives, and an error", t, func() {
		p, b, c := setUp(t)
		b.bodies["/b/k"] = "0123456789"
		p.Inject(Rule{Kind: Truncate, After: true}) // it always is

		status, body, err := c.do(t, "GET", "/b/k", "")
		So(status, ShouldEqual, 200)
		So(body, ShouldEqual, "01234")
		So(err, ShouldNotBeNil)
		So(errors.Is(err, io.EOF), ShouldBeFalse)

		Convey("and nothing of an answer without one", func() {
			_, _, err := c.do(t, "PUT", "/b/k", "body")
			So(errors.Is(err, syscall.ECONNRESET), ShouldBeTrue)
			So(b.get("/b/k"), ShouldEqual, "body")
		})
	})
}

func TestTruncateOfABrokenAnswer(t *testing.T) {
	Convey("An answer that breaks off before it is cut short is cut once", t, func() {
		broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "some")
		}))
		Reset(broken.Close)

		p, err := New(broken.URL)
		So(err, ShouldBeNil)
		Reset(func() { So(p.Close(), ShouldBeNil) })
		p.Inject(Rule{Kind: Truncate})

		panicked := make(chan any, 1)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { panicked <- recover() }()

			p.serve(w, r)
		}))
		Reset(server.Close)

		c := client{&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, server.URL}
		_, _, err = c.do(t, "GET", "/b/k", "")
		So(err, ShouldNotBeNil)
		So(<-panicked, ShouldBeNil)
	})
}

// start does a request in the background.
func start(t *testing.T, c client, method, path, body string) <-chan error {
	t.Helper()

	done := make(chan error, 1)

	req, err := http.NewRequestWithContext(t.Context(), method, c.url+path, strings.NewReader(body))
	So(err, ShouldBeNil)

	go func() {
		res, err := c.http.Do(req)
		if err == nil {
			err = res.Body.Close()
		}
		done <- err
	}()

	return done
}

func TestHold(t *testing.T) {
	for _, after := range []bool{false, true} {
		Convey(fmt.Sprintf("A request is held until it is released, after: %t", after), t, func() {
			p, b, c := setUp(t)
			f := p.Inject(Rule{Match: On(PutObject), Kind: Hold, After: after})
			done := start(t, c, "PUT", "/b/k", "body")

			So(f.Await(t.Context(), 1), ShouldBeNil)

			// Others pass. What is held after the server answered is there by and by.
			for b.get("/b/k") == "" && after {
				_, _, err := c.do(t, "GET", "/b/k", "")
				So(err, ShouldBeNil)
			}

			So(b.get("/b/k") != "", ShouldEqual, after)
			So(done, ShouldBeEmpty)

			f.Release()
			So(<-done, ShouldBeNil)
			So(b.get("/b/k"), ShouldEqual, "body")
		})
	}

	Convey("A request is held no longer than its delay", t, func() {
		p, _, c := setUp(t)
		p.Inject(Rule{Kind: Hold, Delay: 20 * time.Millisecond})
		began := time.Now()

		_, _, err := c.do(t, "PUT", "/b/k", "body")
		So(err, ShouldBeNil)
		So(time.Since(began), ShouldBeGreaterThanOrEqualTo, 20*time.Millisecond)
	})
}

func TestBlackhole(t *testing.T) {
	Convey("No answer comes until the release, and then a reset", t, func() {
		p, b, c := setUp(t)
		f := p.Inject(Rule{Kind: Blackhole})
		done := start(t, c, "PUT", "/b/k", "body")

		So(f.Await(t.Context(), 1), ShouldBeNil)
		So(done, ShouldBeEmpty)

		f.Release()
		So(errors.Is(<-done, syscall.ECONNRESET), ShouldBeTrue)
		So(b.get("/b/k"), ShouldBeEmpty)
	})
}

func TestDuplicate(t *testing.T) {
	Convey("A request is repeated when its fault is released", t, func() {
		p, b, c := setUp(t)
		f := p.Inject(Rule{Kind: Duplicate, Times: 1})

		_, _, err := c.do(t, "PUT", "/b/k", "old")
		So(err, ShouldBeNil)
		_, _, err = c.do(t, "PUT", "/b/k", "new")
		So(err, ShouldBeNil)
		So(b.get("/b/k"), ShouldEqual, "new")

		f.Release()
		So(f.Settle(t.Context()), ShouldBeNil)
		So(b.get("/b/k"), ShouldEqual, "old")
		So(b.puts, ShouldEqual, 3)
		So(p.Counts()[PutObject], ShouldEqual, 2)

		log := p.Log()
		So(log[2].Again, ShouldBeTrue)
		So(log[2].Seq, ShouldEqual, 1)
		So(log[2].Server, ShouldEqual, 200)
	})
}

func TestLate(t *testing.T) {
	Convey("A request whose client was told of a reset arrives late", t, func() {
		p, b, c := setUp(t)
		f := p.Inject(Rule{Kind: Late, Times: 1})

		_, _, err := c.do(t, "PUT", "/b/k", "old")
		So(errors.Is(err, syscall.ECONNRESET), ShouldBeTrue)
		So(b.get("/b/k"), ShouldBeEmpty)

		Convey("after what came later", func() {
			_, _, err = c.do(t, "PUT", "/b/k", "new")
			So(err, ShouldBeNil)

			f.Release()
			So(f.Settle(t.Context()), ShouldBeNil)
			So(b.get("/b/k"), ShouldEqual, "old")
			So(p.Log()[0].Server, ShouldEqual, 200)
			So(p.Log()[0].Status, ShouldEqual, 0)
		})

		Convey("and never, if the proxy is closed before", func() {
			So(p.Close(), ShouldBeNil)
			So(f.Settle(t.Context()), ShouldBeNil)
			So(b.get("/b/k"), ShouldBeEmpty)
		})
	})
}

func TestRule(t *testing.T) {
	Convey("A rule", t, func() {
		p, _, c := setUp(t)

		statuses := func(n int) []int {
			var got []int

			for i := range n {
				status, _, err := c.do(t, "PUT", fmt.Sprintf("/b/%d", i), "body")
				So(err, ShouldBeNil)
				got = append(got, status)
			}

			return got
		}

		Convey("may choose the n-th request", func() {
			p.Inject(Rule{Match: func(r Request) bool { return r.Nth == 2 }, Kind: SlowDown})
			So(statuses(3), ShouldResemble, []int{200, 503, 200})
		})

		Convey("holds so many times", func() {
			f := p.Inject(Rule{Kind: SlowDown, Times: 2})
			So(statuses(3), ShouldResemble, []int{503, 503, 200})
			So(f.Hits(), ShouldEqual, 2)
		})

		Convey("holds until it is removed", func() {
			f := p.Inject(Rule{Kind: SlowDown})
			So(statuses(1), ShouldResemble, []int{503})
			f.Remove()
			So(statuses(1), ShouldResemble, []int{200})
		})

		Convey("comes before later ones", func() {
			p.Inject(Rule{Kind: SlowDown, Times: 1})
			p.Inject(Rule{Kind: InternalError, Times: 1})
			So(statuses(3), ShouldResemble, []int{503, 500, 200})
		})

		Convey("by chance holds for the same requests if the seed is the same", func() {
			run := func(seed uint64) []int {
				p.Reset()
				p.Seed(seed)
				p.Inject(Rule{Kind: SlowDown, Chance: 0.5})

				return statuses(40)
			}

			first := run(1)
			So(first, ShouldContain, 200)
			So(first, ShouldContain, 503)
			So(run(1), ShouldResemble, first)
			So(run(2), ShouldNotResemble, first)
		})

		Convey("that nothing meets can be awaited for as long as the context says", func() {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			So(p.Inject(Rule{}).Await(ctx, 1), ShouldEqual, context.Canceled)
		})
	})
}

func TestStreams(t *testing.T) {
	Convey("The server sees the begin of a body before the client has sent its end", t, func() {
		begun := make(chan error, 1)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.CopyN(io.Discard, r.Body, 1<<20)
			begun <- err

			_, _ = io.Copy(w, r.Body)
		}))
		defer server.Close()

		p, err := New(server.URL)
		So(err, ShouldBeNil)
		defer func() { So(p.Close(), ShouldBeNil) }()

		body, write := io.Pipe()
		answer := make(chan string, 1)

		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, p.URL+"/b/k", body)
		So(err, ShouldBeNil)

		go func() {
			defer close(answer)

			res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
			if err != nil {
				return
			}
			defer res.Body.Close()

			rest, _ := io.ReadAll(res.Body)
			answer <- string(rest)
		}()

		_, err = write.Write(bytes.Repeat([]byte("a"), 1<<20))
		So(err, ShouldBeNil)
		So(<-begun, ShouldBeNil)

		_, err = write.Write([]byte("end"))
		So(err, ShouldBeNil)
		So(write.Close(), ShouldBeNil)
		So(<-answer, ShouldEqual, "end")
	})
}

package zb

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/smartystreets/goconvey/convey"
)

// directly serves handle, and returns the direct way to it.
func directly(t *testing.T, handle http.HandlerFunc) (*httptest.Server, *direct) {
	t.Helper()

	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)

	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}

	d := &direct{addr: base.Host, dial: new(net.Dialer).DialContext}
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	})

	return server, d
}

// ask sends a request and returns the status and the body of the answer.
func (d *direct) ask(ctx context.Context, method, url string, body io.Reader) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, "", err
	}

	resp, _, err := d.roundTrip(req)
	if err != nil {
		return 0, "", err
	}

	all, err := io.ReadAll(resp.Body)

	return resp.StatusCode, string(all), errors.Join(err, resp.Body.Close())
}

func TestDirect(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Expect") == "" {
			w.WriteHeader(http.StatusProcessing) // says nothing yet
		}

		_, _ = io.Copy(w, r.Body)
	}

	Convey("Requests go over one connection, with a body, in chunks and without", t, func() {
		addrs := map[string]bool{}
		server, d := directly(t, func(w http.ResponseWriter, r *http.Request) {
			addrs[r.RemoteAddr] = true

			echo(w, r)
		})

		for _, body := range []io.Reader{strings.NewReader("known"), struct{ io.Reader }{strings.NewReader("chunks")}, nil} {
			status, got, err := d.ask(t.Context(), http.MethodPut, server.URL, body)
			So(err, ShouldBeNil)
			So(status, ShouldEqual, http.StatusOK)

			if body != nil {
				So(got, ShouldBeIn, "known", "chunks")
			}
		}

		status, _, err := d.ask(t.Context(), http.MethodHead, server.URL, nil)
		So(err, ShouldBeNil)
		So(status, ShouldEqual, http.StatusOK)
		So(len(addrs), ShouldEqual, 1)
	})

	Convey("Where the server has closed an idle connection, the request is sent again", t, func() {
		server, d := directly(t, echo)

		for range 2 {
			_, got, err := d.ask(t.Context(), http.MethodPut, server.URL, strings.NewReader("again"))
			So(err, ShouldBeNil)
			So(got, ShouldEqual, "again")
			server.CloseClientConnections()
		}
	})

	Convey("An answer that comes before the whole body is taken", t, func() {
		server, d := directly(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusForbidden)
		})

		status, _, err := d.ask(t.Context(), http.MethodPut, server.URL, io.LimitReader(zeros{}, 64<<20))
		if err == nil { // else the connection was reset before the answer could be read
			So(status, ShouldEqual, http.StatusForbidden)
		}

		So(d.idle, ShouldBeEmpty)
	})

	Convey("A request ends with its context, before the answer and within it", t, func() {
		begin := make(chan bool, 1)
		server, d := directly(t, func(w http.ResponseWriter, r *http.Request) {
			if <-begin {
				_, _ = io.WriteString(w, "begun")
				_ = http.NewResponseController(w).Flush()
			}

			<-r.Context().Done()
		})

		for _, begun := range []bool{false, true} {
			begin <- begun

			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			_, _, err := d.ask(ctx, http.MethodGet, server.URL, nil)
			So(err, ShouldNotBeNil)
			So(d.idle, ShouldBeEmpty)
			cancel()
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)

	return len(p), nil
}

package api

import (
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"testing"
	"time"
)

// A client that waits long is told that it is still worked on, and gets its answer.
func TestKeepAlive(t *testing.T) {
	told := make(chan int, 8)

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wrapped := newResponse(w, r, 0)
		stop := keepAlive(wrapped, []time.Duration{time.Millisecond, time.Millisecond, time.Hour})

		<-told // the client has seen one
		stop()
		wrapped.WriteHeader(http.StatusCreated)
	}))
	defer server.Close()

	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		told <- code

		return nil
	}}

	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodPut, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}

	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()

	if answer.StatusCode != http.StatusCreated {
		t.Errorf("status is %d", answer.StatusCode)
	}
}

// A proxy may take an interim answer for the final one.
func TestTakesInterim(t *testing.T) {
	direct := httptest.NewRequest(http.MethodPut, "/", nil)
	proxied := httptest.NewRequest(http.MethodPut, "/", nil)
	proxied.Header.Set("X-Forwarded-For", "192.0.2.1")

	old := httptest.NewRequest(http.MethodPut, "/", nil)
	old.ProtoMajor, old.ProtoMinor = 1, 0

	if !takesInterim(direct) || takesInterim(proxied) || takesInterim(old) {
		t.Errorf("direct %t, through a proxy %t, HTTP/1.0 %t", takesInterim(direct), takesInterim(proxied), takesInterim(old))
	}
}

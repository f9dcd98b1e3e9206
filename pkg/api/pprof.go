package api

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"strings"
	"time"

	"zotregistry.io/zot/internal/pause"
)

// pprofPath is where profiles of the process are, by name.
const pprofPath = "/zot/debug/pprof/"

// How long a profile is taken, unless the client says otherwise, and at most.
const (
	profileTime    = 30 * time.Second
	maxProfileTime = time.Minute
)

// errBusy: there can be one profile of a kind at a time.
var errBusy = errors.New("another one is being taken")

// profiles are those that there are, but for what the runtime keeps by itself. net/http/pprof
// would do as well, but has no bound, and puts itself into http.DefaultServeMux.
var profiles = map[string]func(w *response, r *request) error{
	"": listProfiles, "profile": profileCPU, "trace": traceAll,
	"allocs": kept("allocs"), "goroutine": kept("goroutine"), "heap": kept("heap"),
}

// profile answers with the profile that the path names.
func profile(w *response, r *request) error {
	send, ok := profiles[strings.TrimPrefix(r.URL.Path, pprofPath)]
	if !ok {
		return errNoEndpoint
	}

	return send(w, r)
}

func listProfiles(w *response, _ *request) error {
	return sendJSON(w, http.StatusOK, "text/plain; charset=utf-8", []byte(
		"allocs     what was allocated since the start\n"+
			"goroutine  what all goroutines do now; ?debug=2 as text\n"+
			"heap       what is in memory; ?debug=1 as text\n"+
			"profile    CPU time in the next ?seconds=30\n"+
			"trace      what is executed in the next ?seconds=30\n"))
}

// kept sends a profile that the runtime keeps.
func kept(name string) handler {
	return func(w *response, r *request) error {
		debug, err := number(r, "debug", 0, 2)
		if err != nil {
			return err
		}

		var body bytes.Buffer
		if err := pprof.Lookup(name).WriteTo(&body, debug); err != nil {
			return fmt.Errorf("profile %s: %w", name, err)
		}

		mediaType := "application/octet-stream"
		if debug > 0 {
			mediaType = "text/plain; charset=utf-8"
		}

		return sendJSON(w, http.StatusOK, mediaType, body.Bytes())
	}
}

// profileCPU sends what CPU time is used for from now on.
func profileCPU(w *response, r *request) error {
	took, err := duration(r)
	if err != nil {
		return err
	}

	var body bytes.Buffer
	if err := pprof.StartCPUProfile(&body); err != nil {
		return fmt.Errorf("%w: %w", errBusy, err)
	}

	_ = pause.For(r.Context(), took) // a client that has gone reads no error
	pprof.StopCPUProfile()

	return sendJSON(w, http.StatusOK, "application/octet-stream", body.Bytes())
}

// traceAll sends what is executed from now on, while it is: that may be much.
func traceAll(w *response, r *request) error {
	took, err := duration(r)
	if err != nil {
		return err
	}

	w.set("Content-Type", "application/octet-stream")

	if err := trace.Start(w); err != nil {
		return fmt.Errorf("%w: %w", errBusy, err)
	}

	_ = pause.For(r.Context(), took) // a client that has gone reads no error
	trace.Stop()                     // returns when all is written

	return nil
}

// duration is how long a client wants a profile of.
func duration(r *request) (time.Duration, error) {
	seconds, err := number(r, "seconds", int(profileTime/time.Second), int(maxProfileTime/time.Second))

	return time.Duration(seconds) * time.Second, err
}

// number is a parameter of the query, from 0 to most.
func number(r *request, name string, standard, most int) (int, error) {
	text := r.query.Get(name)
	if text == "" {
		return standard, nil
	}

	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%w: %s is a number from 0 to %d", errQuery, name, most)
	}

	return n, nil
}

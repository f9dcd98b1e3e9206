package api

import (
	"net/http"
	"time"
)

// patience is when a client that waits for its answer is told that it is still worked on,
// each counted from the one before. Some proxies and clients give up on a connection that
// is silent for a minute. There are few of them, since older Go clients take no more than
// five interim answers.
var patience = []time.Duration{15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute}

// takesInterim says whether an interim answer may be sent: nginx takes one for the final
// answer (its issue 1427), so not where a proxy shows itself; HTTP/1.0 has none.
func takesInterim(r *http.Request) bool {
	for _, header := range []string{"Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-Ip"} {
		if r.Header.Get(header) != "" {
			return false
		}
	}

	return r.ProtoAtLeast(1, 1)
}

// keepAlive sends "100 Continue" again after each of pauses, until the function it returns
// is called: that waits for one that is being sent. It is the one interim answer that every
// client skips. Nothing else may be written meanwhile.
func keepAlive(w *response, pauses []time.Duration) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})

	go func() {
		defer close(done)

		for _, pause := range pauses {
			timer := time.NewTimer(pause)

			select {
			case <-timer.C:
				w.interim()
			case <-quit:
				timer.Stop()

				return
			}
		}
	}()

	return func() {
		close(quit)
		<-done
	}
}

// interim sends an interim answer; that it cannot be sent the final one will tell.
func (w *response) interim() {
	if err := w.arm(); err == nil {
		w.ResponseWriter.WriteHeader(http.StatusContinue)
	}
}

package storage

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestPace: beside requests background work takes a fifth of the time, and all of it where
// there are none.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace

		work := func() time.Duration {
			begun := time.Now()
			strides := p.begin()

			for range 100 {
				time.Sleep(10 * time.Millisecond) // the work
				strides.rest(t.Context())
			}

			return time.Since(begun)
		}

		time.Sleep(time.Hour)

		if took := work(); took != time.Second {
			t.Errorf("alone a second of work took %s", took)
		}

		stop := make(chan struct{})

		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(paceQuiet / 2):
					p.request()
				}
			}
		}()

		p.request()

		if took := work(); took != paceParts*time.Second {
			t.Errorf("beside requests a second of work took %s", took)
		}

		close(stop)
	})
}

package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/pkg/api/config"
)

// writes keeps each write by itself.
type writes struct {
	mu    sync.Mutex
	all   []string
	fails error
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.all = append(w.all, string(p))

	return len(p), w.fails
}

func (w *writes) Close() error { return errors.New("closed") }

// made is each write so far.
func (w *writes) made() []string {
	w.mu.Lock()
	defer w.mu.Unlock()

	return slices.Clone(w.all)
}

// fail has the writes to come fail with err, nil = none.
func (w *writes) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.fails = err
}

func (w *writes) lines() int {
	w.mu.Lock()
	defer w.mu.Unlock()

	return strings.Count(strings.Join(w.all, ""), "\n")
}

func TestGatheredLog(t *testing.T) {
	gather := func() (*writes, *gathered, zerolog.Logger) {
		w := &writes{}
		g := newGathered(w)

		return w, g, zerolog.New(g)
	}

	Convey("Lines that come together are written together, soon", t, func() {
		synctest.Test(t, func(t *testing.T) {
			w, _, log := gather()
			for range 50 {
				log.Info().Msg("x")
			}

			time.Sleep(gatherFor + time.Millisecond)
			synctest.Wait()

			if made := w.made(); len(made) != 1 || w.lines() != 50 {
				t.Errorf("%d writes of %d lines", len(made), w.lines())
			}
		})
	})

	Convey("A warning is written at once, behind what came before", t, func() {
		w, _, log := gather()
		log.Info().Msg("first")
		log.Warn().Msg("second")
		So(w.lines(), ShouldEqual, 2)
		So(w.made()[0], ShouldStartWith, `{"level":"info"`)
	})

	Convey("What waits is bounded", t, func() {
		w, _, log := gather()
		for range 3 {
			log.Info().Msg(strings.Repeat("x", gatherMost/2))
		}

		So(w.lines(), ShouldBeGreaterThanOrEqualTo, 2)
	})

	Convey("Close writes what waits, also after a write that failed", t, func() {
		w, g, log := gather()
		w.fail(errors.New("full"))
		log.Error().Msg("lost")
		w.fail(nil)
		log.Info().Msg("last")
		So(g.Close(), ShouldNotBeNil)
		So(w.lines(), ShouldEqual, 2)
	})
}

// TestLogIsPrintable: what a client has chosen does nothing to a terminal that shows the log.
func TestLogIsPrintable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")

	log, err := openLog(config.Log{Level: "info", Output: path}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}

	log.Info().Str("path", "/v2/\u009b2J\u202e\x7f").Msg("request")

	if err := log.Close(); err != nil {
		t.Fatal(err)
	}

	data, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(data), `"/v2/\u009b2J\u202e\u007f"`) {
		t.Errorf("%q, %v", data, err)
	}
}

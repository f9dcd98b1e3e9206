package cache

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"
)

// quick makes nothing wait long, and nothing happen by itself soon: tests flush.
var quick = boltTiming{
	read:   time.Minute,
	flush:  time.Hour,
	retry:  time.Hour,
	lock:   100 * time.Millisecond,
	close:  time.Minute,
	room:   time.Minute,
	memory: 8 << 20,
}

// logLines collects what is logged.
type logLines struct {
	mu    sync.Mutex // guards lines
	lines []map[string]any
}

func (l *logLines) Write(p []byte) (int, error) {
	line := map[string]any{}
	if err := json.Unmarshal(p, &line); err != nil {
		return 0, err
	}

	l.mu.Lock()
	defer l.mu.Unlock()

	l.lines = append(l.lines, line)

	return len(p), nil
}

// count returns how many lines of a level there are.
func (l *logLines) count(level zerolog.Level) int {
	l.mu.Lock()
	defer l.mu.Unlock()

	return len(slices.DeleteFunc(slices.Clone(l.lines), func(line map[string]any) bool {
		return line["level"] != level.String()
	}))
}

// boltTest is a cache in a directory of its own, and all that is done with it.
type boltTest struct {
	*BoltDB
	*testing.T

	dir string
	log logLines
}

func newBoltTest(t *testing.T) *boltTest {
	t.Helper()

	return &boltTest{T: t, dir: t.TempDir()}
}

func (b *boltTest) file() string { return filepath.Join(b.dir, boltFileName) }

func (b *boltTest) open(timing boltTiming) error {
	var err error

	b.BoltDB, err = OpenBoltDB(BoltOptions{
		Directory: b.dir, Namespace: "a store", Log: zerolog.New(&b.log), timing: timing,
	})

	return err
}

func (b *boltTest) mustOpen() {
	b.Helper()
	b.must(b.open(quick))
}

func (b *boltTest) mustClose() {
	b.Helper()
	b.must(b.Close())
}

func (b *boltTest) must(err error) {
	b.Helper()

	if err != nil {
		b.Fatal(err)
	}
}

func (b *boltTest) mustFlush() {
	b.Helper()
	b.must(b.Flush(b.Context()))
}

func testDigest(i int) digest.Digest { return digest.FromString(fmt.Sprint("blob ", i)) }

// fill puts n digests with two keys each, and writes them.
func (b *boltTest) fill(n int) {
	b.Helper()

	for i := range n {
		b.must(b.PutBlob(b.Context(), testDigest(i), "first"))
		b.must(b.PutBlob(b.Context(), testDigest(i), "second"))
	}

	b.mustFlush()
}

// known returns how many of the n digests that fill puts are known.
func (b *boltTest) known(n int) int {
	b.Helper()

	known := 0

	for i := range n {
		key, err := b.GetBlob(b.Context(), testDigest(i))

		switch {
		case err == nil && key == "first":
			known++
		case !errors.Is(err, ErrMiss):
			b.Fatalf("GetBlob: %q, %v", key, err)
		}
	}

	return known
}

func (b *boltTest) wantKnown(n, want int) {
	b.Helper()

	if known := b.known(n); known != want {
		b.Fatalf("%d digests are known, want %d", known, want)
	}
}

// wantAside checks which files lie beside cache.db.
func (b *boltTest) wantAside(want ...string) {
	b.Helper()

	entries, err := os.ReadDir(b.dir)
	b.must(err)

	var names []string

	for _, entry := range entries {
		if entry.Name() != boltFileName {
			names = append(names, entry.Name())
		}
	}

	if !slices.Equal(names, want) {
		b.Fatalf("beside cache.db lie %q, want %q", names, want)
	}
}

func (b *boltTest) wantLogged(level zerolog.Level, want int) {
	b.Helper()

	if n := b.log.count(level); n != want {
		b.Fatalf("%d lines of level %s, want %d: %v", n, level, want, b.log.lines)
	}
}

// blindfold makes the cache take what its file looks like now for its own work, so
// that damage is not seen by looking at it, but by running into it.
func (b *boltTest) blindfold() {
	b.Helper()

	b.mu.Lock()
	defer b.mu.Unlock()

	b.must(b.BoltDB.file.reseal())
}

func (b *boltTest) read() []byte {
	b.Helper()

	content, err := os.ReadFile(b.file())
	b.must(err)

	return content
}

// garbage is n bytes that are no pages.
func garbage(n int) []byte { return bytes.Repeat([]byte("\xde\xad\xbe\xef\x01"), n/5+1)[:n] }

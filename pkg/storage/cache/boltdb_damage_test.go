package cache

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// damage is something that befalls cache.db.
type damage struct {
	name string
	do   func(b *boltTest)

	unseen bool // also try it when only running into it finds it
	aside  bool // there is a file to move aside
	fresh  bool // between runs: as if there had been no file
	used   bool // between runs: what is there is used
}

func overwrite(b *boltTest, from int, content []byte) {
	b.Helper()

	file, err := os.OpenFile(b.file(), os.O_WRONLY, 0)
	b.must(err)

	_, err = file.WriteAt(content, int64(from))
	b.must(err)
	b.must(file.Close())
}

func truncate(size int64) func(b *boltTest) {
	return func(b *boltTest) {
		b.Helper()
		b.must(os.Truncate(b.file(), size))
	}
}

// foreign is a small sound file of ours with one digest, of another moment.
func foreign(b *boltTest) []byte {
	b.Helper()

	other := newBoltTest(b.T)
	other.mustOpen()
	other.must(other.PutBlob(b.Context(), testDigest(0), "first"))
	other.mustClose()

	return other.read()
}

var damages = []damage{
	{name: "deleted", fresh: true, do: func(b *boltTest) { b.must(os.Remove(b.file())) }},
	{name: "truncated to nothing", fresh: true, unseen: true, aside: true, do: truncate(0)},
	{name: "truncated to one page", unseen: true, aside: true, do: truncate(4096)},
	{name: "truncated to three pages", unseen: true, aside: true, do: truncate(3 * 4096)},
	{name: "overwritten with garbage", unseen: true, aside: true, do: func(b *boltTest) {
		overwrite(b, 0, garbage(len(b.read())))
	}},
	{name: "garbage in all but the metas", unseen: true, aside: true, do: func(b *boltTest) {
		overwrite(b, 2*4096, garbage(len(b.read())-2*4096))
	}},
	{name: "overwritten with a text", unseen: true, aside: true, do: func(b *boltTest) {
		b.must(os.WriteFile(b.file(), []byte("all your cache are belong to us\n"), 0o600))
	}},
	{name: "overwritten with zeros", unseen: true, aside: true, do: func(b *boltTest) {
		overwrite(b, 0, make([]byte, len(b.read())))
	}},
	{name: "overwritten with another", used: true, unseen: true, aside: true, do: func(b *boltTest) {
		b.must(os.WriteFile(b.file(), foreign(b), 0o600))
	}},
	{name: "replaced by another", used: true, aside: true, do: func(b *boltTest) {
		b.must(os.WriteFile(b.file()+".new", foreign(b), 0o600))
		b.must(os.Rename(b.file()+".new", b.file()))
	}},
	{name: "replaced by a directory", aside: true, do: func(b *boltTest) {
		b.must(os.Remove(b.file()))
		b.must(os.Mkdir(b.file(), 0o700))
	}},
}

const filled = 500

// served is what each damage must lead to while the cache is in use.
func (d damage) served(t *testing.T, unseen bool) {
	b := newBoltTest(t)
	b.mustOpen()
	b.fill(filled)
	b.wantKnown(filled, filled)

	d.do(b)

	if unseen {
		b.blindfold()
	}

	// Whoever looks first finds it; from then on all is gone.
	b.must(b.PutBlob(t.Context(), testDigest(filled), "waits"))
	b.untilLost()
	b.wantKnown(filled+1, 0)
	b.wantLogged(zerolog.WarnLevel, 1)

	b.mustFlush() // makes a fresh file
	b.wantKnown(filled, 0)
	b.wantLogged(zerolog.WarnLevel, 1)

	if d.aside {
		b.wantAside("cache.db.damaged-1")
	} else {
		b.wantAside()
	}

	b.fill(filled)
	b.wantKnown(filled, filled)
	b.mustClose()

	b.mustOpen()
	b.wantKnown(filled, filled)
	b.wantLogged(zerolog.WarnLevel, 1)
	b.mustClose()
}

// untilLost asks for each digest, so that a page that is damaged is met.
func (b *boltTest) untilLost() {
	b.Helper()

	for i := range filled {
		_, err := b.GetAllBlobs(b.Context(), testDigest(i), -1)
		if err != nil && !errors.Is(err, ErrMiss) {
			b.Fatalf("GetAllBlobs: %v", err)
		}

		if b.log.count(zerolog.WarnLevel) > 0 {
			return
		}
	}

	b.Fatal("nobody has noticed")
}

func TestDamageWhileServing(t *testing.T) {
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) { d.served(t, false) })

		if d.unseen {
			t.Run(d.name+", unseen", func(t *testing.T) { d.served(t, true) })
		}
	}
}

// The writer may be the first to meet the damage.
func TestDamageMetByWriter(t *testing.T) {
	for _, d := range damages {
		for _, unseen := range []bool{false, d.unseen} {
			t.Run(d.name, func(t *testing.T) {
				b := newBoltTest(t)
				b.mustOpen()
				b.fill(filled)
				d.do(b)

				if unseen {
					b.blindfold()
				}

				b.must(b.PutBlob(t.Context(), testDigest(0), "third"))
				b.must(b.DeleteBlob(t.Context(), testDigest(1), "first"))
				b.mustFlush()
				b.untilLost() // a garbled page that the writer has no use for
				b.mustFlush()
				b.wantKnown(filled, 0)
				b.fill(filled)
				b.wantKnown(filled, filled)
				b.mustClose()
			})
		}
	}
}

// All who wait get an answer when one of them faults with bbolt's locks held.
func TestNobodyHangs(t *testing.T) {
	for range 20 {
		b := newBoltTest(t)
		b.mustOpen()
		b.fill(filled)

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)

		truncate(0)(b)
		b.blindfold()

		var group sync.WaitGroup
		for i := range 50 {
			group.Go(func() {
				if _, err := b.GetBlob(ctx, testDigest(i)); !errors.Is(err, ErrMiss) {
					t.Errorf("GetBlob: %v", err)
				}
			})
		}

		group.Wait()
		cancel()
		b.mustFlush()
		b.fill(1)
		b.wantKnown(1, 1)
		b.mustClose()
	}
}

// A busy cache lives through one damage after another.
func TestDamageUnderLoad(t *testing.T) {
	b := newBoltTest(t)

	busy := quick
	busy.flush, busy.retry = time.Millisecond, time.Millisecond
	b.must(b.open(busy))

	ctx, cancel := context.WithCancel(t.Context())

	var group sync.WaitGroup
	for range 4 {
		group.Go(func() { b.load(ctx) })
	}

	for range 4 {
		for _, d := range damages {
			b.fill(20)

			if _, err := os.Stat(b.file()); err == nil { // else one is being made
				b.Log(d.name)
				d.doRacing(b)
			}
		}
	}

	cancel()
	group.Wait()
	b.settle()
	b.fill(filled)
	b.wantKnown(filled, filled)
	b.mustClose()
}

// doRacing does a damage to a file that may be gone at any moment.
func (d damage) doRacing(b *boltTest) {
	b.Helper()

	switch d.name {
	case "deleted", "replaced by a directory":
		_ = os.Remove(b.file())
	default:
		size := int64(rand.IntN(5) * 4096)
		if info, err := os.Stat(b.file()); err == nil && rand.IntN(2) == 0 {
			size = info.Size()
			_ = os.WriteFile(b.file(), garbage(int(size)), 0o600)
		} else {
			_ = os.Truncate(b.file(), size)
		}
	}
}

// settle returns when the cache has a file that is sound.
func (b *boltTest) settle() {
	b.Helper()

	for range 100 {
		b.must(b.PutBlob(b.Context(), testDigest(0), "settled"))
		b.mustFlush()

		if has, err := b.HasBlob(b.Context(), testDigest(0), "settled"); err != nil {
			b.Fatal(err)
		} else if has {
			b.must(b.DeleteBlob(b.Context(), testDigest(0), "settled"))

			return
		}
	}

	b.Fatal("the cache does not recover")
}

// load uses the cache until ctx ends, and fails the test if any answer is an error.
func (b *boltTest) load(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		dgst := testDigest(rand.IntN(1000))

		_, get := b.GetBlob(b.Context(), dgst)
		_, all := b.GetAllBlobs(b.Context(), dgst, -1)
		_, has := b.HasBlob(b.Context(), dgst, "first")

		for _, err := range []error{
			get, all, has,
			b.PutBlob(b.Context(), dgst, "first"),
			b.DeleteBlob(b.Context(), testDigest(rand.IntN(1000)), "first"),
		} {
			if err != nil && !errors.Is(err, ErrMiss) {
				b.Errorf("under load: %v", err)

				return
			}
		}
	}
}

// An old copy is sound, and was ours.
func TestOldCopyWhileServing(t *testing.T) {
	put := map[string]func(b *boltTest, old []byte){
		"copied over": func(b *boltTest, old []byte) { b.must(os.WriteFile(b.file(), old, 0o600)) },
		"copied over, unseen": func(b *boltTest, old []byte) {
			overwrite(b, 0, old)
			b.blindfold()
		},
		"renamed over": func(b *boltTest, old []byte) {
			b.must(os.WriteFile(b.file()+".old", old, 0o600))
			b.must(os.Rename(b.file()+".old", b.file()))
		},
	}

	for name, replace := range put {
		t.Run(name, func(t *testing.T) {
			b := newBoltTest(t)
			b.mustOpen()
			b.fill(filled)
			old := b.read()

			b.must(b.DeleteBlob(t.Context(), testDigest(0), "first"))
			b.mustFlush()
			replace(b, old)

			b.wantKnown(filled, 0)
			b.wantLogged(zerolog.WarnLevel, 1)
			b.mustFlush()
			b.wantAside("cache.db.damaged-1")
			b.fill(filled)
			b.wantKnown(filled, filled)
			b.mustClose()
		})
	}
}

package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/internal/rounds"
	"zotregistry.io/zot/pkg/storage"
)

// repoLog is the log of a repository: its head, as it was read last.
type repoLog struct {
	b      *Bucket
	prefix string // of the repository's keys

	writing sync.Mutex // one change of the head at a time in this process

	checks rounds.Rounds // looks at the head

	mu       sync.Mutex // guards all below
	seen     seenHead
	salvaged seenHead // what Salvage has read last; its ETag is "" if there was none
}

// seenHead is a head, and when it was the present one.
type seenHead struct {
	head *head // zero if there is none; never changed
	etag string
	asOf time.Time // when the request was sent that saw it
}

// OpenLog makes no request.
func (b *Bucket) OpenLog(_ context.Context, prefix string) (storage.Log, error) {
	l := b.newLog(prefix)
	b.logs.add(l)

	return l, nil
}

func (b *Bucket) newLog(prefix string) *repoLog {
	l := &repoLog{b: b, prefix: prefix, seen: seenHead{head: &head{}}}
	l.checks.Work = l.check

	return l
}

// logs are the logs that are open, by their prefixes.
type logs struct {
	mu   sync.Mutex // guards open
	open map[string]*repoLog
}

func (l *logs) add(log *repoLog) {
	l.mu.Lock()
	defer l.mu.Unlock()

	if l.open == nil {
		l.open = map[string]*repoLog{}
	}

	l.open[log.prefix] = log
}

func (l *logs) remove(log *repoLog) {
	l.mu.Lock()
	defer l.mu.Unlock()

	if l.open[log.prefix] == log {
		delete(l.open, log.prefix)
	}
}

// seq is the number of the newest record of a repository that was read, 0 if none was.
func (l *logs) seq(repo storage.RepoName) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()

	log := l.open[storage.RepoPrefix(repo)]
	if log == nil {
		return 0
	}

	return log.current().head.Seq
}

// newOwn is a place for bytes of the repository's own that was never used.
func (b *Bucket) newOwn(repo storage.RepoName) string { return ownPlace + memberName(b.logs.seq(repo)) }

// reposPrefix is the catalog's, as the engine writes it.
const reposPrefix = "_repos/"

// ListLogs yields what the catalog has: a repository is put there before its first
// record, so none is missing.
func (b *Bucket) ListLogs(ctx context.Context) iter.Seq2[storage.LogInfo, error] {
	return func(yield func(storage.LogInfo, error) bool) {
		for entry, err := range b.client.list(ctx, reposPrefix, "", 0) {
			name := strings.ReplaceAll(strings.TrimPrefix(entry.key, reposPrefix), ":", "/")
			if !yield(storage.LogInfo{Prefix: name + "/"}, err) || err != nil {
				return
			}
		}
	}
}

func (l *repoLog) headKey() string { return strings.TrimSuffix(l.prefix, "/") + logDir + "head" }

func (l *repoLog) objectKey(name string) string {
	return strings.TrimSuffix(l.prefix, "/") + logDir + name
}

func (l *repoLog) current() seenHead {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.seen
}

// saw keeps a head, unless a newer one is known. Answers may overtake each other: the
// numbers tell which is newer, and both were sent before either is.
func (l *repoLog) saw(seen seenHead) {
	l.mu.Lock()
	defer l.mu.Unlock()

	last := l.seen
	newer := seen.head.Seq > last.head.Seq || seen.head.Seq == last.head.Seq && seen.asOf.After(last.asOf)

	if newer {
		l.seen = seen
	}

	if last.asOf.After(seen.asOf) {
		l.seen.asOf = last.asOf
	} else if !newer {
		l.seen.asOf = seen.asOf
	}
}

// distrust ends what the head that we know is good for: a newer zot has replaced it.
func (l *repoLog) distrust() {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.seen.asOf = time.Time{}
}

// check asks for the head. Nothing comes back if it is the one that we know.
func (l *repoLog) check(ctx context.Context) error {
	known := l.current()
	sent := l.b.opts.Now()

	data, info, err := l.b.client.read(ctx, l.headKey(), known.etag)

	switch {
	case errors.Is(err, errUnchanged):
		l.saw(seenHead{known.head, known.etag, sent})

		return nil
	case isNotExist(err) && known.etag == "":
		l.saw(seenHead{&head{}, "", sent})

		return nil
	case isNotExist(err):
		return fmt.Errorf("%w: the head of %s is gone", storage.ErrDamaged, l.prefix)
	case err != nil:
		return err
	}

	h, err := decodeHead(data)
	if err != nil {
		l.distrust()

		return err
	}

	if h.Seq < known.head.Seq {
		return fmt.Errorf("%w: the head of %s went back from record %d to %d", storage.ErrDamaged, l.prefix, known.head.Seq, h.Seq)
	}

	l.saw(seenHead{h, info.etag, sent})

	return nil
}

// at returns the head as it was at since or later.
func (l *repoLog) at(ctx context.Context, since time.Time) (seenHead, error) {
	for {
		seen := l.current()
		if !seen.asOf.IsZero() && !seen.asOf.Before(since) && l.isFresh(seen, since) {
			return seen, nil
		}

		if err := l.checks.Ask(ctx); err != nil {
			return seenHead{}, err
		}
	}
}

// isFresh guards against a clock that was set back, and a machine that slept: a zero
// since asks for nothing.
func (l *repoLog) isFresh(seen seenHead, since time.Time) bool {
	if since.IsZero() {
		return true
	}

	return l.b.within(seen.asOf, storage.Staleness+l.b.opts.Now().Sub(since).Abs())
}

// Load reads what the head names.
func (l *repoLog) Load(ctx context.Context) (storage.Loaded, error) {
	if err := l.checks.Ask(ctx); err != nil {
		return storage.Loaded{}, err
	}

	for {
		seen := l.current()

		loaded, err := l.load(ctx, seen.head)
		if !isNotExist(err) {
			return loaded, err
		}

		// Somebody has dropped what an old head named: that takes a day, or a hand.
		if err := l.checks.Ask(ctx); err != nil {
			return storage.Loaded{}, err
		}

		switch {
		case l.current().etag != seen.etag:
		case loaded.Covered > 0: // the checkpoint is what is gone: as one of which nothing is left
			loaded.Checkpoint = io.NopCloser(strings.NewReader(""))

			return loaded, nil
		default:
			return storage.Loaded{}, fmt.Errorf("%w: what the head of %s names is gone: %w", storage.ErrDamaged, l.prefix, err)
		}
	}
}

func (l *repoLog) load(ctx context.Context, h *head) (storage.Loaded, error) {
	tail, err := l.behind(ctx, h, h.covered())
	if err != nil || h.Checkpoint == nil {
		return storage.Loaded{Tail: tail}, err
	}

	loaded := storage.Loaded{Covered: h.Checkpoint.Seq, Tail: tail}
	loaded.Checkpoint, err = l.openObject(ctx, h.Checkpoint.Name)

	return loaded, err
}

func (l *repoLog) openObject(ctx context.Context, name string) (io.ReadCloser, error) {
	object, err := l.b.openAt(ctx, l.objectKey(name), storage.Whole)
	if err != nil {
		return nil, err
	}

	return readCloser{object.Body, object.Closer}, nil
}

// segmentsAtOnce is how many segments are read at once.
const segmentsAtOnce = 8

// behind returns the records behind seq, from segments where they are not in the head.
func (l *repoLog) behind(ctx context.Context, h *head, seq uint64) ([]storage.Record, error) {
	var needed []segmentRef

	for _, segment := range h.Segments {
		if segment.Last > seq {
			needed = append(needed, segment)
		}
	}

	read, err := l.readSegments(ctx, needed)
	if err != nil {
		return nil, err
	}

	return recordsOf(append(slices.Concat(read...), h.Batches...), seq), nil
}

func (l *repoLog) readSegments(ctx context.Context, segments []segmentRef) ([][]batch, error) {
	read := make([][]batch, len(segments))

	group, within := errgroup.WithContext(ctx)
	group.SetLimit(segmentsAtOnce)

	for i, segment := range segments {
		group.Go(func() (err error) {
			read[i], err = l.readSegment(within, segment)

			return err
		})
	}

	return read, group.Wait()
}

func (l *repoLog) readSegment(ctx context.Context, segment segmentRef) ([]batch, error) {
	batches, err := l.batchesIn(ctx, segment.Name)
	if err != nil {
		return nil, err
	}

	if len(batches) == 0 || batches[0].first() != segment.First || batches[len(batches)-1].last() != segment.Last {
		return nil, fmt.Errorf("%w: segment %s has not the records %d to %d", storage.ErrDamaged, segment.Name, segment.First, segment.Last)
	}

	return batches, nil
}

// batchesIn reads the segment of a name.
func (l *repoLog) batchesIn(ctx context.Context, name string) ([]batch, error) {
	data, _, err := l.b.client.read(ctx, l.objectKey(name), "")
	if err != nil {
		return nil, err
	}

	var batches []batch
	if err := json.Unmarshal(data, &batches); err != nil {
		return nil, fmt.Errorf("%w: segment %s: %w", storage.ErrDamaged, name, err)
	}

	if err := checkBatches(batches); err != nil {
		return nil, fmt.Errorf("segment %s: %w", name, err)
	}

	return batches, nil
}

// Refresh asks for the head if what is known of it is older than since. All requests that
// come while one check is under way share the next.
func (l *repoLog) Refresh(ctx context.Context, seq uint64, since time.Time) (storage.Changes, error) {
	seen, err := l.at(ctx, since)
	if err != nil {
		return storage.Changes{}, err
	}

	h := seen.head

	switch {
	case h.Seq <= seq:
		return storage.Changes{Covered: h.covered()}, nil
	case len(h.Batches) > 0 && h.Batches[0].first() <= seq+1:
		return storage.Changes{Records: recordsOf(h.Batches, seq), Covered: h.covered()}, nil
	case len(h.Segments) > 0 && h.Segments[0].First > seq+1, h.covered() > seq+maxCaughtUp:
		return storage.Changes{Reload: true}, nil
	}

	records, err := l.behind(ctx, h, seq)
	if isNotExist(err) || err == nil && (len(records) == 0 || records[0].Seq != seq+1) {
		return storage.Changes{Reload: true}, nil
	}

	return storage.Changes{Records: records, Covered: h.covered()}, err
}

// maxCaughtUp is how many records behind the checkpoint a replica reads one by one, before
// it reads the checkpoint instead.
const maxCaughtUp = 2000

// TookIndex has nothing to take: nobody writes an index.json into a bucket.
func (l *repoLog) TookIndex(any) {}

// Close makes no request.
func (l *repoLog) Close() error {
	l.b.logs.remove(l)

	return nil
}

// pause waits before a request is tried again, longer from time to time.
func (b *Bucket) pause(ctx context.Context, n int) error {
	limit := min(20*time.Millisecond<<n, 2*time.Second, b.opts.MaxBackoff)

	select {
	case <-time.After(limit/2 + rand.N(limit/2)): //nolint:gosec // any number will do
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

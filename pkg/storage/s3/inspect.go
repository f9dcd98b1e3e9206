package s3

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// What Inspect finds in a bucket.
const (
	kindHeadDamaged       = "head-damaged"
	kindHeadLost          = "head-lost"
	kindCheckpointMissing = "checkpoint-missing"
	kindSegmentDamaged    = "segment-damaged"
	kindHistoryDamaged    = "history-damaged"
)

// InspectLog implements storage.LogInspector: nothing else comes to know of the log.
func (b *Bucket) InspectLog(_ context.Context, prefix string) (storage.Log, error) {
	return b.newLog(prefix), nil
}

// Inspect reads the head, and all segments. What a head names stays for a day at least.
func (l *repoLog) Inspect(ctx context.Context, found func(storage.Fault)) error {
	h, _, err := l.readHead(ctx)

	switch {
	case isNotExist(err):
		return l.inspectHeadless(ctx, found)
	case errors.Is(err, storage.ErrDamaged):
		l.keepKnown()
		found(storage.Fault{
			Severity: storage.Problem, Kind: kindHeadDamaged, File: l.headKey(), Text: l.headKey() + ": " + err.Error(),
			Aside: true, Anew: true, Rotten: true,
		})

		h = &head{}
	case err != nil:
		return err
	}

	for _, ref := range []*checkpointRef{h.Checkpoint, h.Before} {
		if ref == nil {
			continue
		}

		if _, err := l.b.client.head(ctx, l.objectKey(ref.Name)); isNotExist(err) {
			found(storage.Fault{
				Severity: storage.Problem, Kind: kindCheckpointMissing, File: l.objectKey(ref.Name),
				Text: l.objectKey(ref.Name) + " is missing, and the head names it", Anew: true, Rotten: ref == h.Checkpoint,
			})
		} else if err != nil {
			return err
		}
	}

	return l.inspectSegments(ctx, h, found)
}

// readHead reads the head as it is now. It has an ETag even if it is damaged.
func (l *repoLog) readHead(ctx context.Context) (h *head, etag string, err error) {
	data, info, err := l.b.client.read(ctx, l.headKey(), "")
	if err != nil {
		return nil, "", err
	}

	h, err = decodeHead(data)

	return h, info.etag, err
}

// keepKnown remembers the head that this process knew before it was lost: the newest records
// are nowhere else.
func (l *repoLog) keepKnown() {
	l.b.logs.mu.Lock()
	log := l.b.logs.open[l.prefix]
	l.b.logs.mu.Unlock()

	if log != nil && log.current().head.Seq > 0 {
		l.b.lost.Store(l.prefix, log.current().head)
	}
}

// inspectHeadless tells of objects of a log that has no head. A crash leaves one without any.
func (l *repoLog) inspectHeadless(ctx context.Context, found func(storage.Fault)) error {
	l.keepKnown()

	if _, known := l.b.lost.Load(l.prefix); known {
		found(l.lostHead("this process has seen it"))

		return nil
	}

	for object, err := range l.b.client.list(ctx, l.objectKey(""), "", 0) {
		if err != nil {
			return err
		}

		found(l.lostHead(object.key + " is there"))

		return nil
	}

	return nil
}

func (l *repoLog) lostHead(why string) storage.Fault {
	return storage.Fault{
		Severity: storage.Problem, Kind: kindHeadLost, File: l.headKey(), Anew: true, Rotten: true,
		Text: l.headKey() + " is gone: " + why,
	}
}

func (l *repoLog) inspectSegments(ctx context.Context, h *head, found func(storage.Fault)) error {
	named := map[string]segmentRef{}
	for _, ref := range h.Segments {
		named[ref.Name] = ref
	}

	segments, err := l.listSegments(ctx)
	if err != nil {
		return err
	}

	for _, segment := range segments {
		ref, isNamed := named[segment.name]
		delete(named, segment.name)

		_, err := l.batchesIn(ctx, segment.name)
		if err == nil && isNamed {
			_, err = l.readSegment(ctx, ref)
		}

		switch {
		case err == nil, isNotExist(err) && !isNamed:
		case !errors.Is(err, storage.ErrDamaged) && !isNotExist(err):
			return err
		case isNamed:
			found(l.lostSegment(h, ref, err))
		default:
			key := l.objectKey(segment.name)
			found(storage.Fault{
				Severity: storage.Problem, Kind: kindHistoryDamaged, File: key, Text: key + ": " + err.Error(), Aside: true,
			})
		}
	}

	for _, ref := range named {
		found(l.lostSegment(h, ref, fmt.Errorf("%w: it is gone", storage.ErrDamaged)))
	}

	return nil
}

// lostSegment is that a segment is damaged or gone that the head names. What the newest
// checkpoint covers no load reads.
func (l *repoLog) lostSegment(h *head, ref segmentRef, why error) storage.Fault {
	key := l.objectKey(ref.Name)

	return storage.Fault{
		Severity: storage.Problem, Kind: kindSegmentDamaged, File: key, Text: key + ": " + why.Error(),
		Aside: true, Anew: true, Rotten: ref.Last > h.covered(),
	}
}

// Checkpoints lists those that the head names; if it cannot be read, all that are there.
func (l *repoLog) Checkpoints(ctx context.Context) ([]storage.CheckpointInfo, error) {
	h, _, err := l.readHead(ctx)
	if err != nil && !isNotExist(err) && !errors.Is(err, storage.ErrDamaged) {
		return nil, err
	}

	var infos []storage.CheckpointInfo

	if err == nil {
		for _, ref := range []*checkpointRef{h.Checkpoint, h.Before} {
			if ref != nil {
				infos = append(infos, storage.CheckpointInfo{Seq: ref.Seq, Key: l.objectKey(ref.Name)})
			}
		}

		return infos, nil
	}

	const prefix = "checkpoint-"

	for object, err := range l.b.client.list(ctx, l.objectKey(prefix), "", 0) {
		if err != nil {
			return nil, err
		}

		seq := memberSeq(strings.TrimPrefix(object.key, l.objectKey(prefix)))
		infos = append(infos, storage.CheckpointInfo{Seq: seq, Key: object.key})
	}

	slices.SortFunc(infos, func(a, b storage.CheckpointInfo) int { return cmp.Compare(b.Seq, a.Seq) })

	return infos, nil
}

// OpenKept opens a checkpoint, whether a head names it or not.
func (l *repoLog) OpenKept(ctx context.Context, info storage.CheckpointInfo) (io.ReadCloser, error) {
	return l.openObject(ctx, strings.TrimPrefix(info.Key, l.objectKey("")))
}

// errLeft says that the loop over what was salvaged was left.
var errLeft = errors.New("left")

// Salvage reads all segments that are there, and the head, or the one that this process knew:
// the head first, so that what comes to a segment meanwhile is in one of the two.
func (l *repoLog) Salvage(ctx context.Context, after uint64) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		if err := l.salvage(ctx, after, yield); err != nil && !errors.Is(err, errLeft) {
			yield(storage.Record{}, fmt.Errorf("salvage log of %s: %w", l.prefix, err))
		}
	}
}

func (l *repoLog) salvage(ctx context.Context, after uint64, yield func(storage.Record, error) bool) error {
	h, err := l.bestHead(ctx)
	if err != nil {
		return err
	}

	segments, err := l.listSegments(ctx)
	if err != nil {
		return err
	}

	show := func(batches []batch) error {
		for _, record := range recordsOf(batches, after) {
			if after = record.Seq; !yield(record, nil) {
				return errLeft
			}
		}

		return nil
	}

	for _, segment := range slices.Backward(segments) { // those that begin first come first
		batches, err := l.batchesIn(ctx, segment.name)
		if isNotExist(err) || errors.Is(err, storage.ErrDamaged) {
			continue
		}

		if err == nil {
			err = show(batches)
		}

		if err != nil {
			return err
		}
	}

	if h == nil {
		return nil
	}

	return show(h.Batches)
}

// bestHead is the head, or if that cannot be read the one that this process knew; nil if it
// knew none. Replace replaces the one that was there.
func (l *repoLog) bestHead(ctx context.Context) (*head, error) {
	h, etag, err := l.readHead(ctx)
	if isNotExist(err) || errors.Is(err, storage.ErrDamaged) {
		known, _ := l.b.lost.Load(l.prefix)
		h, _ = known.(*head)
		err = nil
	}

	l.mu.Lock()
	defer l.mu.Unlock()

	l.salvaged = seenHead{head: cmp.Or(h, &head{}), etag: etag}

	return h, err
}

// Replace writes the state twice, since a head names two checkpoints, and then a head that
// names nothing else, in place of the one that Salvage has found, or of none.
func (l *repoLog) Replace(ctx context.Context, seq uint64, state, _ func(io.Writer) error) error {
	l.writing.Lock()
	defer l.writing.Unlock()

	l.mu.Lock()
	base := l.salvaged
	l.mu.Unlock()

	var body bytes.Buffer
	if err := state(&body); err != nil {
		return err
	}

	var refs [2]checkpointRef

	for i := range refs {
		refs[i] = checkpointRef{seq, fmt.Sprintf("checkpoint-%020d-%s", seq, newToken())}
		if _, err := l.putObject(ctx, refs[i].Name, body.Bytes()); err != nil {
			return err
		}
	}

	next := &head{Writer: newToken(), Seq: seq, Before: &refs[0], Checkpoint: &refs[1]}
	if err := l.replace(ctx, base, next, next.Writer); err != nil {
		return fmt.Errorf("replace the log of %s: %w", l.prefix, err)
	}

	l.b.lost.Delete(l.prefix)

	return nil
}

// SetAside copies an object. A head is replaced, never removed.
func (b *Bucket) SetAside(ctx context.Context, key, to string) (finish func() error, err error) {
	from := physical(key)

	info, err := b.client.head(ctx, from)
	if isNotExist(err) {
		return func() error { return nil }, nil
	}

	if err == nil {
		err = b.client.copy(ctx, from, to, info.size, b.copying())
	}

	if err != nil {
		return nil, fmt.Errorf("put %s aside: %w", key, err)
	}

	return func() error {
		if strings.HasSuffix(from, logDir+"head") {
			return nil
		}

		return b.client.delete(ctx, from)
	}, nil
}

// ListPool implements storage.PoolLister.
func (b *Bucket) ListPool(ctx context.Context, after string) iter.Seq2[storage.Pooled, error] {
	return func(yield func(storage.Pooled, error) bool) {
		for object, err := range b.client.list(ctx, poolPrefix, after, 0) {
			if !yield(pooledOf(object), err) || err != nil {
				return
			}
		}
	}
}

// pooledOf says what an object of the pool is.
func pooledOf(object stored) storage.Pooled {
	p := storage.Pooled{Key: object.key, Size: object.size}

	dgst, rest, ok := splitPool(object.key)
	if !ok {
		return p
	}

	p.Digest = dgst

	switch member, isMember := strings.CutPrefix(rest, "in/"); {
	case isMember:
		repo, err := splitMember(dgst, object.key)
		if name := member[strings.LastIndex(member, "/")+1:]; err == nil {
			p.Known, p.Repo = true, repo

			if isOwn(name) {
				p.Place = name
			}
		}
	case rest == "tombstone":
		p.Known = true
	default:
		gen, isData := generation(poolPlace + strings.TrimPrefix(rest, "data."))
		if isData && strings.HasPrefix(rest, "data.") {
			p.Known, p.Place = true, poolPlaceOf(gen)
		}
	}

	return p
}

// PutBack implements storage.PoolLister.
func (b *Bucket) PutBack(ctx context.Context, from, key string) error {
	info, err := b.client.head(ctx, physical(from))
	if err != nil {
		return err
	}

	return b.client.copy(ctx, physical(from), key, info.size, b.copying())
}

// CheckStone implements storage.PoolLister.
func (b *Bucket) CheckStone(ctx context.Context, dgst digest.Digest) error {
	_, err := b.tombstone(ctx, dgst)

	return err
}

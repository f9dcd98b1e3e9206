package s3

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/pkg/storage"
)

// A repository holds a blob by an object of its own, its membership. With dedupe equal
// bytes are kept once, in the pool, at data.<generation>; without, and where they are so
// few that one more object costs as much as they do, they are in the membership itself.
// docs/s3-format.md has the protocol, test/model checks it. This file is the side of those
// who add; sweep.go is the deleter's.

// maxOwn is up to how many bytes a blob is kept by each repository that holds it: a
// membership is a request, too, and reading it takes two more. Configs are smaller.
const maxOwn = 64 << 10

// holding is what a repository holds, seen or written a moment ago.
type holding struct {
	placed string
	member string // the name of the membership
	size   int64
	at     time.Time
	trust  time.Duration
}

// How long it counts: what was seen as long as any state may be old, what was written
// here longer, since a deleter leaves what is young.
const (
	trustSeen    = storage.Staleness
	trustWritten = time.Minute
)

func (b *Bucket) hold(blob blob, place, member string, size int64, trust time.Duration) storage.Info {
	placed := blob.at(place)
	b.holdings.Add(blob.key(), holding{placed, member, size, b.opts.Now(), trust})

	return storage.Info{Key: placed, Size: size}
}

// StatCounted implements storage.Pool.
func (b *Bucket) StatCounted(ctx context.Context, key string, counts storage.Counts) (storage.Info, error) {
	blob, ok := parseBlob(key)
	if !ok || blob.place != "" {
		return storage.Info{}, fmt.Errorf("%q is no key of a blob: %w", key, fs.ErrInvalid)
	}

	return b.find(ctx, blob, counts)
}

// Number implements storage.Pool. A blob in the pool has its number elsewhere.
func (b *Bucket) Number(placed string) (seq uint64, ok bool) {
	blob, _ := parseBlob(placed)

	return memberSeq(blob.place), isOwn(blob.place)
}

// all is that every membership counts.
func all(string, uint64) bool { return true }

// find looks for a blob that a repository holds, wherever its bytes are.
//
// Errors: fs.ErrNotExist.
func (b *Bucket) find(ctx context.Context, blob blob, counts storage.Counts) (storage.Info, error) {
	counted := func(name string) bool { return counts(placeOfMember(name), memberSeq(name)) }

	if known, ok := b.holdings.Get(blob.key()); ok && b.within(known.at, known.trust) && counted(known.member) {
		return storage.Info{Key: known.placed, Size: known.size}, nil
	}

	var (
		own    stored
		pooled string // the newest, by its number
		prefix = memberPrefix(blob.digest, blob.repo)
	)

	for object, err := range b.client.list(ctx, prefix, "", 0) {
		if err != nil {
			return storage.Info{}, err
		}

		name := object.key[len(prefix):]

		switch {
		case !counted(name):
		case !isOwn(name):
			pooled = max(pooled, name) // numbers have leading zeros
		case own.key == "" || object.modified.After(own.modified):
			own = object
		}
	}

	switch {
	case own.key != "":
		name := own.key[len(prefix):]

		return b.hold(blob, name, name, own.size, trustSeen), nil
	case pooled != "":
		return b.findPooled(ctx, blob, pooled)
	}

	return storage.Info{}, fmt.Errorf("blob %s: %w", blob.key(), fs.ErrNotExist)
}

// findPooled looks for the bytes of a blob that is in the pool, if at all. A crash may
// have left a membership without bytes. Who is told that a blob is there may count on it
// for a while, so it is not left condemned.
func (b *Bucket) findPooled(ctx context.Context, blob blob, member string) (storage.Info, error) {
	gen, err := b.live(ctx, blob.digest) // whoever wrote the membership may have stopped before that
	if err != nil {
		return storage.Info{}, err
	}

	data, err := b.client.head(ctx, dataKey(blob.digest, gen))
	if err != nil {
		return storage.Info{}, err
	}

	return b.hold(blob, poolPlaceOf(gen), member, data.size, trustSeen), nil
}

// moved says where the bytes of a blob are now, of which nothing is at the place that a
// record names: pushed again after they were deleted, or damaged by hand.
func (b *Bucket) moved(ctx context.Context, blob blob) (place string, err error) {
	b.holdings.Remove(blob.key())
	old := blob.place
	blob.place = ""

	if info, err := b.find(ctx, blob, all); err == nil && info.Key != blob.at(old) {
		found, _ := parseBlob(info.Key)

		return found.place, nil
	}

	return "", fmt.Errorf("blob %s: %w", blob.at(old), fs.ErrNotExist)
}

// listMembers yields what makes a repository hold a blob, by placed keys.
func (b *Bucket) listMembers(ctx context.Context, blob blob, yield func(storage.Info, error) bool) {
	prefix := memberPrefix(blob.digest, blob.repo)

	for member, err := range b.client.list(ctx, prefix, "", 0) {
		place := placeOfMember(strings.TrimPrefix(member.key, prefix))
		if !yield(storage.Info{Key: blob.at(place), Size: member.size, Modified: member.modified}, err) || err != nil {
			return
		}
	}
}

// FindBlob implements storage.Finder.
func (b *Bucket) FindBlob(ctx context.Context, dgst digest.Digest, limit int) ([]string, error) {
	dirs, err := b.client.listDirs(ctx, membersPrefix(dgst), limit)
	if err != nil {
		return nil, err
	}

	var keys []string

	for _, dir := range dirs {
		if repo, err := splitMember(dgst, dir); err == nil {
			keys = append(keys, storage.BlobKey(repo, dgst))
		}
	}

	return keys, nil
}

// bring brings verified bytes to a key; absent: leave what is there. It may be called
// more than once.
type bring func(ctx context.Context, key string, absent bool) error

// store makes a repository hold a blob whose verified bytes put brings.
func (b *Bucket) store(ctx context.Context, blob blob, size int64, put bring) (placed string, err error) {
	var member string

	switch {
	case blob.place != "": // replace exactly that
		member = blob.place
		err = put(ctx, physical(blob.at(blob.place)), false)
	case b.opts.Dedupe && size > maxOwn:
		blob.place, member, err = b.share(ctx, blob, size, put)
	default:
		blob.place = b.newOwn(blob.repo)
		member = blob.place
		err = put(ctx, physical(blob.at(blob.place)), false)
	}

	if err != nil {
		return "", err
	}

	return b.hold(blob, blob.place, member, size, trustWritten).Key, nil
}

// share makes a repository a member of a blob in the pool, and brings the bytes if they
// are not there. Bytes and membership may come in either order, since a reader looks for
// both; the tombstone is read when both are there.
func (b *Bucket) share(ctx context.Context, blob blob, size int64, put bring) (place, member string, err error) {
	guess, _ := b.gens.Get(blob.digest)

	var group errgroup.Group

	group.Go(func() error { return b.bringData(ctx, blob.digest, guess, size, put) })
	group.Go(func() (err error) {
		member, err = b.join(ctx, blob, size)

		return err
	})

	if err := group.Wait(); err != nil {
		return "", "", err
	}

	gen, err := b.live(ctx, blob.digest)
	if err == nil && gen != guess {
		err = b.bringData(ctx, blob.digest, gen, size, put)
	}

	return poolPlaceOf(gen), member, err
}

// maxUnwanted is up to how many bytes are sent without asking whether they are there. A
// body that a server does not want may end in a reset instead of an answer (versitygw
// closes the connection where more than 256 KiB are not read).
const maxUnwanted = 256 << 10

// bringData brings bytes to the pool. What is there already has the size that it should
// have, or is replaced.
func (b *Bucket) bringData(ctx context.Context, dgst digest.Digest, gen int, size int64, put bring) error {
	key := dataKey(dgst, gen)

	if size > maxUnwanted {
		if info, err := b.client.head(ctx, key); err == nil && info.size == size {
			return nil
		}
	}

	err := put(ctx, key, true)
	if err == nil || errors.Is(err, errRefused) || ctx.Err() != nil {
		return err
	}

	info, headErr := b.client.head(ctx, key)

	switch {
	case headErr == nil && info.size == size:
		return nil
	case errors.Is(err, errCondition) && (headErr == nil || isNotExist(headErr)):
		return put(ctx, key, false)
	}

	return err
}

// join makes a repository a member, and returns the name of the membership.
func (b *Bucket) join(ctx context.Context, blob blob, size int64) (member string, err error) {
	body, err := json.Marshal(membership{Size: size})
	if err != nil {
		return "", fmt.Errorf("encode membership: %w", err)
	}

	member = memberName(b.logs.seq(blob.repo))
	key := memberPrefix(blob.digest, blob.repo) + member
	_, err = b.client.put(ctx, key, bytes.NewReader(body), int64(len(body)), condition{}, "")

	return member, err
}

// membership is the content of one. Nothing reads it but people, and fsck.
type membership struct {
	Size int64 `json:"size"`
}

// Link makes a repository hold the bytes that another one has. In the pool that is one
// more membership; an object of a repository's own is copied.
func (b *Bucket) Link(ctx context.Context, src, dst string) (string, error) {
	return b.link(ctx, src, dst, -1)
}

// LinkSized implements storage.Pool.
func (b *Bucket) LinkSized(ctx context.Context, src, dst string, size int64) (string, error) {
	return b.link(ctx, src, dst, size)
}

// checkSize says whether what is stored has the size that it should have; -1 = any.
//
// Errors: fs.ErrNotExist.
func checkSize(key string, size, want int64) error {
	if want >= 0 && size != want {
		return fmt.Errorf("%s is %d bytes long, not %d: %w", key, size, want, fs.ErrNotExist)
	}

	return nil
}

func (b *Bucket) link(ctx context.Context, src, dst string, size int64) (string, error) {
	if err := errors.Join(checkKey(src), checkKey(dst)); err != nil {
		return "", err
	}

	if src == dst {
		return dst, nil
	}

	to, isBlob := parseBlob(dst)
	source, ok := parseBlob(src)

	if _, pooled := generation(source.place); isBlob && ok && b.opts.Dedupe && (pooled || source.place == "") {
		placed, err := b.adopt(ctx, to, source.place, size)
		if err == nil || !isNotExist(err) || pooled {
			return placed, err
		}
	}

	from, err := b.Stat(ctx, src)
	if err == nil {
		err = checkSize(src, from.Size, size)
	}

	if err != nil {
		return "", err
	}

	if !isBlob {
		return dst, b.copyTo(ctx, from, dst)
	}

	return b.store(ctx, to, from.Size, func(ctx context.Context, key string, _ bool) error {
		return b.copyTo(ctx, from, key)
	})
}

// adopt makes a repository a member of what is in the pool already, perhaps at a place
// that is known. It has to have size bytes; -1 = any.
//
// Errors: fs.ErrNotExist if it is not there, or was deleted meanwhile.
func (b *Bucket) adopt(ctx context.Context, to blob, place string, size int64) (string, error) {
	guess, known := generation(place)
	if newer, ok := b.gens.Get(to.digest); !known || ok && newer > guess {
		guess = newer
	}

	info, err := b.client.head(ctx, dataKey(to.digest, guess))
	if isNotExist(err) { // or a later generation is
		guess, info, err = b.presentData(ctx, to.digest, guess)
	}

	if err == nil {
		err = checkSize(dataKey(to.digest, guess), info.size, size)
	}

	if err != nil {
		return "", err
	}

	member, err := b.join(ctx, to, info.size)
	if err != nil {
		return "", err
	}

	gen, err := b.live(ctx, to.digest)
	if err == nil && gen != guess {
		_, err = b.client.head(ctx, dataKey(to.digest, gen))
	}

	if err != nil {
		return "", err
	}

	return b.hold(to, poolPlaceOf(gen), member, info.size, trustWritten).Key, nil
}

// presentData looks for the bytes of the present generation, of which not was looked for.
//
// Errors: fs.ErrNotExist.
func (b *Bucket) presentData(ctx context.Context, dgst digest.Digest, not int) (int, stored, error) {
	stone, err := b.tombstone(ctx, dgst)
	if err == nil && stone.Gen == not {
		err = fmt.Errorf("bytes of %s: %w", dgst, fs.ErrNotExist)
	}

	if err != nil {
		return 0, stored{}, err
	}

	info, err := b.client.head(ctx, dataKey(dgst, stone.Gen))

	return stone.Gen, info, err
}

func (b *Bucket) copyTo(ctx context.Context, from storage.Info, key string) error {
	return b.client.copy(ctx, physical(from.Key), key, from.Size, b.copying())
}

func (b *Bucket) copying() copySettings {
	return copySettings{above: b.opts.CopyAbove, part: b.opts.CopyPart, atOnce: b.opts.CopyAtOnce}
}

// sumOf is a digest as the signature of a request wants it, "" if it is of no use there.
func sumOf(dgst digest.Digest) string {
	if !strings.HasPrefix(string(dgst), string(digest.SHA256)) {
		return ""
	}

	return dgst.Encoded()
}

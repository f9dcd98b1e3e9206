// Package s3 keeps an image store in a bucket: storage.Driver over S3.
//
// Read this file first, then docs/s3-format.md, which shows every key, who writes it
// under which condition, and what a crash leaves. Any number of processes work on one
// bucket at once. No lock keeps them apart: what may be written by two at a time is
// written with a condition, and whoever loses looks again.
//
//	objects.go, pool.go   whole objects; equal blobs once, and who holds them
//	sweep.go, tidy.go     what GC removes; claim.go: whose turn it is
//	upload*.go            bytes that are still arriving; budget.go: memory for them
//	log.go, head.go       the log of a repository
//	append.go, segments.go   ... and how it changes
//	client*.go            requests: retries, conditions, errors
//	probe.go              what the bucket can do
package s3

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/storage"
)

// Options say which bucket to open, and how.
type Options struct {
	Bucket   string
	Prefix   string // of all keys; "" = the whole bucket
	Region   string // "" = what the environment says, or us-east-1 for an own Endpoint
	Endpoint string // of a server that is not Amazon's: a URL; "" = Amazon's

	AccessKey, SecretKey, SessionToken string // "" = the SDK's own chain

	PathStyle  bool // the bucket in the path, not in the host's name
	SkipVerify bool // of the server's certificate

	// What goes along with every object that is written; "" = the bucket's own way.
	Encryption   string // "AES256" or "aws:kms"
	KeyID        string // of the KMS
	StorageClass string
	ACL          string
	UserAgent    string // appended to the SDK's

	PartSize   int64 // bytes of a part where the client does not say how many come; 0 = 16 MiB
	CopyPart   int64 // bytes of a part of a server-side copy; 0 = 512 MiB
	CopyAbove  int64 // bytes above which a copy is made in parts; 0 = 5 GiB, S3's limit
	CopyAtOnce int   // parts of one copy under way at once; 0 = 4

	MaxBackoff time.Duration // between two tries of a request; 0 = 5 s

	Parts *Budget // memory that the parts of uploads share; nil = an own one of DefaultBuffers

	Dedupe       bool // keep equal blobs once
	SingleWriter bool // no other process writes to the bucket: do without conditions if need be

	Log zerolog.Logger
	Now func() time.Time // nil = time.Now
}

// Bucket is a bucket, or a prefix in one, that holds an image store, and the
// storage.Driver over it.
type Bucket struct {
	client *client
	opts   Options
	root   root
	parts  *Budget

	logs     logs
	lost     sync.Map                       // heads that this process knew, by the prefix of a log that has none any more
	holdings *lru.Cache[string, holding]    // what repositories hold, seen a moment ago
	gens     *lru.Cache[digest.Digest, int] // generations of blobs that were deleted once
	ended    *lru.Cache[string, struct{}]   // uploads that are over

	stones     sync.Mutex    // see lockStones
	unlistable sync.Once     // it is in the log that unfinished parts cannot be listed
	skew       time.Duration // added to the bucket's clock, by tests
}

// How much is remembered: entries, of some 200 bytes each.
const (
	maxHoldings = 20_000
	maxGens     = 20_000
	maxEnded    = 10_000
)

// NewStore opens the image store in bucket. The store owns bucket and cache from now on.
func NewStore(
	ctx context.Context, bucket *Bucket, cache storage.Cache, opts storage.Options,
) (*storage.Store, error) {
	return storage.Open(ctx, bucket, cache, opts)
}

// Open opens a bucket; the caller closes it. It finds out whether the bucket can do what
// several writers need (probe.go), and makes an image store of it if it is empty.
//
// Errors: *SettingError where a setting is the reason; *ProbeError; storage.ErrFormat,
// with nothing written.
func Open(ctx context.Context, opts Options) (*Bucket, error) {
	b, err := connect(ctx, opts)
	if err != nil {
		return nil, err
	}

	if err := b.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open bucket %s: %w", opts.Bucket, err), b.Close())
	}

	return b, nil
}

// connect makes a Bucket that has sent no request yet.
func connect(ctx context.Context, opts Options) (*Bucket, error) {
	opts.fill()

	c, err := newClient(ctx, opts)
	if err != nil {
		return nil, err
	}

	b := &Bucket{client: c, opts: opts, parts: opts.Parts}

	var errs [3]error
	b.holdings, errs[0] = lru.New[string, holding](maxHoldings)
	b.gens, errs[1] = lru.New[digest.Digest, int](maxGens)
	b.ended, errs[2] = lru.New[string, struct{}](maxEnded)

	return b, errors.Join(errs[:]...)
}

// Defaults of Options.
const (
	DefaultBuffers = 64 << 20
	defaultPart    = 16 << 20
	defaultCopy    = 512 << 20
	maxCopy        = 5 << 30 // CopyObject takes no more (S3 API reference)
)

func (o *Options) fill() {
	if o.Now == nil {
		o.Now = time.Now
	}

	if o.Parts == nil {
		o.Parts = NewBudget(DefaultBuffers, os.TempDir())
	}

	setDefault(&o.PartSize, defaultPart)
	setDefault(&o.CopyPart, defaultCopy)
	setDefault(&o.CopyAbove, maxCopy)
	setDefault(&o.CopyAtOnce, 4)
	setDefault(&o.MaxBackoff, maxBackoff)

	o.PartSize = max(o.PartSize, minPart)
	o.CopyPart = min(max(o.CopyPart, minPart), maxCopy)
	o.CopyAbove = min(o.CopyAbove, maxCopy)
}

func setDefault[T int | int64 | time.Duration](value *T, otherwise T) {
	if *value == 0 {
		*value = otherwise
	}
}

// startLimit bounds what a start asks of the bucket.
const startLimit = 9 * time.Second

func (b *Bucket) prepare(ctx context.Context) error {
	defer b.client.patience.serving.Store(true)

	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()

	if err := b.findRoot(ctx); err != nil {
		return err
	}

	report, err := b.probe(ctx)
	if err != nil {
		return err
	}

	b.client.conditional = report.conditional()

	if missing := report.Missing(b.opts.SingleWriter); len(missing) > 0 {
		return &ProbeError{Missing: missing}
	}

	if !b.client.conditional {
		b.opts.Log.Warn().Msg("the bucket has no conditional writes: no second process may write to it")
	}

	return b.makeRoot(ctx)
}

// ID is the random string that was put into the bucket when it was new.
func (b *Bucket) ID() string { return b.root.ID }

// Remote is true: any number of processes may use a bucket.
func (b *Bucket) Remote() bool { return true }

// Sync has nothing to do: what S3 has acknowledged is durable.
func (b *Bucket) Sync(context.Context) error { return nil }

// Close lets go of connections that nobody uses.
func (b *Bucket) Close() error {
	b.client.close()

	return nil
}

// within says whether at is less than age ago. A clock that was
// set, or a machine that slept, makes it no.
func (b *Bucket) within(at time.Time, age time.Duration) bool {
	now := b.opts.Now()

	return now.Sub(at) < age && now.Round(0).Sub(at.Round(0)).Abs() < age
}

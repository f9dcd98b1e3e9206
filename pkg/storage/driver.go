package storage

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/opencontainers/go-digest"
)

// Driver is the one door to a root directory or a bucket. Keys are slash-separated
// and relative to it; layout.go builds them all.
//
// A reader sees a whole object or none. A write that returned nil is whole and
// visible; it is durable when a Sync that began after it has returned nil (S3: at
// once). A key that is missing gives an error that matches fs.ErrNotExist. All
// methods may be called concurrently.
//
// storagetest.TestDriver holds every driver to this page.
type Driver interface {
	Objects
	Uploader
	Logs

	// Sync makes durable whatever was written before the call. An error means that
	// all that was written since the last successful Sync may be lost. The engine
	// calls it from one goroutine at a time, for many commits at once.
	Sync(ctx context.Context) error

	// ID names the root or bucket itself, wherever it is mounted: a random string
	// kept in it.
	ID() string

	// Remote says that each call is a request over a network, that what was written is
	// durable at once, and that other processes write to the same place meanwhile. Then
	// the engine asks only for what it does not know, and never for what may have changed
	// without looking at the log.
	Remote() bool

	// Close gives the root back. No call is under way.
	Close() error
}

// Info describes an object.
//
// Key is where the object is. For the key of a blob (BlobKey) a driver may say where
// exactly, as Put, Link and Commit do: that key, a slash and a word of its own, the
// place. The engine keeps places in records, and opens the placed key: that saves the
// driver looking, and vouches that the repository holds the blob. A directory has no
// places; the placed key is the key.
type Info struct {
	Key      string
	Size     int64
	Modified time.Time // zero where the driver would have to ask for it
}

// Objects reads and writes whole objects.
type Objects interface {
	Stat(ctx context.Context, key string) (Info, error)

	// Open opens the bytes rng of an object. A range that ends behind the object is
	// cut; one that starts behind it is ErrRange.
	Open(ctx context.Context, key string, rng Range) (*Object, error)

	// List yields the objects whose keys start with prefix, which ends in a slash
	// or is empty, in byte order of the keys, beginning behind after ("" = at the
	// first).
	List(ctx context.Context, prefix, after string) iter.Seq2[Info, error]

	// Put writes a small object, and replaces one that is there.
	Put(ctx context.Context, key string, body []byte) (placed string, err error)

	// Link makes dst the same bytes as src, without copying them through us, and
	// replaces a dst that is there. An error that matches errors.ErrUnsupported
	// means that these two cannot share bytes (too many links, another file
	// system); src and dst are as they were.
	Link(ctx context.Context, src, dst string) (placed string, err error)

	// Delete removes an object. Removing one that is not there is no error.
	Delete(ctx context.Context, key string) error
}

// Changer is a Driver of a place where only this process writes.
type Changer interface {
	// Changes grows with whatever this process changes, when it has changed it.
	Changes() uint64
}

// Uploader keeps bytes that are still arriving.
type Uploader interface {
	// NameUpload makes the id of a new upload in repo: a UUID.
	NameUpload(repo RepoName) string

	// CreateUpload begins an upload at key (UploadKey).
	CreateUpload(ctx context.Context, key string) (Upload, error)

	// ResumeUpload opens an upload that was begun before, perhaps by another
	// process, and returns the note that was saved with it, or nil if there is none
	// that can be trusted (docs/local-format.md, "Uploads").
	ResumeUpload(ctx context.Context, key string) (up Upload, note []byte, err error)
}

// Upload is bytes that are still arriving. It is used by one goroutine at a time.
type Upload interface {
	// Expect says, before an Append, what is known of the bytes to come: the key that
	// they will be committed to ("" = unknown), and how many they are (-1 = unknown).
	// It is a hint, for a driver that can send them where they belong from the start.
	Expect(dst string, size int64)

	// Append adds p. After an error Size tells how much of p was kept; where the upload
	// cannot go on from there, the error matches ErrUploadLost, and the engine resumes
	// it from what was saved.
	Append(ctx context.Context, p []byte) error

	// Size is how many bytes are kept.
	Size() int64

	// Save keeps a small note with the upload (the engine's hash state). Where the
	// driver is remote it is also what makes the bytes survive the process: another one
	// resumes from here.
	Save(ctx context.Context, note []byte) error

	// Reader reads the bytes from an offset on, as they are now.
	Reader(ctx context.Context, offset int64) (io.ReadCloser, error)

	// Commit moves the bytes to the key dst in one step, replacing what is there.
	// Equal bytes may be left where they are, unless dst is a placed key. The upload is
	// over.
	Commit(ctx context.Context, dst string) (placed string, err error)

	// Abort drops the bytes. The upload is over.
	Abort(ctx context.Context) error

	// Close lets go of the upload, and keeps it to be resumed. After Commit or Abort
	// it does nothing.
	Close() error
}

// Logs opens the logs of repositories.
type Logs interface {
	// ListLogs yields where there is a log, or an index.json that another program
	// wrote. It is a walk over directories, never over blobs.
	ListLogs(ctx context.Context) iter.Seq2[LogInfo, error]

	// OpenLog opens the log under the key prefix of a repository. It creates
	// nothing.
	OpenLog(ctx context.Context, prefix string) (Log, error)
}

// LogInfo describes a log.
type LogInfo struct {
	Prefix string // of the repository's keys
	Behind bool   // there are records that no checkpoint covers
}

// Loaded is what a log holds.
type Loaded struct {
	// Checkpoint is the newest one, nil if there is none. Load's caller closes it.
	Checkpoint io.ReadCloser
	Covered    uint64 // the number of the last record that it covers

	// Tail is the records in the log, in order. Some may be older than Checkpoint.
	Tail []Record
}

// Changes is what has happened to a log.
type Changes struct {
	Records []Record // behind the number asked for; other processes wrote them
	Reload  bool     // too much has changed: Load again
	Index   bool     // another program wrote index.json: look at OpenIndex, then TookIndex
	Covered uint64   // the newest checkpoint of other processes covers up to this one; 0 = unknown
}

// Index is an open index.json. The caller closes it.
type Index struct {
	io.ReadCloser

	Version any // names these bytes; comparable
}

// Log is the truth of one repository's index: a checkpoint, and the records after
// it. The engine calls Load first, then Append from one goroutine at a time and
// Checkpoint from one at a time; the two, and the other methods, may overlap.
type Log interface {
	// Load reads the log from its beginning. A log that does not exist is empty.
	//
	// Errors: ErrDamaged, ErrFormat.
	Load(ctx context.Context) (Loaded, error)

	// Append adds records in one step: all of them are in the log, or none. As any
	// write they are durable after the next Sync (S3: at once). The numbers decide
	// what counts: a record of the same or a higher number that is in the log
	// already, because an earlier Append or the Sync after it failed, is void.
	//
	// Errors: ErrConflict if another process has used the number of the first one;
	// ErrLogLost if earlier records are gone: a Checkpoint makes good for them. After
	// any other error the records may be in the log all the same, whole.
	Append(ctx context.Context, records []Record) error

	// Refresh says what the log has behind record seq, and whether index.json is
	// another than Checkpoint wrote or TookIndex named. It is called for each request
	// and costs next to nothing if nothing has happened. What it says is true of a
	// moment at or after since.
	Refresh(ctx context.Context, seq uint64, since time.Time) (Changes, error)

	// Checkpoint replaces the checkpoint by one that covers all records up to seq,
	// and then drops those that are covered. state writes the checkpoint itself,
	// index the index.json that projects it (S3 has no use for it). A crash at any
	// point leaves the old or the new one.
	//
	// Errors: ErrConflict if there is an index.json that Refresh would tell of.
	Checkpoint(ctx context.Context, seq uint64, state, index func(io.Writer) error) error

	// OpenIndex opens the index.json that lies beside the log, whoever wrote it.
	OpenIndex(ctx context.Context) (Index, error)

	// TookIndex says that what the index.json of that version says is known now.
	TookIndex(version any)

	// OpenCheckpoint opens the checkpoint that covers seq exactly, if it is kept.
	OpenCheckpoint(ctx context.Context, seq uint64) (io.ReadCloser, error)

	// History yields the records below number before, the newest first, and each number
	// once: those that checkpoints have dropped, too, as far back as DropHistory has left
	// them. before is at most one more than the number of the last record that is durable.
	//
	// Errors: ErrDamaged, ErrFormat.
	History(ctx context.Context, before uint64) iter.Seq2[Record, error]

	// DropHistory drops records that checkpoints cover, of which it is sure that they were
	// appended before older. It may drop them later than it could.
	DropHistory(ctx context.Context, older time.Time) error

	// Close lets go of the log.
	Close() error
}

// Finder is a Driver that knows without a cache which repositories hold a digest.
type Finder interface {
	// FindBlob returns the keys of up to limit blobs with that digest, in any order; 0 = all.
	FindBlob(ctx context.Context, dgst digest.Digest, limit int) ([]string, error)
}

// Pool is a remote Driver in which an object says that a repository holds a blob, its
// membership. It has the number of the newest record of the repository that its writer had
// read. Once a record that sweeps the blob has a higher one, or one that deletes the blob
// names it, it does not count, and may be removed by anybody (docs/s3-format.md, "Deleting").
type Pool interface {
	// StatCounted is Stat of the key of a blob that has a membership which counts.
	StatCounted(ctx context.Context, key string, counts Counts) (Info, error)

	// Number is that of the membership at a placed key, if the place tells.
	Number(placed string) (seq uint64, ok bool)

	// LinkSized is Link of a blob of size bytes.
	//
	// Errors: fs.ErrNotExist if what is there is not of that size: then it is damaged.
	LinkSized(ctx context.Context, src, dst string, size int64) (placed string, err error)
}

// Counts says whether a membership counts, by its place and its number.
type Counts func(place string, seq uint64) bool

// Member is a membership.
type Member struct {
	Repo   RepoName
	Digest digest.Digest
	Key    string        // to Delete it
	Seq    uint64        // its number
	Own    bool          // it has the bytes of the blob in it
	Size   int64         // bytes of the blob that go with it; 0 if others may share them
	Age    time.Duration // by the clock of the server
}

func (m Member) place() string { return placeOf(BlobKey(m.Repo, m.Digest), m.Key) }

// Freed is what has gone.
type Freed struct {
	Blobs int
	Bytes int64
}

// Collector is a Pool from which GC removes what nobody needs. Any number of processes may
// do so at once.
type Collector interface {
	Pool

	// Claim says whether a run of GC may begin: not if another process has begun one less
	// than interval ago. It saves requests; nothing else depends on it.
	Claim(ctx context.Context, interval time.Duration) (bool, error)

	// Members calls judge with each membership, by digests in order, and frees bytes that
	// have none, unless needed says that a manifest names them all the same.
	Members(ctx context.Context, judge func(Member) error, needed func(digest.Digest) bool) (Freed, error)

	// Free frees the bytes of a digest if they have no membership any more.
	Free(ctx context.Context, dgst digest.Digest) (Freed, error)

	// Tidy removes what else is left: of uploads that have expired, of writes that were
	// broken off. It returns how many uploads those were.
	Tidy(ctx context.Context) (uploads int, err error)
}

// Signer is a Driver whose objects a client can read without us.
type Signer interface {
	// SignURL returns a URL that lets whoever has it read an object, or ranges of it,
	// for some minutes.
	SignURL(ctx context.Context, key string) (string, error)
}

package storage

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// A check looks whether all that a store keeps is what the formats say; docs/fsck.md says
// what that is, and what a repair does. The files, in the order to read them:
//
//   - check.go: what is found, and what a driver does for it
//   - check_run.go: a run: repositories first, then all bytes; how far it is
//   - check_log.go, check_state.go: one repository
//   - check_blobs.go: bytes; check_twins.go: where there are better ones
//   - check_salvage.go: a log that is damaged is made anew of what is left
//   - scrub.go: the bytes alone, from time to time

// CheckOptions say how far a check goes.
type CheckOptions struct {
	Repair    bool `json:"repair"`    // mend what can be mended, and put aside the rest
	Quick     bool `json:"quick"`     // do not read blobs: their sizes only
	FromStart bool `json:"fromStart"` // do not go on where the last one was broken off
}

// Severity says what a finding means for the outcome of a check.
type Severity string

// The severities.
const (
	Problem   Severity = "problem"   // something is not as it should be
	Unchecked Severity = "unchecked" // it cannot be told
	Notice    Severity = "notice"    // nothing is wrong: what a crash has left, or others have put there
)

// Finding is something that a check has found.
type Finding struct {
	Severity Severity      `json:"severity"`
	Kind     string        `json:"kind"` // a word, as "blob-damaged"; docs/fsck.md lists them
	Repo     RepoName      `json:"repository,omitempty"`
	Key      string        `json:"key,omitempty"` // the file or object
	Digest   digest.Digest `json:"digest,omitempty"`
	Text     string        `json:"text"`

	Mended      bool   `json:"mended"`
	Remedy      string `json:"remedy,omitempty"`      // what the repair has done, or why it could not
	Quarantined string `json:"quarantined,omitempty"` // where the damaged bytes are now
}

// String is a line for people.
func (f Finding) String() string {
	line := fmt.Sprintf("%s: %s: %s", f.Severity, f.Kind, f.Text)
	if f.Mended {
		line = "mended: " + line
	}

	if f.Remedy != "" {
		line += "; " + f.Remedy
	}

	if f.Quarantined != "" {
		line += "; what was there is in " + f.Quarantined
	}

	return line
}

// CheckProgress is how far a check is, or a finding.
type CheckProgress struct {
	Phase   string   `json:"phase"`
	At      string   `json:"at,omitempty"` // the repository, or the key
	Done    int      `json:"done"`         // of Total repositories
	Total   int      `json:"total"`
	Blobs   int      `json:"blobs"` // read so far
	Bytes   int64    `json:"bytes"` // of these
	Finding *Finding `json:"finding,omitempty"`
}

// The phases of a check.
const (
	PhaseRepos = "repositories"
	PhaseBlobs = "blobs"
)

// maxFindings is how many findings a report has. All are counted, and told as they come.
const maxFindings = 1000

// CheckReport is what came out.
type CheckReport struct {
	Repos     int   `json:"repositories"`
	Manifests int   `json:"manifests"`
	Blobs     int   `json:"blobs"` // that were read
	Bytes     int64 `json:"bytes"`

	Problems  int `json:"problems"`  // that are left
	Mended    int `json:"mended"`    // that were
	Unchecked int `json:"unchecked"` // of which it cannot be told
	Notices   int `json:"notices"`

	Resumed  bool      `json:"resumed"`  // the first part was done by an earlier run
	Findings []Finding `json:"findings"` // the first of them
}

func (r *CheckReport) add(f Finding) {
	switch {
	case f.Mended:
		r.Mended++
	case f.Severity == Problem:
		r.Problems++
	case f.Severity == Unchecked:
		r.Unchecked++
	default:
		r.Notices++
	}

	if len(r.Findings) < maxFindings {
		r.Findings = append(r.Findings, f)
	}
}

func (r *CheckReport) addAll(other CheckReport) {
	r.Repos += other.Repos
	r.Manifests += other.Manifests
	r.Blobs += other.Blobs
	r.Bytes += other.Bytes
	r.Problems += other.Problems
	r.Mended += other.Mended
	r.Unchecked += other.Unchecked
	r.Notices += other.Notices
	r.Resumed = r.Resumed || other.Resumed
	r.Findings = append(r.Findings, other.Findings[:min(len(other.Findings), maxFindings-len(r.Findings))]...)
}

// Fault is something in a log that is not as the format says.
type Fault struct {
	Severity Severity
	Kind     string
	File     string // the key of the file or object
	Text     string // with the offset, where there is one

	Aside  bool // a repair puts the file aside
	Anew   bool // a repair writes a checkpoint, and with it what lies beside the log
	Rotten bool // the log cannot be loaded
}

// CheckedLog is a Log that tells of all that it consists of, and what of it is whole where
// Load fails.
type CheckedLog interface {
	// Inspect looks at each file or object of the log, and changes nothing. Checkpoints are
	// not decoded. Where appends go on it may find what was only half there.
	//
	// Errors: what keeps it from looking.
	Inspect(ctx context.Context, found func(Fault)) error

	// Checkpoints lists the numbers of the checkpoints that are there, the newest first,
	// and the key of each.
	Checkpoints(ctx context.Context) ([]CheckpointInfo, error)

	// OpenKept opens one of those.
	OpenKept(ctx context.Context, info CheckpointInfo) (io.ReadCloser, error)

	// Salvage yields the records above number after that are whole, in order, wherever they
	// are, whether or not what lies between them is whole. Void ones are left out, as far as
	// that can be told.
	Salvage(ctx context.Context, after uint64) iter.Seq2[Record, error]

	// Replace makes the log anew, as Checkpoint does, though it cannot be loaded.
	//
	// Errors: ErrConflict if it is not as the last Salvage has found it.
	Replace(ctx context.Context, seq uint64, state, index func(io.Writer) error) error
}

// LogInspector is a Driver whose logs, once opened, are known to it. InspectLog opens one
// that is not, to be looked at and no more.
type LogInspector interface {
	InspectLog(ctx context.Context, prefix string) (Log, error)
}

// Pooled is an object that a bucket has of a digest.
type Pooled struct {
	Key    string // of the object itself
	Known  bool   // it is one of zot's
	Digest digest.Digest
	Repo   RepoName // whose it is; "" = of nobody alone
	Place  string   // of bytes (Info); "" = it has none
	Size   int64
}

// PoolLister is a remote Driver that shows what it has.
type PoolLister interface {
	// ListPool yields all objects of all digests behind a key, by digests.
	ListPool(ctx context.Context, after string) iter.Seq2[Pooled, error]

	// PutBack copies the bytes of a placed key to the object key.
	PutBack(ctx context.Context, from, key string) error

	// CheckStone says whether what tells the present generation of a digest can be read.
	CheckStone(ctx context.Context, dgst digest.Digest) error
}

// CheckpointInfo names a checkpoint.
type CheckpointInfo struct {
	Seq uint64
	Key string
}

// Quarantiner is a Driver that can put objects aside.
type Quarantiner interface {
	// SetAside puts what is at key under another one, too; finish removes it where it was.
	// Any key may be named, those of logs as well.
	SetAside(ctx context.Context, key, to string) (finish func() error, err error)
}

// Identifier is a Driver in which several keys may lead to the same bytes.
type Identifier interface {
	// Identify returns what is equal for those, and comparable; nil if nothing else leads
	// to the bytes of key.
	Identify(ctx context.Context, key string) (any, error)
}

// quarantineKey is where a repair that began at a time puts aside what was at key.
func quarantineKey(at time.Time, key string) string {
	return quarantinePrefix + at.UTC().Format("20060102T150405.000Z") + "/" + key
}

// splitQuarantineKey returns the blob that is at a key of the quarantine.
func splitQuarantineKey(key string) (RepoName, digest.Digest, bool) {
	_, key, _ = strings.Cut(strings.TrimPrefix(key, quarantinePrefix), "/")

	if blob, place, ok := cutLast(key, "/blobs/"); ok { // what a bucket has may have a place
		if parts := strings.SplitN(place, "/", 3); len(parts) > 1 {
			key = blob + "/blobs/" + parts[0] + "/" + strings.TrimRight(parts[1], ".")
		}
	}

	return SplitBlobKey(key)
}

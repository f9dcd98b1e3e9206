package storage

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
)

// Record is one commit in a repository's log: all of its operations happened, or
// none.
type Record struct {
	Seq  uint64    `json:"seq"` // 1, 2, 3, ... in each repository
	Time time.Time `json:"time"`
	Who  string    `json:"who,omitempty"` // the user; "" = anonymous
	Ops  []Op      `json:"ops"`
}

// OpKind says what an operation does.
type OpKind string

// The operations. An unknown one is ErrFormat: a newer zot wrote it.
const (
	OpPutManifest    OpKind = "manifest"      // Manifest
	OpDeleteManifest OpKind = "-manifest"     // Digest; tags that point to it go too. It can be brought back
	OpDeleteRepo     OpKind = "-repo"         // all manifests and tags, as OpDeleteManifest
	OpSetTag         OpKind = "tag"           // Tag, Digest, Extra
	OpDeleteTag      OpKind = "-tag"          // Tag
	OpHideBlob       OpKind = "-blob"         // Digest, Members: deleted, the bytes go later
	OpShowBlob       OpKind = "blob"          // Digest: pushed again after it was hidden
	OpForget         OpKind = "forget"        // Digest: a deleted manifest cannot be brought back any more
	OpCondemn        OpKind = "condemn"       // Digest: to be swept, unless somebody needs it (docs/s3-format.md, "Deleting")
	OpRenew          OpKind = "renew"         // Digest: somebody needs it
	OpSweep          OpKind = "sweep"         // Digest: what older records have counted on is gone
	OpDropMembers    OpKind = "-members"      // Digest, Members: others hold the blob as well
	OpForgetSweeps   OpKind = "forget-sweeps" // Seq: those up to this record were long ago
	OpWas            OpKind = "was"           // Tag, Digest ("" = deleted), Time, Who: what has happened in the store that this was copied from
	OpCopied         OpKind = "copied"        // Seq of the store whose id is Who: up to this record OpWas and others tell of it
	OpAdoptIndex     OpKind = "index-json"    // Digest of an index.json of another program that is now known; Extra, Kept
)

// Op is one operation of a record.
type Op struct {
	Kind     OpKind          `json:"op"`
	Tag      Tag             `json:"tag,omitempty"`
	Digest   digest.Digest   `json:"digest,omitempty"`
	Manifest *ManifestRecord `json:"manifest,omitempty"`
	Seq      uint64          `json:"seq,omitempty"`

	// When and by whom OpPutManifest, OpSetTag or OpDeleteTag was done, where that is not the
	// record's (zero): in the store that it was copied from.
	Time time.Time `json:"time,omitzero"`
	Who  string    `json:"who,omitempty"`

	// Members are the memberships of a bucket (Pool) that go, by their places. Others stay:
	// they are needed, or were written meanwhile.
	Members []string `json:"members,omitempty"`

	// Extra is what another program wrote into index.json beside the fields that
	// zot has: a JSON object, kept and written again.
	Extra json.RawMessage `json:"extra,omitempty"`

	// Kept is the entries of another program's index.json that could not be taken in,
	// as they are. They are written again, and tried again.
	Kept []json.RawMessage `json:"kept,omitempty"`
}

// ManifestRecord is what the state keeps of a manifest.
type ManifestRecord struct {
	Digest       digest.Digest   `json:"digest"`
	MediaType    string          `json:"mediaType"`
	Size         int64           `json:"size"`
	At           string          `json:"at,omitempty"`        // its place (Info)
	Blobs        []Ref           `json:"blobs,omitempty"`     // config and layers
	Manifests    []Ref           `json:"manifests,omitempty"` // children of an index
	Subject      digest.Digest   `json:"subject,omitempty"`
	ArtifactType string          `json:"artifactType,omitempty"` // as the referrers API wants it
	Extra        json.RawMessage `json:"extra,omitempty"`        // as in Op

	// When and by whom; filled from the record when it is folded.
	Pushed time.Time `json:"pushed,omitzero"`
	Who    string    `json:"who,omitempty"`

	// Loose is when the last tag, index or subject that held it has let go of it; zero if
	// none ever has. It may be held again since.
	Loose time.Time `json:"loose,omitzero"`
}

// Ref is what a manifest names.
type Ref struct {
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`         // as verified; -1 = nobody has seen the bytes
	At     string        `json:"at,omitempty"` // its place (Info)

	// Known only while a manifest is being put:
	hidden    time.Time // when it was deleted last, if it was pushed again since
	seen      uint64    // the number of the state by which it was looked for
	elsewhere bool      // a client does not push it
}

// by says when and by whom an operation of record was done.
func (op Op) by(record Record) (at time.Time, who string) {
	if op.Time.IsZero() {
		return record.Time, record.Who
	}

	return op.Time, op.Who
}

// EncodeRecords writes records as one line of JSON, without its newline.
func EncodeRecords(records []Record) ([]byte, error) {
	line, err := json.Marshal(records)
	if err != nil {
		return nil, fmt.Errorf("encode records: %w", err)
	}

	return line, nil
}

// DecodeRecords is the inverse of EncodeRecords.
//
// Errors: ErrDamaged; ErrFormat for an operation that this zot does not know.
func DecodeRecords(line []byte) ([]Record, error) {
	var records []Record
	if err := json.Unmarshal(line, &records); err != nil {
		return nil, fmt.Errorf("%w: records: %w", ErrDamaged, err)
	}

	return records, CheckRecords(records)
}

// CheckRecords says whether records have what their operations need.
//
// Errors: ErrDamaged; ErrFormat for an operation that this zot does not know.
func CheckRecords(records []Record) error {
	for _, record := range records {
		for _, op := range record.Ops {
			if err := op.check(); err != nil {
				return fmt.Errorf("record %d: %w", record.Seq, err)
			}
		}
	}

	return nil
}

// check says whether the fields that Kind needs are there.
func (op Op) check() error {
	var ok bool

	switch op.Kind {
	case OpPutManifest:
		ok = op.Manifest != nil && op.Manifest.Digest.Validate() == nil
	case OpSetTag:
		ok = op.Tag != "" && op.Digest.Validate() == nil
	case OpDeleteTag:
		ok = op.Tag != ""
	case OpDeleteManifest, OpHideBlob, OpShowBlob, OpAdoptIndex, OpForget, OpCondemn, OpRenew, OpSweep, OpDropMembers:
		ok = op.Digest.Validate() == nil
	case OpForgetSweeps:
		ok = op.Seq > 0
	case OpDeleteRepo:
		ok = true
	case OpWas:
		ok = op.Tag != "" && !op.Time.IsZero()
	case OpCopied:
		ok = op.Who != ""
	default:
		return fmt.Errorf("%w: operation %q", ErrFormat, op.Kind)
	}

	if !ok {
		return fmt.Errorf("%w: operation %q lacks a field", ErrDamaged, op.Kind)
	}

	return nil
}

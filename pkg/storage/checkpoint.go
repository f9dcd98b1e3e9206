package storage

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
)

// checkpointFormat is the version of the checkpoint's format (docs/local-format.md). The
// first, which is read, too, had no lines of what was deleted.
const checkpointFormat = 2

// When a checkpoint is due: so many records behind the last one, and at least a
// quarter of what it would hold, so that its cost per commit stays the same however
// large a repository grows. Or any number, when nothing was committed for a while.
//
// In a bucket the number of requests that a load takes counts, and nobody waits for an
// index.json: fewer records, and no checkpoint of what is idle.
const (
	checkpointRecords       = 1000
	checkpointRecordsRemote = 300
	checkpointShare         = 4
	checkpointIdle          = 10 * time.Second
)

// isCovered says whether the checkpoint has everything.
func (r *repository) isCovered() bool {
	return r.visible.Load().seq == r.covered.Load() && !r.foreign.Load()
}

func (r *repository) checkpointDue(last, now time.Time) bool {
	st := r.visible.Load()
	entries := uint64(st.tags.Len()+st.manifests.Len()) / checkpointShare

	behind := st.seq - r.covered.Load()

	if r.store.remote {
		return behind >= max(checkpointRecordsRemote, entries)
	}

	return behind >= max(checkpointRecords, entries) || now.Sub(last) >= checkpointIdle
}

// checkpoint writes what is visible now. Commits go on meanwhile. While there is an
// index.json of another program that cannot be read yet, nothing is written: it may
// be half-written.
func (r *repository) checkpoint(ctx context.Context) error {
	r.checkpointing.Lock()
	defer r.checkpointing.Unlock()

	if r.isCovered() {
		return nil
	}

	err := r.writeCheckpoint(ctx)
	if errors.Is(err, ErrConflict) {
		if err = r.adopt(ctx); err == nil {
			err = r.writeCheckpoint(ctx)
		}
	}

	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", r.name, err)
	}

	return nil
}

// restate writes a checkpoint because the journal was lost: what it had is in memory.
func (r *repository) restate(ctx context.Context, why error) error {
	r.store.opts.Log.Error().Err(why).Str("repository", string(r.name)).
		Msg("the journal was damaged while in use; writing all that it had as a checkpoint")

	r.checkpointing.Lock()
	defer r.checkpointing.Unlock()

	return r.writeCheckpoint(ctx)
}

func (r *repository) writeCheckpoint(ctx context.Context) error {
	st := r.visible.Load()

	err := r.log.Checkpoint(ctx, st.seq,
		func(w io.Writer) error { return encodeCheckpoint(w, st) },
		func(w io.Writer) error { return encodeIndex(w, st) })
	if err != nil {
		return err
	}

	r.cover(st.seq)
	r.foreign.Store(false)
	r.store.figures.checkpoints.Add(1)

	return nil
}

// checkpointLine is one line of a checkpoint. Exactly one field is set.
type checkpointLine struct {
	Head     *checkpointHead `json:"head,omitempty"` // the first line
	Manifest *ManifestRecord `json:"manifest,omitempty"`
	Tag      *checkpointTag  `json:"tag,omitempty"`
	Hidden   *checkpointBlob `json:"hidden,omitempty"`
	Buried   *burial         `json:"buried,omitempty"`
	Condemn  *checkpointMark `json:"condemned,omitempty"`
	Swept    *checkpointGone `json:"swept,omitempty"`
	End      *checkpointEnd  `json:"end,omitempty"` // the last line
}

type checkpointHead struct {
	Format  int               `json:"format"`
	Seq     uint64            `json:"seq"`
	Adopted digest.Digest     `json:"adopted,omitempty"`
	Extra   json.RawMessage   `json:"extra,omitempty"`
	Kept    []json.RawMessage `json:"kept,omitempty"`
	Settled uint64            `json:"settled,omitempty"`
}

type checkpointTag struct {
	Name Tag `json:"name"`
	tagEntry
}

type checkpointBlob struct {
	Digest digest.Digest `json:"digest"`
	Time   time.Time     `json:"time"`
}

type checkpointMark struct {
	Digest digest.Digest `json:"digest"`
	mark
}

type checkpointGone struct {
	Digest digest.Digest `json:"digest"`
	swept
}

type checkpointEnd struct {
	SHA256 string `json:"sha256"` // of all bytes before this line, in hex
}

func encodeCheckpoint(w io.Writer, st *state) error {
	sum := sha256.New()
	buffered := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16)
	lines := json.NewEncoder(buffered)

	var failed error

	write := func(line checkpointLine) bool {
		failed = lines.Encode(line)

		return failed == nil
	}

	write(checkpointLine{Head: &checkpointHead{
		Format: checkpointFormat, Seq: st.seq, Adopted: st.adopted, Extra: st.extra, Kept: st.kept,
		Settled: st.settled,
	}})
	st.manifests.Scan(func(_ digest.Digest, m *ManifestRecord) bool {
		return write(checkpointLine{Manifest: m})
	})
	st.tags.Scan(func(tag Tag, entry tagEntry) bool {
		return write(checkpointLine{Tag: &checkpointTag{Name: tag, tagEntry: entry}})
	})
	st.hidden.Scan(func(dgst digest.Digest, at time.Time) bool {
		return write(checkpointLine{Hidden: &checkpointBlob{Digest: dgst, Time: at}})
	})
	st.burials.Scan(func(_ digest.Digest, b *burial) bool {
		return write(checkpointLine{Buried: b})
	})
	st.condemned.Scan(func(dgst digest.Digest, m mark) bool {
		return write(checkpointLine{Condemn: &checkpointMark{dgst, m}})
	})
	st.swept.Scan(func(dgst digest.Digest, gone swept) bool {
		return write(checkpointLine{Swept: &checkpointGone{dgst, gone}})
	})

	if err := errors.Join(failed, buffered.Flush()); err != nil {
		return fmt.Errorf("encode checkpoint: %w", err)
	}

	end := checkpointLine{End: &checkpointEnd{SHA256: hex.EncodeToString(sum.Sum(nil))}}

	return json.NewEncoder(w).Encode(end)
}

// decodeCheckpoint is the inverse of encodeCheckpoint.
//
// Errors: ErrDamaged; ErrFormat if a newer zot wrote it.
func decodeCheckpoint(r io.Reader) (*state, error) {
	st := newState()
	sum := sha256.New()
	lines := bufio.NewReaderSize(r, 1<<16)

	for {
		raw, err := lines.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("%w: checkpoint ends early: %w", ErrDamaged, err)
		}

		var line checkpointLine
		if err := json.Unmarshal(raw, &line); err != nil {
			return nil, fmt.Errorf("%w: checkpoint: %w", ErrDamaged, err)
		}

		if line.End != nil {
			return st, checkEnd(line.End, hex.EncodeToString(sum.Sum(nil)), st)
		}

		sum.Write(raw)

		if err := st.take(line); err != nil {
			return nil, err
		}
	}
}

func checkEnd(end *checkpointEnd, sum string, st *state) error {
	if end.SHA256 != sum || st.seq == 0 {
		return fmt.Errorf("%w: checksum of the checkpoint", ErrDamaged)
	}

	return nil
}

// take adds what a line of a checkpoint says.
func (s *state) take(line checkpointLine) error {
	switch {
	case line.Head != nil:
		if line.Head.Format < 1 {
			return fmt.Errorf("%w: checkpoint of format %d", ErrDamaged, line.Head.Format)
		}

		if line.Head.Format > checkpointFormat {
			return fmt.Errorf("%w: checkpoint %d; this zot knows %d", ErrFormat, line.Head.Format, checkpointFormat)
		}

		s.seq, s.adopted, s.extra, s.kept = line.Head.Seq, line.Head.Adopted, line.Head.Extra, line.Head.Kept
		s.settled = line.Head.Settled
	case line.Manifest != nil:
		s.putManifest(line.Manifest)
	case line.Tag != nil:
		s.setTag(line.Tag.Name, line.Tag.tagEntry)
	case line.Hidden != nil:
		s.hidden.Set(line.Hidden.Digest, line.Hidden.Time)
	case line.Buried != nil && line.Buried.Manifest != nil:
		s.entomb(line.Buried)
	case line.Condemn != nil:
		s.condemned.Set(line.Condemn.Digest, line.Condemn.mark)
	case line.Swept != nil:
		s.swept.Set(line.Swept.Digest, line.Swept.swept)
	default:
		return fmt.Errorf("%w: a line of the checkpoint says nothing", ErrDamaged)
	}

	return nil
}

// rebuild makes the state of checkpoint seq from index.json, whoever wrote that, and
// the manifests that it names. What only the checkpoint knew is lost: times, users,
// and which blobs were hidden.
func (r *repository) rebuild(ctx context.Context, seq uint64) (*state, error) {
	data, _, err := readIndex(ctx, r.log)
	if err != nil {
		return nil, err
	}

	index, err := parseIndex(data)
	if err != nil {
		return nil, fmt.Errorf("%w: neither the checkpoint nor index.json can be read: %w", ErrDamaged, err)
	}

	st := newState()

	found, err := r.readManifests(ctx, index, st)
	if err != nil {
		return nil, err
	}

	ops, kept := adoption(index, found, nil, st)
	st.fold(Record{Seq: seq, Time: r.store.opts.Now(), Ops: ops})
	st.extra, st.kept = index.extra, kept
	r.foreign.Store(true)

	return st, nil
}

// readIndex reads the index.json beside a log; nil if there is none.
func readIndex(ctx context.Context, log Log) (data []byte, version any, err error) {
	index, err := log.OpenIndex(ctx)
	if isNotExist(err) {
		return nil, nil, nil
	}

	if err != nil {
		return nil, nil, fmt.Errorf("open index.json: %w", err)
	}

	data, err = io.ReadAll(index)
	if err = errors.Join(err, index.Close()); err != nil {
		return nil, nil, fmt.Errorf("read index.json: %w", err)
	}

	return data, index.Version, nil
}

package s3

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"zotregistry.io/zot/pkg/storage"
)

// uploadState is what another process needs to go on: a line of JSON, then the tail. It
// is saved when a request ends, never in the middle of one.
type uploadState struct {
	Format   int        `json:"format"`
	PartSize int64      `json:"partSize,omitempty"`
	Sent     *multipart `json:"sent,omitempty"`
	Full     int64      `json:"full"`            // bytes in Sent
	Known    bool       `json:"known,omitempty"` // Full bytes need not be sent: they are at Dst
	Staged   bool       `json:"staged,omitempty"`
	Dst      string     `json:"dst,omitempty"`
	Tail     int64      `json:"tail"` // bytes behind this line
	Note     []byte     `json:"note,omitempty"`
}

const uploadFormat = 1

// Save writes the state. What is then in memory may go, and goes if it is much.
func (u *upload) Save(ctx context.Context, note []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()

	if err := u.check(); err != nil {
		return err
	}

	if err := errors.Join(u.gather(ctx), u.land()); err != nil {
		return u.lose(ctx, err)
	}

	line, err := u.state(note)
	if err != nil {
		return err
	}

	u.saved = true // perhaps, even if we do not learn of it
	size := u.tailSize()
	body := &joined{first: bytes.NewReader(line), size: int64(len(line)), second: u.readTail(0)}

	etag, err := u.b.client.put(ctx, u.key, body, body.size+size, condition{}, "")
	if err != nil {
		return u.lose(ctx, err)
	}

	u.rest(spot{u.key, etag, body.size, size})
	u.tidyAside(ctx)

	return nil
}

// state is the line of a state.
func (u *upload) state(note []byte) ([]byte, error) {
	line, err := json.Marshal(uploadState{
		Format: uploadFormat, PartSize: u.partSize, Sent: u.sent, Full: u.full, Known: u.known,
		Staged: u.staged >= 0, Dst: u.dst, Tail: u.tailSize(), Note: note,
	})
	if err != nil {
		return nil, fmt.Errorf("encode state of upload %s: %w", u.key, err)
	}

	return append(line, '\n'), nil
}

// rest lets go of memory between two requests, unless there is room for what waits. The
// tail is saved at that spot.
func (u *upload) rest(at spot) {
	if u.tail == nil {
		return
	}

	if u.tail.size <= maxTail {
		if kept := u.b.tails.tryReserve(u.tail.size, nil); kept != nil {
			u.tail.moveTo(kept)
			u.tail = kept

			return
		}
	}

	u.dropTail()
	u.away = []spot{at}
}

// ResumeUpload opens an upload that any process has begun.
//
// Errors: fs.ErrNotExist.
func (b *Bucket) ResumeUpload(ctx context.Context, key string) (storage.Upload, []byte, error) {
	repo, id, ok := splitUploadKey(key)
	if !ok || !b.knowsUpload(repo, id) || b.ended.Contains(key) {
		return nil, nil, fmt.Errorf("upload %s: %w", key, fs.ErrNotExist)
	}

	u := b.newUpload(key)

	note, err := u.resume(ctx)
	if isNotExist(err) {
		return u, nil, nil // begun, and nothing came
	}

	if err != nil {
		return nil, nil, err
	}

	return u, note, nil
}

// resume reads what Save wrote. A tail that is not small stays where it is until it is
// needed.
//
// Errors: fs.ErrNotExist, storage.ErrDamaged, storage.ErrFormat.
func (u *upload) resume(ctx context.Context) (note []byte, err error) {
	body, info, err := u.b.client.get(ctx, u.key, storage.Whole, "")
	if err != nil {
		return nil, err
	}

	source := &reader{ctx: ctx, client: u.b.client, body: body, info: info, end: info.size}
	defer func() { err = errors.Join(err, source.Close()) }()

	r := bufio.NewReader(source)

	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("read the state of upload %s: %w", u.key, err)
	}

	state, err := decodeState(line)
	if err == nil && int64(len(line))+state.Tail != info.size {
		err = fmt.Errorf("%w: %d bytes of %d", storage.ErrDamaged, info.size-int64(len(line)), state.Tail)
	}

	if err != nil {
		return nil, fmt.Errorf("state of upload %s: %w", u.key, err)
	}

	u.take(state)

	if state.Tail > maxSmall {
		u.away = []spot{{u.key, info.etag, int64(len(line)), state.Tail}}

		return state.Note, nil
	}

	u.small = make([]byte, state.Tail)
	if _, err := io.ReadFull(r, u.small); err != nil {
		return nil, fmt.Errorf("read the state of upload %s: %w", u.key, err)
	}

	return state.Note, nil
}

func (u *upload) take(state uploadState) {
	u.partSize, u.sent, u.full, u.known, u.dst = state.PartSize, state.Sent, state.Full, state.Known, state.Dst
	u.saved = true

	if state.Staged {
		u.staged = state.Full
	}
}

// decodeState reads the line of a state, and looks for what cannot be.
//
// Errors: storage.ErrDamaged, storage.ErrFormat.
func decodeState(line []byte) (uploadState, error) {
	if err := checkFormat(line, "format", uploadFormat); err != nil {
		return uploadState{}, err
	}

	var state uploadState
	if err := json.Unmarshal(line, &state); err != nil {
		return uploadState{}, fmt.Errorf("%w: %w", storage.ErrDamaged, err)
	}

	return state, state.check()
}

// check says whether a state is one that Save writes.
func (s uploadState) check() error {
	switch {
	case s.Tail < 0 || s.Full < 0 || s.PartSize < 0:
		return fmt.Errorf("%w: a size is below 0", storage.ErrDamaged)
	case s.Sent == nil && !s.Known && s.Full > 0:
		return fmt.Errorf("%w: parts are missing", storage.ErrDamaged)
	case s.Sent != nil && (s.Sent.Key == "" || s.Sent.ID == "" || !s.Staged && s.Sent.size() != s.Full):
		return fmt.Errorf("%w: its parts have not %d bytes", storage.ErrDamaged, s.Full)
	case s.PartSize == 0 && (s.Sent != nil || s.Tail > maxSmall):
		return fmt.Errorf("%w: it has no size of parts", storage.ErrDamaged)
	}

	return nil
}

// joined is two readers, one behind the other, as one that can be read again.
type joined struct {
	first  io.ReadSeeker
	size   int64 // of first
	second io.ReadSeeker
}

func (j *joined) Read(p []byte) (int, error) {
	n, err := j.first.Read(p)
	if n > 0 || !errors.Is(err, io.EOF) || j.second == nil {
		return n, err
	}

	return j.second.Read(p)
}

// Seek goes to the start, or tells the size: that is all that a request needs.
func (j *joined) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence == io.SeekCurrent && offset != 0 {
		return 0, errors.ErrUnsupported
	}

	first, err := j.first.Seek(0, whence)
	if err != nil || j.second == nil {
		return first, err
	}

	second, err := j.second.Seek(0, whence)

	return first + second, err
}

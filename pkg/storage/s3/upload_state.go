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
	Token    string     `json:"token"` // of whoever saved it, unique
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
	if err := u.check(); err != nil {
		return err
	}

	if err := errors.Join(u.recall(ctx), u.land()); err != nil {
		return u.lose(err)
	}

	state := uploadState{
		Format: uploadFormat, Token: newToken(), PartSize: u.partSize, Sent: u.sent, Full: u.full, Known: u.known,
		Staged: u.staged >= 0, Dst: u.dst, Tail: u.tailSize(), Note: note,
	}

	line, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("encode state of upload %s: %w", u.key, err)
	}

	line = append(line, '\n')
	body := &joined{bytes.NewReader(line), u.tail.reader()}

	u.saved = true // perhaps, even if we do not learn of it

	etag, err := u.b.client.put(ctx, u.key, body, int64(len(line))+state.Tail, u.unchanged(), "")
	if errors.Is(err, errCondition) || isNotExist(err) { // S3 has either word for a state that is gone
		etag, err = u.b.stateOf(ctx, u.key, state.Token)
	}

	if err != nil {
		return u.lose(err)
	}

	u.etag = etag
	u.rest()

	return nil
}

// unchanged is the condition on which a state is replaced: that it is the one that this
// upload goes on from. Else a replica that has hung, or a request that comes late, would
// take back what another replica has acknowledged meanwhile.
func (u *upload) unchanged() condition { return condition{match: u.etag, absent: u.etag == ""} }

// stateOf returns the ETag of the state of an upload if it has the token: then a write
// whose condition does not hold is one that had succeeded before.
//
// Errors: storage.ErrUploadBusy if another replica has gone on with it, and
// storage.ErrUploadUnknown if one has ended it.
func (b *Bucket) stateOf(ctx context.Context, key, token string) (etag string, err error) {
	saved, err := b.openState(ctx, key, "")
	if isNotExist(err) {
		return "", fmt.Errorf("%w: it was ended meanwhile", storage.ErrUploadUnknown)
	}

	if err != nil {
		return "", err
	}

	if saved.Token != token {
		err = fmt.Errorf("%w, at another replica", storage.ErrUploadBusy)
	}

	return saved.etag, errors.Join(err, saved.Close())
}

// rest lets go of the tail between two requests, if it is large.
func (u *upload) rest() {
	if u.tail.size > maxTail {
		u.away = u.tail.size
		u.tail.free()
	}
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

	saved, err := b.openState(ctx, key, "")
	if isNotExist(err) {
		return u, nil, nil // begun, and nothing came
	}

	if err != nil {
		return nil, nil, err
	}

	u.take(saved.uploadState)
	u.etag = saved.etag

	return u, saved.Note, saved.Close()
}

func (u *upload) take(state uploadState) {
	u.partSize, u.sent, u.full, u.known, u.dst = state.PartSize, state.Sent, state.Full, state.Known, state.Dst
	u.saved, u.away = true, state.Tail

	if state.Staged {
		u.staged = state.Full
	}
}

// savedState is a state, and behind it the tail, to be read.
type savedState struct {
	uploadState
	etag string
	io.Reader
	io.Closer
}

// openState opens what Save wrote; an etag that is not "" must be that of it. The tail is
// not in memory before there is room for it.
//
// Errors: fs.ErrNotExist, errCondition, storage.ErrDamaged, storage.ErrFormat.
func (b *Bucket) openState(ctx context.Context, key, etag string) (*savedState, error) {
	body, info, err := b.client.get(ctx, key, storage.Whole, etag)
	if err != nil {
		return nil, err
	}

	object := &reader{ctx: ctx, client: b.client, body: body, info: info, end: info.size}
	rest := bufio.NewReaderSize(object, 64<<10)
	saved := &savedState{etag: info.etag, Reader: rest, Closer: object}

	line, err := rest.ReadBytes('\n')
	if err == nil {
		err = saved.decode(key, line, info.size)
	}

	if err != nil {
		return nil, errors.Join(err, object.Close())
	}

	return saved, nil
}

func (s *savedState) decode(key string, line []byte, size int64) (err error) {
	s.uploadState, err = decodeState(line)
	if err == nil && int64(len(line))+s.Tail != size {
		err = fmt.Errorf("%w: %d bytes, not %d", storage.ErrDamaged, size, int64(len(line))+s.Tail)
	}

	if err != nil {
		return fmt.Errorf("state of upload %s: %w", key, err)
	}

	return nil
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
	case s.PartSize == 0 && s.Sent != nil:
		return fmt.Errorf("%w: it has no size of parts", storage.ErrDamaged)
	}

	return nil
}

// joined is two readers, one behind the other, as one that can be read again.
type joined struct{ first, second io.ReadSeeker }

func (j *joined) Read(p []byte) (int, error) {
	n, err := j.first.Read(p)
	if n > 0 || !errors.Is(err, io.EOF) {
		return n, err
	}

	return j.second.Read(p)
}

// Seek goes to the start, tells where it is, or how much there is: that is all that a
// request needs.
func (j *joined) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 {
		return 0, errors.ErrUnsupported
	}

	first, err := j.first.Seek(0, whence)
	if err != nil {
		return first, err
	}

	second, err := j.second.Seek(0, whence)

	return first + second, err
}

package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"
)

// noteEvery is after how many bytes the hash state is saved again. What was hashed
// since is read again after a restart; an upload shorter than this is never noted.
const noteEvery = 4 << 20

// session is an upload in progress. Whoever holds it is the only one to use it.
type session struct {
	key      string
	up       Upload
	digester *digester
	noted    atomic.Int64 // size of the upload when its hash state was last saved
	epoch    epoch        // when its first byte was written
	size     atomic.Int64 // for those who only ask, as noted is, while someone else appends
	body     []byte       // all bytes, if they are few and the driver is remote
}

// StartUpload implements Uploads.
func (s *Store) StartUpload(ctx context.Context, repo RepoName, alg digest.Algorithm) (UploadStatus, error) {
	if alg == "" {
		alg = digest.Canonical
	}

	if err := CheckAlgorithm(alg); err != nil {
		return UploadStatus{}, err
	}

	id := s.driver.NameUpload(repo)
	key := UploadKey(repo, id)

	begun := s.durability.present()

	up, err := s.driver.CreateUpload(ctx, key)
	if err != nil {
		return UploadStatus{}, fmt.Errorf("start upload: %w", err)
	}

	session := &session{key: key, up: up, digester: newDigester(alg), epoch: begun, body: s.newBody()}
	if alg != digest.Canonical {
		if err := session.save(ctx); err != nil { // what was announced is to be known after a restart
			return UploadStatus{}, errors.Join(err, up.Abort(ctx), up.Close())
		}
	}

	return UploadStatus{ID: id, Shared: s.remote}, s.sessions.release(ctx, session)
}

// StatUpload implements Uploads.
func (s *Store) StatUpload(ctx context.Context, repo RepoName, id string) (UploadStatus, error) {
	status := UploadStatus{ID: id, Shared: s.remote}
	err := s.withUpload(ctx, repo, id, -1, func(session *session) (over bool, err error) {
		status.Size = session.up.Size()

		return false, nil
	})

	if size, busy := s.sessions.sizeOf(UploadKey(repo, id)); busy && errors.Is(err, ErrUploadBusy) {
		return UploadStatus{ID: id, Size: size, Shared: s.remote}, nil // a client asks while its broken request still hangs
	}

	return status, err
}

// AppendUpload implements Uploads.
func (s *Store) AppendUpload(ctx context.Context, repo RepoName, id string, chunk Chunk) (UploadStatus, error) {
	status := UploadStatus{ID: id, Shared: s.remote}

	if err := s.checkKnown(ctx, repo); err != nil {
		return status, err
	}

	if err := s.quotas.room(repo, chunk.Length); err != nil {
		return status, err
	}

	err := s.withUpload(ctx, repo, id, chunk.Seen, func(session *session) (over bool, err error) {
		session.expect("", chunk)
		err = s.append(ctx, session, chunk)
		err = errors.Join(err, s.saveDue(ctx, session))
		status.Size = session.up.Size()

		return false, err
	})

	return status, err
}

// FinishUpload implements Uploads.
func (s *Store) FinishUpload(
	ctx context.Context, repo RepoName, id string, chunk Chunk, dgst digest.Digest, who string,
) (int64, error) {
	if err := s.checkKnown(ctx, repo); err != nil {
		return 0, err
	}

	if err := s.quotas.room(repo, chunk.Length); err != nil {
		return 0, err
	}

	size := int64(0)
	err := s.withUpload(ctx, repo, id, chunk.Seen, func(session *session) (over bool, err error) {
		before := session.up.Size()
		session.digester.expect(dgst.Algorithm())

		dst, err := s.expectedAt(ctx, session, repo, dgst, chunk)
		if err != nil {
			return false, err
		}

		session.expect(dst, chunk)

		if err := s.append(ctx, session, chunk); err != nil {
			return false, errors.Join(err, s.saveDue(ctx, session))
		}

		size = session.up.Size()

		err = session.digester.verify(ctx, session.up, s.opts.Buffers, dgst)
		ctx := context.WithoutCancel(ctx) // all bytes are here: finish, even if the client has gone

		if errors.Is(err, ErrDigestMismatch) && size > before {
			return true, errors.Join(err, session.up.Abort(ctx))
		}

		if err != nil {
			return false, err
		}

		return true, s.repos.with(ctx, repo, s.repos.recent(), func(r *repository) error {
			return s.place(ctx, r, dgst, session, who)
		})
	})

	return size, err
}

// checkKnown is asked before the first byte of a blob is kept in a bucket: a repository
// that a newer zot has written to is not touched. What it reads the commit needs anyway.
//
// Errors: ErrFormat, ErrDamaged.
func (s *Store) checkKnown(ctx context.Context, repo RepoName) error {
	if !s.remote {
		return nil
	}

	return s.repos.with(ctx, repo, s.repos.recent(), func(*repository) error { return nil })
}

// expectedAt is where bytes may be sent before they are verified, "" if they have to be
// looked at once more first, or take the place of what is damaged.
func (s *Store) expectedAt(
	ctx context.Context, session *session, repo RepoName, dgst digest.Digest, chunk Chunk,
) (string, error) {
	key := BlobKey(repo, dgst)
	if session.digester.alg != dgst.Algorithm() || s.durability.isDamaged(key) {
		return "", nil
	}

	few := chunk.Length >= 0 && session.up.Size()+chunk.Length <= maxBody
	if !s.remote || few || chunk.Body == nil || chunk.Length == 0 {
		return key, nil
	}

	// What is sent to one place cannot heal another.
	err := s.repos.with(ctx, repo, s.repos.recent(), func(r *repository) error {
		named, right, err := s.hasNamed(ctx, r, dgst, nil)
		if named && !right {
			key = ""
		}

		return err
	})

	return key, err
}

// CancelUpload implements Uploads.
func (s *Store) CancelUpload(ctx context.Context, repo RepoName, id string) error {
	return s.withUpload(ctx, repo, id, -1, func(session *session) (over bool, err error) {
		return true, session.up.Abort(ctx)
	})
}

// withUpload calls use with an upload that nobody else uses meanwhile. An upload that
// is said to be over, and of which something is left because that failed, can be
// resumed. seen is as in Chunk.
func (s *Store) withUpload(
	ctx context.Context, repo RepoName, id string, seen int64, use func(*session) (over bool, err error),
) error {
	if _, err := uuid.Parse(id); err != nil || len(id) != len(uuid.Nil.String()) {
		return fmt.Errorf("%w: %q", ErrUploadUnknown, id)
	}

	s.pace.request()

	session, err := s.sessions.acquire(ctx, UploadKey(repo, id), seen)
	if err != nil {
		return err
	}

	if session.epoch != s.durability.present() {
		return errors.Join(ErrUploadUnknown, session.up.Abort(ctx), s.sessions.forget(session))
	}

	over, err := use(session)
	if over || errors.Is(err, ErrUploadLost) {
		return errors.Join(err, s.sessions.forget(session))
	}

	return errors.Join(err, s.sessions.release(context.WithoutCancel(ctx), session))
}

// append adds a chunk to the upload. Whatever arrives is kept.
func (s *Store) append(ctx context.Context, session *session, chunk Chunk) error {
	if chunk.Body == nil {
		return nil
	}

	if size := session.up.Size(); chunk.Offset >= 0 && chunk.Offset != size {
		return &OffsetError{Have: size, Got: chunk.Offset}
	}

	if err := session.digester.catchUp(ctx, session.up, s.opts.Buffers); err != nil {
		return err
	}

	before := session.up.Size()
	body := chunk.Body

	if chunk.Length >= 0 {
		body = io.LimitReader(body, chunk.Length)
	}

	err := (&copier{session: session, buffers: s.opts.Buffers, now: s.opts.Now}).copy(ctx, body)

	if err != nil || chunk.Length < 0 {
		return err
	}

	return checkLength(chunk, session.up.Size()-before)
}

// checkLength says whether a chunk was as long as announced. What is behind that is
// not taken.
func checkLength(chunk Chunk, came int64) error {
	if came < chunk.Length {
		return fmt.Errorf("%w: %d bytes were announced, %d came", ErrSize, chunk.Length, came)
	}

	if n, _ := io.ReadFull(chunk.Body, make([]byte, 1)); n > 0 {
		return fmt.Errorf("%w: %d bytes were announced, more came", ErrSize, chunk.Length)
	}

	return nil
}

// newBody is where the bytes of an upload are kept if they are few, nil if they are not
// to be: a pull that follows finds them there.
func (s *Store) newBody() []byte {
	if !s.remote {
		return nil
	}

	return []byte{}
}

// collect keeps p with the bytes that came before it, as long as they are few.
func (session *session) collect(p []byte) {
	if session.body == nil {
		return
	}

	if session.body = append(session.body, p...); len(session.body) > maxBody {
		session.body = nil
	}
}

// expect tells the driver what is known of the bytes to come.
func (session *session) expect(dst string, chunk Chunk) {
	size := session.up.Size()

	switch {
	case chunk.Length > 0:
		size += chunk.Length
	case chunk.Body != nil && chunk.Length < 0:
		size = -1
	}

	session.up.Expect(dst, size)
}

// saveDue saves what should not be lost with this process: in a bucket whatever a client
// is told is kept, even a client that has gone.
func (s *Store) saveDue(ctx context.Context, session *session) error {
	behind := session.up.Size() - session.noted.Load()
	if behind < noteEvery && !(s.remote && behind > 0) {
		return nil
	}

	return session.save(context.WithoutCancel(ctx))
}

// save keeps the hash state with the upload.
func (session *session) save(ctx context.Context) error {
	note, err := session.digester.note()
	if err != nil {
		return err
	}

	data, err := json.Marshal(note)
	if err != nil {
		return fmt.Errorf("save hash state: %w", err)
	}

	if err := session.up.Save(ctx, data); err != nil {
		return fmt.Errorf("save hash state: %w", err)
	}

	session.noted.Store(session.up.Size())

	return nil
}

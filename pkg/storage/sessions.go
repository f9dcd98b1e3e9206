package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// How many uploads that nobody uses at the moment are kept open, and how long.
const (
	maxIdleSessions = 256
	sessionIdle     = time.Minute
)

// sessions are the uploads that are open in this process. The truth of an upload is
// with the driver: one that is not here is resumed from there.
type sessions struct {
	driver     Driver
	durability *durability
	now        func() time.Time

	mu   sync.Mutex
	idle map[string]idleSession // by key
	busy map[string]*session    // by key; nil while it is being opened or closed
}

type idleSession struct {
	*session
	since time.Time
}

func newSessions(driver Driver, durability *durability, now func() time.Time) *sessions {
	return &sessions{
		driver: driver, durability: durability, now: now,
		idle: map[string]idleSession{}, busy: map[string]*session{},
	}
}

// acquire returns the upload at key; the caller alone uses it until release or
// forget. seen is how long the client was last told it is (-1 = unknown): if that was
// another replica's word, ours is out of date.
//
// Errors: ErrUploadUnknown, ErrUploadBusy.
func (s *sessions) acquire(ctx context.Context, key string, seen int64) (*session, error) {
	found, err := s.occupy(key)
	if err != nil {
		return nil, err
	}

	if found != nil && s.driver.Remote() && found.up.Size() != seen {
		if err := found.up.Close(); err != nil {
			s.free(key)

			return nil, fmt.Errorf("close upload: %w", err)
		}

		found = nil
	}

	if found != nil {
		return found, nil
	}

	if found, err = s.resume(ctx, key); err != nil {
		s.free(key)

		return nil, err
	}

	// What a client was told is kept is saved. If less is, the upload was ended elsewhere:
	// of one that is over nothing is left, as of one that was only begun.
	if s.driver.Remote() && found.up.Size() < seen {
		defer s.free(key)

		return nil, errors.Join(ErrUploadUnknown, found.up.Close())
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	s.busy[key] = found

	return found, nil
}

// occupy marks key as used, and returns its session if that is open.
func (s *sessions) occupy(key string) (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if _, busy := s.busy[key]; busy {
		return nil, ErrUploadBusy
	}

	found := s.idle[key].session
	s.busy[key] = found
	delete(s.idle, key)

	return found, nil
}

// sizeOf returns how long an upload is that someone is using: in a bucket how much of it
// is saved, since another process knows no more.
func (s *sessions) sizeOf(key string) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()

	session := s.busy[key]

	switch {
	case session == nil:
		return 0, false
	case s.driver.Remote():
		return session.noted.Load(), true
	}

	return session.size.Load(), true
}

// resume opens an upload that is not in memory.
func (s *sessions) resume(ctx context.Context, key string) (*session, error) {
	begun, err := s.epochOf(ctx, key)
	if err != nil {
		return nil, err
	}

	up, data, err := s.driver.ResumeUpload(ctx, key)
	if isNotExist(err) {
		return nil, ErrUploadUnknown
	}

	if err != nil {
		return nil, fmt.Errorf("resume upload: %w", err)
	}

	var note digesterNote
	if len(data) > 0 {
		if err := json.Unmarshal(data, &note); err != nil {
			note = digesterNote{} // hash from the start
		}
	}

	found := &session{
		key: key, up: up, digester: digesterFrom(note, up.Size()), epoch: begun,
	}
	found.noted.Store(note.Hashed)
	found.size.Store(up.Size())

	return found, nil
}

// epochOf returns the epoch in which the bytes of an upload were written. In a bucket
// there is only one.
//
// Errors: ErrUploadUnknown.
func (s *sessions) epochOf(ctx context.Context, key string) (epoch, error) {
	if s.driver.Remote() {
		return s.durability.present(), nil
	}

	info, err := s.driver.Stat(ctx, key)
	if isNotExist(err) {
		return 0, ErrUploadUnknown
	}

	if err != nil {
		return 0, fmt.Errorf("resume upload: %w", err)
	}

	return s.durability.epochOf(info.Modified), nil
}

func (s *sessions) free(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()

	delete(s.busy, key)
}

// release keeps the upload open for the next request, and closes the one that has
// waited for longest if too many are open.
func (s *sessions) release(ctx context.Context, session *session) error {
	if old := s.keep(session); old != nil {
		return s.close(ctx, old)
	}

	return nil
}

func (s *sessions) keep(session *session) (old *session) {
	s.mu.Lock()
	defer s.mu.Unlock()

	delete(s.busy, session.key)
	s.idle[session.key] = idleSession{session: session, since: s.now()}

	if len(s.idle) <= maxIdleSessions {
		return nil
	}

	oldest := session.key
	for key, idle := range s.idle {
		if idle.since.Before(s.idle[oldest].since) {
			oldest = key
		}
	}

	return s.take(oldest)
}

// take moves an idle upload to those in use, so that it can be closed. s.mu is held.
func (s *sessions) take(key string) *session {
	taken := s.idle[key].session
	delete(s.idle, key)
	s.busy[key] = nil

	return taken
}

// forget lets go of an upload that is over.
func (s *sessions) forget(session *session) error {
	defer s.free(session.key)

	return session.up.Close()
}

// drop ends an upload in a directory that nobody has used for long: one that was written to
// since it was found to be old, or asked for a moment ago, is in use.
func (s *sessions) drop(ctx context.Context, key string, isOld func(Info) bool) (dropped bool, err error) {
	found, ok := s.occupyUnused(key)
	if !ok {
		return false, nil
	}
	defer s.free(key)

	if found != nil {
		if err := s.shut(ctx, found); err != nil {
			return false, err
		}
	}

	info, err := s.driver.Stat(ctx, key)
	if isNotExist(err) || err == nil && !isOld(info) {
		return false, nil
	}

	if err == nil {
		err = s.driver.Delete(ctx, key)
	}

	if err != nil {
		return false, fmt.Errorf("drop upload: %w", err)
	}

	return true, nil
}

// occupyUnused marks key as used, unless it is, or was a moment ago. It returns its session if
// that is still open.
func (s *sessions) occupyUnused(key string) (found *session, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()

	idle, open := s.idle[key]
	if _, busy := s.busy[key]; busy || open && s.now().Sub(idle.since) < sessionIdle {
		return nil, false
	}

	return s.take(key), true
}

// closeIdle closes the uploads that nobody has used for a while. They can be resumed.
func (s *sessions) closeIdle(ctx context.Context, age time.Duration) error {
	var failed []error

	for _, session := range s.takeIdle(age) {
		failed = append(failed, s.close(ctx, session))
	}

	return errors.Join(failed...)
}

func (s *sessions) close(ctx context.Context, session *session) error {
	defer s.free(session.key)

	return s.shut(ctx, session)
}

// shut closes an upload so that it can be resumed.
func (s *sessions) shut(ctx context.Context, session *session) error {
	var err error
	if session.up.Size() > session.noted.Load() {
		err = session.save(ctx)
	}

	return errors.Join(err, session.up.Close())
}

func (s *sessions) takeIdle(age time.Duration) []*session {
	s.mu.Lock()
	defer s.mu.Unlock()

	var taken []*session

	for key, idle := range s.idle {
		if s.now().Sub(idle.since) >= age {
			taken = append(taken, s.take(key))
		}
	}

	return taken
}

package storage

import (
	"context"
	"errors"
	"sync"
	"time"
)

// sessions are the uploads that are open in this process. The truth of an upload is
// with the driver: one that is not here is resumed from there.
type sessions struct {
	driver Driver
	now    func() time.Time

	mu   sync.Mutex
	idle map[string]idleSession // by key
	busy map[string]bool
}

type idleSession struct {
	*session
	since time.Time
}

func newSessions(driver Driver, now func() time.Time) *sessions {
	return &sessions{driver: driver, now: now, idle: map[string]idleSession{}, busy: map[string]bool{}}
}

// acquire returns the upload at key; the caller alone uses it until release or
// forget.
//
// Errors: ErrUploadUnknown, ErrUploadBusy.
func (s *sessions) acquire(ctx context.Context, key string) (*session, error) {
	found, err := s.occupy(key)
	if found != nil || err != nil {
		return found, err
	}

	found, err = resume(ctx, s.driver, key)
	if err != nil {
		s.free(key)

		return nil, err
	}

	return found, nil
}

// occupy marks key as used, and returns its session if that is open.
func (s *sessions) occupy(key string) (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.busy[key] {
		return nil, ErrUploadBusy
	}

	s.busy[key] = true
	found := s.idle[key].session
	delete(s.idle, key)

	return found, nil
}

func (s *sessions) free(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()

	delete(s.busy, key)
}

// release keeps the upload open for the next request.
func (s *sessions) release(session *session) {
	s.mu.Lock()
	defer s.mu.Unlock()

	delete(s.busy, session.key)
	s.idle[session.key] = idleSession{session: session, since: s.now()}
}

// forget lets go of an upload that is over.
func (s *sessions) forget(session *session) error {
	defer s.free(session.key)

	return session.up.Close()
}

// closeIdle closes the uploads that nobody has used for a while. They can be resumed.
func (s *sessions) closeIdle(ctx context.Context, age time.Duration) error {
	var failed []error

	for _, session := range s.takeIdle(age) {
		if session.up.Size() > session.noted {
			failed = append(failed, session.save(ctx))
		}

		failed = append(failed, session.up.Close())
		s.free(session.key)
	}

	return errors.Join(failed...)
}

func (s *sessions) takeIdle(age time.Duration) []*session {
	s.mu.Lock()
	defer s.mu.Unlock()

	var taken []*session

	for key, idle := range s.idle {
		if s.now().Sub(idle.since) >= age {
			delete(s.idle, key)
			s.busy[key] = true
			taken = append(taken, idle.session)
		}
	}

	return taken
}

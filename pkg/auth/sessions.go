package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

const (
	// sessionLife is how long a session lasts at most, sessionIdle how long without a request.
	sessionLife = 7 * 24 * time.Hour
	sessionIdle = 12 * time.Hour

	// sessionNoted is how old what is known of the last request may be.
	sessionNoted = time.Hour

	// sessionRemember is how long a session is not looked up again: for so long other
	// replicas take one that was ended.
	sessionRemember = 10 * time.Second

	// sessionSweep is how many sessions that are over each new one removes.
	sessionSweep = 10

	// Where sessions are, and when they were used last. A note of the latter alone is no
	// session: a request that comes with the end of one does not bring it back.
	sessionNotes = "sessions/"
	useNotes     = "sessionuse/"

	// expiryDigits is how long the time of an end is, in hexadecimal seconds.
	expiryDigits = 10
)

// session is what is kept of one.
type session struct {
	User    string    `json:"user"`
	Groups  []string  `json:"groups,omitempty"` // those of the user when he logged in
	Created time.Time `json:"createdAt"`
}

// sessions are those of browsers. The value of a session is the time of its end and 256 random
// bits, of which only the SHA-256 is kept: there is nothing to guess. Its note's name begins
// with that time, so that those that are over are found without being read. Methods may be
// called concurrently.
type sessions struct {
	notes Notes
	known *remembered
	now   func() time.Time
}

func openSessions(notes Notes) *sessions {
	return &sessions{notes: notes, known: newRemembered(sessionRemember), now: time.Now}
}

func expiryText(t time.Time) string { return fmt.Sprintf("%0*x", expiryDigits, t.Unix()) }

// nameOf is the name of the note of a session, "" if there can be none.
func (s *sessions) nameOf(value string) string {
	wellFormed := len(value) == expiryDigits+2*sha256.Size && strings.Trim(value, "0123456789abcdef") == ""
	if !wellFormed || s.over(value) {
		return ""
	}

	return value[:expiryDigits] + hashHex(value)
}

// over says whether the time is over that a value, or a note's name, begins with.
func (s *sessions) over(value string) bool { return value < expiryText(s.now().Add(time.Second)) }

// create begins a session, and returns its value.
func (s *sessions) create(ctx context.Context, user User) (string, error) {
	if err := s.sweep(ctx); err != nil {
		return "", fmt.Errorf("begin session: %w", err)
	}

	now := s.now()
	value := expiryText(now.Add(sessionLife)) + randomHex()

	data, err := json.Marshal(session{User: user.Name, Groups: user.Groups, Created: now.UTC()})
	if err != nil {
		return "", fmt.Errorf("begin session: %w", err)
	}

	if err := s.notes.PutNote(ctx, sessionNotes+s.nameOf(value), data); err != nil {
		return "", fmt.Errorf("begin session: %w", err)
	}

	return value, nil
}

// user returns whose session it is.
//
// Errors: errWrong, ErrUnavailable.
func (s *sessions) user(ctx context.Context, value string) (User, error) {
	name := s.nameOf(value)
	if name == "" {
		return User{}, errWrong
	}

	mark, now := s.known.mark("", name), s.now()
	if user, ok := s.known.get(mark, now); ok {
		return user, nil
	}

	user, err := s.lookUp(ctx, name)
	if err != nil {
		if !errors.Is(err, errWrong) {
			err = fmt.Errorf("%w: session: %w", ErrUnavailable, err)
		}

		return User{}, err
	}

	s.known.add(mark, user, now)

	return user, nil
}

// lookUp reads a session, and notes that it is used.
//
// Errors: errWrong.
func (s *sessions) lookUp(ctx context.Context, name string) (User, error) {
	data, err := s.notes.ReadNote(ctx, sessionNotes+name)
	if errors.Is(err, fs.ErrNotExist) {
		return User{}, errWrong
	}

	if err != nil {
		return User{}, err
	}

	var found session
	if err := json.Unmarshal(data, &found); err != nil {
		return User{}, fmt.Errorf("note %s: %w", name, err)
	}

	used, err := s.lastUse(ctx, name, found.Created)
	if err != nil {
		return User{}, err
	}

	idle := s.now().Sub(used)
	if idle >= sessionIdle {
		if err := s.remove(ctx, name); err != nil {
			return User{}, err
		}

		return User{}, errWrong
	}

	if idle >= sessionNoted {
		if err := s.notes.PutNote(ctx, useNotes+name, []byte(s.now().UTC().Format(time.RFC3339))); err != nil {
			return User{}, err
		}
	}

	return User{Name: found.User, Groups: found.Groups}, nil
}

func (s *sessions) lastUse(ctx context.Context, name string, created time.Time) (time.Time, error) {
	data, err := s.notes.ReadNote(ctx, useNotes+name)
	if errors.Is(err, fs.ErrNotExist) {
		return created, nil
	}

	if err != nil {
		return time.Time{}, err
	}

	return time.Parse(time.RFC3339, string(data))
}

// end ends a session, if there is one.
func (s *sessions) end(ctx context.Context, value string) error {
	name := s.nameOf(value)
	if name == "" {
		return nil
	}

	if err := s.remove(ctx, name); err != nil {
		return fmt.Errorf("end session: %w", err)
	}

	s.known.forget(s.known.mark("", name))

	return nil
}

// remove removes the session first: without it the other note means nothing.
func (s *sessions) remove(ctx context.Context, name string) error {
	if err := s.notes.DeleteNote(ctx, sessionNotes+name); err != nil {
		return err
	}

	return s.notes.DeleteNote(ctx, useNotes+name)
}

// sweep removes some sessions that are over: more than one for each that begins, so that
// they do not become more and more.
func (s *sessions) sweep(ctx context.Context) error {
	for _, prefix := range []string{sessionNotes, useNotes} {
		over, err := s.firstOver(ctx, prefix)
		if err != nil {
			return err
		}

		for _, name := range over {
			if err := s.remove(ctx, name); err != nil {
				return err
			}
		}
	}

	return nil
}

// firstOver lists sessions that are over, which are the first by name.
func (s *sessions) firstOver(ctx context.Context, prefix string) ([]string, error) {
	var over []string

	for note, err := range s.notes.ListNotes(ctx, prefix) {
		if err != nil {
			return nil, err
		}

		name := strings.TrimPrefix(note, prefix)
		if len(over) == sessionSweep || !s.over(name) {
			break
		}

		over = append(over, name)
	}

	return over, nil
}

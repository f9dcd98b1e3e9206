package auth

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestSessions(t *testing.T) {
	ctx, notes, now := t.Context(), &memoryNotes{all: map[string][]byte{}}, time.Now()

	open := func() *sessions {
		s := openSessions(notes)
		s.now = func() time.Time { return now }

		return s
	}

	one, other := open(), open()
	ann := User{Name: "ann", Groups: []string{"dev"}}

	begin := func() string {
		value, err := one.create(ctx, ann)

		return must(t, value, err)
	}

	is := func(s *sessions, value string, want error) {
		t.Helper()

		user, err := s.user(ctx, value)
		if !errors.Is(err, want) || want == nil && (user.Name != "ann" || user.Groups[0] != "dev") {
			t.Errorf("%v, %v, not %v", user, err, want)
		}
	}

	value := begin()
	is(one, value, nil)
	is(other, value, nil)

	for name := range notes.all {
		if strings.Contains(name, value[expiryDigits:]) {
			t.Error("the session is kept as it is")
		}
	}

	for _, forged := range []string{
		"", "x", value[1:], value + "0", "0" + value, "f" + value[1:], value[:len(value)-1] + "/", strings.ToUpper(value),
		value[:expiryDigits] + strings.Repeat("0", len(value)-expiryDigits),
	} {
		is(one, forged, errWrong)
	}

	must(t, value, one.end(ctx, value))
	is(one, value, errWrong)
	is(other, value, nil) // remembered

	now = now.Add(sessionRemember)
	is(other, value, errWrong)

	// It lasts while it is used, and a week at most.
	value = begin()
	for range 15 {
		now = now.Add(sessionIdle - time.Hour)
		is(one, value, nil)
	}

	now = now.Add(4 * time.Hour) // 169 hours
	is(one, value, errWrong)

	idle := begin()
	now = now.Add(sessionIdle)
	is(one, idle, errWrong)
	is(open(), idle, errWrong)

	// Those that are over are removed by those that begin.
	for range 3 * sessionSweep {
		begin()
	}

	now = now.Add(sessionLife)
	for range 5 {
		value = begin()
	}

	equal(t, len(notes.all), 5, "notes")
	is(one, value, nil)

	notes.fail = errors.New("no disk")
	is(open(), value, ErrUnavailable)
}

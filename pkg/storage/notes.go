package storage

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"strings"
)

// maxNote is how long a note may be, in bytes.
const maxNote = 64 << 10

// Notes keeps small things for those above beside the images, and as durably: API keys, by
// names that they choose, of a-z, 0-9 and slashes. All processes that serve the same root
// or bucket have the same. Methods may be called concurrently.
type Notes interface {
	// PutNote keeps a note, in place of one that is there.
	PutNote(ctx context.Context, name string, body []byte) error

	// ReadNote returns a note.
	//
	// Errors: fs.ErrNotExist.
	ReadNote(ctx context.Context, name string) ([]byte, error)

	// ListNotes yields the names that start with prefix, which ends in a slash.
	ListNotes(ctx context.Context, prefix string) iter.Seq2[string, error]

	// DeleteNote removes a note. Removing one that is not there is no error.
	DeleteNote(ctx context.Context, name string) error
}

func noteKey(name string) (string, error) {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789/"

	if name == "" || strings.Trim(name, letters) != "" || strings.Contains("/"+name, "//") {
		return "", fmt.Errorf("%q is no name of a note", name)
	}

	return notesPrefix + name, nil
}

// PutNote implements Notes.
func (s *Store) PutNote(ctx context.Context, name string, body []byte) error {
	key, err := noteKey(name)
	if err != nil {
		return err
	}

	if len(body) > maxNote {
		return fmt.Errorf("a note of %d bytes is too long", len(body))
	}

	if _, err := s.driver.Put(ctx, key, body); err != nil {
		return fmt.Errorf("write note: %w", err)
	}

	return s.flushNotes(ctx)
}

// ReadNote implements Notes.
func (s *Store) ReadNote(ctx context.Context, name string) ([]byte, error) {
	key, err := noteKey(name)
	if err != nil {
		return nil, err
	}

	if strings.HasSuffix(name, "/") {
		return nil, fmt.Errorf("read note: %w", fs.ErrNotExist)
	}

	data, err := readObject(ctx, s.driver, key, maxNote)
	if err != nil {
		return nil, fmt.Errorf("read note: %w", err)
	}

	return data, nil
}

// ListNotes implements Notes.
func (s *Store) ListNotes(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		key, err := noteKey(prefix)
		if err != nil {
			yield("", err)

			return
		}

		for info, err := range s.driver.List(ctx, key, "") {
			if err != nil {
				yield("", fmt.Errorf("list notes: %w", err))

				return
			}

			if !yield(strings.TrimPrefix(info.Key, notesPrefix), nil) {
				return
			}
		}
	}
}

// DeleteNote implements Notes.
func (s *Store) DeleteNote(ctx context.Context, name string) error {
	key, err := noteKey(name)
	if err != nil {
		return err
	}

	if err := s.driver.Delete(ctx, key); err != nil {
		return fmt.Errorf("delete note: %w", err)
	}

	return s.flushNotes(ctx)
}

// flushNotes makes durable what was written or deleted: a key that was revoked does not
// come back.
func (s *Store) flushNotes(ctx context.Context) error {
	if err := s.durability.flush(ctx); err != nil {
		return fmt.Errorf("write note: %w", err)
	}

	return nil
}

// PutNote implements Notes: they are in the default store.
func (s *Stores) PutNote(ctx context.Context, name string, body []byte) error {
	return s.standard.PutNote(ctx, name, body)
}

// ReadNote implements Notes.
func (s *Stores) ReadNote(ctx context.Context, name string) ([]byte, error) {
	return s.standard.ReadNote(ctx, name)
}

// ListNotes implements Notes.
func (s *Stores) ListNotes(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return s.standard.ListNotes(ctx, prefix)
}

// DeleteNote implements Notes.
func (s *Stores) DeleteNote(ctx context.Context, name string) error {
	return s.standard.DeleteNote(ctx, name)
}

package storagetest

import (
	"io/fs"
	"strings"

	"zotregistry.io/zot/pkg/storage"
)

func testNotes(w *World) {
	notes := storage.NewStores(w.Store, nil)

	for _, note := range []struct{ name, body string }{{"a/x", "one"}, {"a/y", ""}, {"b/x", "three"}, {"a/x", "two"}} {
		w.NoError(notes.PutNote(w.T.Context(), note.name, []byte(note.body)), "write a note")
		w.Equal(w.note(notes, note.name), note.body, "the note is what was written")
	}

	w.Equal(w.notes(notes, "a/"), "a/x a/y", "notes by prefix, in order")
	w.Equal(w.notes(notes, "none/"), "", "a prefix of none")

	w.NoError(notes.DeleteNote(w.T.Context(), "a/x"), "delete a note")
	w.NoError(notes.DeleteNote(w.T.Context(), "a/x"), "delete it again")
	w.Equal(w.notes(notes, "a/"), "a/y", "notes then")

	for _, name := range []string{"a/x", "a", "a/", "none/x"} {
		_, err := notes.ReadNote(w.T.Context(), name)
		w.Is(err, fs.ErrNotExist, "read "+name)
	}

	for _, name := range []string{"", "/a", "a//b", "..", "a/../b", "A", "a\x00", "a.json", "a b"} {
		w.True(notes.PutNote(w.T.Context(), name, nil) != nil, "no name of a note: "+name)
	}

	w.True(notes.PutNote(w.T.Context(), "long", []byte(strings.Repeat("x", 64<<10+1))) != nil, "a note has a bound")

	w.Equal(w.Repos("", -1), "", "notes are no repositories")

	report, err := w.Store.Check(w.T.Context(), storage.CheckOptions{}, func(storage.CheckProgress) {})
	w.NoError(err, "check the store")
	w.Equal(len(report.Findings), 0, "nothing is said about notes")
}

func (w *World) note(notes storage.Notes, name string) string {
	w.T.Helper()

	body, err := notes.ReadNote(w.T.Context(), name)
	w.NoError(err, "read note "+name)

	return string(body)
}

func (w *World) notes(notes storage.Notes, prefix string) string {
	w.T.Helper()

	var names []string

	for name, err := range notes.ListNotes(w.T.Context(), prefix) {
		w.NoError(err, "list notes")

		names = append(names, name)
	}

	return strings.Join(names, " ")
}

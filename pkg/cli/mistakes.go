package cli

import (
	"cmp"
	"slices"
	"strings"
)

// Mistake is something wrong in a configuration file.
type Mistake struct {
	Path    string // of the key, as http.auth.htpasswd.path or storage.subPaths[/a].gc; "" = the file
	Problem string // what is wrong
	Remedy  string // what to do about it
}

// String is one line for a person.
func (m Mistake) String() string { return oneLine(m.Path, m.Problem+"; "+m.Remedy) }

// Mistakes is all that is wrong in a configuration file, in the order of paths. It
// is never an error while it is empty.
type Mistakes []Mistake //nolint:errname // a list of mistakes, which is an error only if there are any

// Error is a line for each mistake.
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i, mistake := range m {
		lines[i] = mistake.String()
	}

	return strings.Join(lines, "\n")
}

// add adds a mistake, unless one is known of the same key.
func (m *Mistakes) add(mistake Mistake) {
	for _, known := range *m {
		if known.Path == mistake.Path {
			return
		}
	}

	*m = append(*m, mistake)
}

// cover says whether one of the mistakes is of the key at path, or of an object that
// holds it.
func (m Mistakes) cover(path string) bool {
	return slices.ContainsFunc(m, func(known Mistake) bool { return within(path, known.Path) })
}

// err returns the mistakes as an error, nil if there are none.
func (m Mistakes) err() error {
	if len(m) == 0 {
		return nil
	}

	slices.SortStableFunc(m, func(a, b Mistake) int { return cmp.Compare(a.Path, b.Path) })

	return m
}

// within says whether path is that of parent, or of something in it.
func within(path, parent string) bool {
	rest, ok := strings.CutPrefix(path, parent)

	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// Warning is something in a configuration file that is not as it says, but safe to
// go on with.
type Warning struct {
	Path string
	Text string
}

// String is one line for a person.
func (w Warning) String() string { return oneLine(w.Path, w.Text) }

// oneLine is text about the key at path. Both may hold what a user wrote.
func oneLine(path, text string) string {
	if path != "" {
		text = path + ": " + text
	}

	return strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(text)
}

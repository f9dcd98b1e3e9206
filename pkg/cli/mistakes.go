package cli

import (
	"cmp"
	"fmt"
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

// Error is the lines for a person.
func (m Mistakes) Error() string { return strings.Join(m.lines(), "\n") }

// lines returns a line for each mistake. A file that is something else altogether may
// have a hundred thousand: of those the first maxLines, and how many more there are.
func (m Mistakes) lines() []string {
	const maxLines = 50

	shown := m[:min(len(m), maxLines)]
	lines := make([]string, 0, len(shown)+1)

	for _, mistake := range shown {
		lines = append(lines, mistake.String())
	}

	if more := len(m) - len(shown); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}

	return lines
}

// err returns the mistakes as an error, nil if there are none.
func (m Mistakes) err() error {
	if len(m) == 0 {
		return nil
	}

	slices.SortStableFunc(m, func(a, b Mistake) int { return cmp.Compare(a.Path, b.Path) })

	return m
}

// findings collects mistakes, at most one of each key. It is made by newFindings.
type findings struct {
	list  Mistakes
	paths map[string]bool // of those in list
}

func newFindings(mistakes ...Mistake) findings {
	f := findings{paths: map[string]bool{}}
	for _, mistake := range mistakes {
		f.add(mistake)
	}

	return f
}

// add adds a mistake, unless one is known of the same key.
func (f *findings) add(mistake Mistake) {
	if f.paths[mistake.Path] {
		return
	}

	f.paths[mistake.Path] = true
	f.list = append(f.list, mistake)
}

// cover says whether one of the mistakes is of the key at path, or of an object that
// holds it.
func (f *findings) cover(path string) bool {
	for end, char := range path {
		if (char == '.' || char == '[') && f.paths[path[:end]] {
			return true
		}
	}

	return f.paths[path]
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

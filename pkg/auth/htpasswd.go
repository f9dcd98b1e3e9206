package auth

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// htpasswd knows users by a file of hashes. It is read once. Methods may be called
// concurrently.
type htpasswd struct {
	hashes map[string]passwordHash // by user
	decoys decoys
	known  *remembered   // passwords that were right a moment ago
	turns  chan struct{} // one for each hash that may be computed
}

// openHTPasswd reads path.
func openHTPasswd(path string) (*htpasswd, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("http.auth.htpasswd.path: %w", err)
	}

	if len(bytes.TrimSpace(data)) == 0 { // about to be written, perhaps
		return nil, fmt.Errorf("http.auth.htpasswd.path: %s: is empty; one without users says so in a line that begins with #", path)
	}

	hashes, err := parseHTPasswd(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("http.auth.htpasswd.path: %s: %w", path, err)
	}

	return &htpasswd{
		hashes: hashes,
		decoys: newDecoys(hashes, sha256.Sum256(data)),
		known:  newRemembered(rememberFor),
		turns:  make(chan struct{}, runtime.GOMAXPROCS(0)),
	}, nil
}

// parseHTPasswd reads lines of "user:hash". Empty lines and those that begin with #
// are skipped.
func parseHTPasswd(r io.Reader) (map[string]passwordHash, error) {
	hashes := map[string]passwordHash{}
	lines := bufio.NewScanner(r)

	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}

		user, hash, err := parseEntry(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}

		if _, twice := hashes[user]; twice {
			return nil, fmt.Errorf("line %d: user %q is there twice", number, user)
		}

		hashes[user] = hash
	}

	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read lines: %w", err)
	}

	return hashes, nil
}

func parseEntry(line string) (string, passwordHash, error) {
	user, text, found := strings.Cut(line, ":")
	if user == "" || !found { // the line is not shown: it may be a password
		return "", nil, errors.New("not of the form user:hash")
	}

	hash, err := parseHash(text)
	if err != nil {
		return "", nil, fmt.Errorf("the hash of user %q is %w; htpasswd -B makes one", user, err)
	}

	return user, hash, nil
}

// decoys are computed for users that are not there, so that these take as long.
type decoys struct {
	hashes []passwordHash
	key    [sha256.Size]byte // of the file, so that a user's decoy stays the same
}

func newDecoys(hashes map[string]passwordHash, key [sha256.Size]byte) decoys {
	var users []string
	for user := range hashes {
		users = append(users, user)
	}

	slices.Sort(users)

	d := decoys{key: key}
	for _, user := range users {
		d.hashes = append(d.hashes, hashes[user])
	}

	return d
}

// of chooses among all hashes of the file: where they take different times, users that
// are not there do so as well.
func (d decoys) of(user string) passwordHash {
	if len(d.hashes) == 0 {
		return func(string) bool { return false }
	}

	sum := sha256.Sum256(append(d.key[:], user...))

	return d.hashes[binary.BigEndian.Uint64(sum[:])%uint64(len(d.hashes))]
}

// check implements directory. What was right a moment ago is not computed again; a user
// that is not there takes as long as one that is.
func (h *htpasswd) check(ctx context.Context, l login) (User, error) {
	mark := h.known.mark(l.user, l.password)
	if user, ok := h.known.get(mark, time.Now()); ok {
		return user, nil
	}

	select {
	case h.turns <- struct{}{}:
		defer func() { <-h.turns }()
	case <-ctx.Done():
		return User{}, ctx.Err()
	}

	// Another request of the same client may have been first.
	if user, ok := h.known.get(mark, time.Now()); ok {
		return user, nil
	}

	if err := l.allowed(); err != nil {
		return User{}, err
	}

	hash, there := h.hashes[l.user]
	if !there {
		hash = h.decoys.of(l.user)
	}

	if right := hash(l.password); !right || !there {
		return User{}, errWrong
	}

	user := User{Name: l.user}
	h.known.add(mark, user, time.Now())

	return user, nil
}

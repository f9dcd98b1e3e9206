package auth

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// htpasswd knows users by a file of bcrypt hashes. It is read once. Methods may be
// called concurrently.
type htpasswd struct {
	hashes    map[string][]byte // by user
	decoy     []byte            // the dearest of them, for users that are not there
	realm     string
	failDelay time.Duration

	key    []byte        // of this process, for known
	known  *remembered   // passwords that were right a moment ago
	turns  chan struct{} // one for each bcrypt that may run
	verify func(hash, password []byte) error
}

// openHTPasswd reads path. A failed login is answered after failDelay.
func openHTPasswd(path, realm string, failDelay time.Duration) (*htpasswd, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("http.auth.htpasswd: %w", err)
	}

	hashes, err := parseHTPasswd(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("http.auth.htpasswd: %s, %w", path, err)
	}

	key := make([]byte, sha256.Size)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("http.auth.htpasswd: %w", err)
	}

	return &htpasswd{
		hashes:    hashes,
		decoy:     dearest(hashes),
		realm:     realm,
		failDelay: failDelay,
		key:       key,
		known:     newRemembered(),
		turns:     make(chan struct{}, runtime.GOMAXPROCS(0)),
		verify:    bcrypt.CompareHashAndPassword,
	}, nil
}

// parseHTPasswd reads lines of "user:hash". Empty lines and those that begin with #
// are skipped.
func parseHTPasswd(r io.Reader) (map[string][]byte, error) {
	hashes := map[string][]byte{}
	lines := bufio.NewScanner(r)

	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}

		user, hash, _ := strings.Cut(line, ":")
		if err := checkEntry(user, hash); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}

		if _, twice := hashes[user]; twice {
			return nil, fmt.Errorf("line %d: user %q is there twice", number, user)
		}

		hashes[user] = []byte(hash)
	}

	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read lines: %w", err)
	}

	return hashes, nil
}

// checkEntry says what is wrong with a line. The hash is not repeated: it is secret.
func checkEntry(user, hash string) error {
	if user == "" {
		return errors.New("not of the form user:hash")
	}

	if _, err := bcrypt.Cost([]byte(hash)); err != nil {
		return fmt.Errorf("user %q has no bcrypt hash, which htpasswd -B makes: %w", user, err)
	}

	return nil
}

// dearest is the hash that takes longest to check, nil if there is none.
func dearest(hashes map[string][]byte) []byte {
	var (
		found []byte
		most  int
	)

	for _, hash := range hashes {
		if cost, err := bcrypt.Cost(hash); err == nil && cost > most {
			found, most = hash, cost
		}
	}

	return found
}

// Challenge implements Way.
func (h *htpasswd) Challenge() string { return basicChallenge(h.realm) }

// User implements Way.
func (h *htpasswd) User(r *http.Request) (User, error) {
	user, password, ok := r.BasicAuth()
	if !ok {
		return User{}, errNotMine
	}

	right, err := h.check(r.Context(), user, password)
	if err != nil {
		return User{}, err
	}

	if right {
		return User{Name: user}, nil
	}

	if err := pause(r.Context(), h.failDelay); err != nil {
		return User{}, err
	}

	return User{}, fmt.Errorf("%w: wrong name or password", ErrUnauthorized)
}

// pause waits, or until the client is gone.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}

	timer := time.NewTimer(d)
	defer timer.Stop()

	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// check compares a password. What was right a moment ago is not computed again; a
// user that is not there takes as long as one that is.
func (h *htpasswd) check(ctx context.Context, user, password string) (bool, error) {
	hash, there := h.hashes[user]
	if !there {
		hash = h.decoy
	}

	mark := h.mark(user, password)
	if there && h.known.has(mark, time.Now()) {
		return true, nil
	}

	select {
	case h.turns <- struct{}{}:
		defer func() { <-h.turns }()
	case <-ctx.Done():
		return false, ctx.Err()
	}

	// Another request of the same client may have been first.
	if there && h.known.has(mark, time.Now()) {
		return true, nil
	}

	if err := h.verify(hash, []byte(password)); err != nil || !there {
		return false, nil // the error says that the password is wrong
	}

	h.known.add(mark, time.Now())

	return true, nil
}

// mark stands for a name and a password, and tells nothing about them outside this
// process.
func (h *htpasswd) mark(user, password string) passwordMark {
	mac := hmac.New(sha256.New, h.key)
	mac.Write([]byte(strconv.Itoa(len(user)) + ":" + user + password))

	return passwordMark(mac.Sum(nil))
}

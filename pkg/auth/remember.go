package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// rememberFor is how long a password that was right is not computed again.
	rememberFor = 5 * time.Minute

	// rememberMost bounds how many are remembered.
	rememberMost = 4096
)

// passwordMark is a keyed hash of a name and a password.
type passwordMark [sha256.Size]byte

// remembered are passwords that were right a moment ago. bcrypt takes tens of
// milliseconds by design, and a push is hundreds of requests.
type remembered struct {
	mu    sync.Mutex // guards until
	until map[passwordMark]time.Time
}

func newRemembered() *remembered { return &remembered{until: map[passwordMark]time.Time{}} }

func (m *remembered) has(mark passwordMark, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()

	return now.Before(m.until[mark])
}

func (m *remembered) add(mark passwordMark, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()

	if len(m.until) >= rememberMost {
		m.makeRoom(now)
	}

	m.until[mark] = now.Add(rememberFor)
}

// makeRoom forgets what has expired; if that is not a quarter of all, anything else: it
// is computed again. A quarter, so that the next ones need not look.
func (m *remembered) makeRoom(now time.Time) {
	for mark, until := range m.until {
		if !now.Before(until) {
			delete(m.until, mark)
		}
	}

	for mark := range m.until {
		if len(m.until) <= rememberMost*3/4 {
			return
		}

		delete(m.until, mark)
	}
}

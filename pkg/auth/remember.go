package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"strconv"
	"sync"
	"time"
)

const (
	// rememberFor is how long a password that was right is not checked again.
	rememberFor = 5 * time.Minute

	// rememberMost bounds how many are remembered.
	rememberMost = 4096
)

// passwordMark is the hash of a key, a name and a password. It tells nothing about them where
// the key is not known, and never leaves this process.
type passwordMark [sha256.Size]byte

// remembered are passwords that were right a moment ago. To check one takes tens of
// milliseconds by design, and a push is hundreds of requests.
type remembered struct {
	life  time.Duration // how long one is remembered
	key   string        // of this process
	mu    sync.Mutex    // guards users
	users map[passwordMark]rememberedUser
}

type rememberedUser struct {
	User

	until time.Time
}

func newRemembered(life time.Duration) *remembered {
	return &remembered{life: life, key: rand.Text(), users: map[passwordMark]rememberedUser{}}
}

func (m *remembered) mark(user, password string) passwordMark {
	var room [128]byte // on the stack, for all but the longest

	text := append(room[:0], m.key...)
	text = strconv.AppendInt(text, int64(len(user)), 10)
	text = append(text, ':')
	text = append(append(text, user...), password...)

	return sha256.Sum256(text)
}

func (m *remembered) get(mark passwordMark, now time.Time) (User, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()

	user, ok := m.users[mark]

	return user.User, ok && now.Before(user.until)
}

func (m *remembered) add(mark passwordMark, user User, now time.Time) {
	m.addUntil(mark, user, now, now.Add(m.life))
}

func (m *remembered) addUntil(mark passwordMark, user User, now, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()

	if len(m.users) >= rememberMost {
		m.makeRoom(now)
	}

	m.users[mark] = rememberedUser{User: user, until: until}
}

func (m *remembered) forget(mark passwordMark) {
	m.mu.Lock()
	defer m.mu.Unlock()

	delete(m.users, mark)
}

// makeRoom forgets what has expired; if that is not a quarter of all, anything else: it
// is checked again. A quarter, so that the next ones need not look.
func (m *remembered) makeRoom(now time.Time) {
	for mark, user := range m.users {
		if !now.Before(user.until) {
			delete(m.users, mark)
		}
	}

	for mark := range m.users {
		if len(m.users) <= rememberMost*3/4 {
			return
		}

		delete(m.users, mark)
	}
}

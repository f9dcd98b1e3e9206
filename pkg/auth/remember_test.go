package auth

import (
	"testing"
	"time"
)

func TestRememberedIsBounded(t *testing.T) {
	m, now := newRemembered(rememberFor), time.Now()

	for i := range 3 * rememberMost {
		mark := passwordMark{byte(i), byte(i >> 8), byte(i >> 16)}
		m.add(mark, User{Name: "ann"}, now)

		if user, ok := m.get(mark, now); !ok || user.Name != "ann" || len(m.users) > rememberMost {
			t.Fatalf("entry %d is there: %v, of %d", i, ok, len(m.users))
		}
	}

	m.makeRoom(now.Add(rememberFor))
	equal(t, len(m.users), 0, "what has expired goes first")
}

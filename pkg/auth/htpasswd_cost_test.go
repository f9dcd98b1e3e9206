package auth

import (
	"errors"
	"fmt"
	"testing"
)

// TestHashesPerLogin: whoever somebody asks for, one hash is computed, and of users that are not
// there the same one each time: neither tells them from those that are. Where a file has hashes of
// different kinds, they are among all of them.
func TestHashesPerLogin(t *testing.T) {
	counts := map[string]int{}
	counted := func(kind string) passwordHash {
		return func(string) bool {
			counts[kind]++

			return false
		}
	}

	hashes := map[string]passwordHash{"ann": counted("bcrypt"), "bob": counted("sha512"), "cid": counted("bcrypt"), "dan": counted("sha256")}
	file := &htpasswd{hashes: hashes, decoys: newDecoys(hashes, [32]byte{1}), known: newRemembered(rememberFor), turns: make(chan struct{}, 1)}

	check := func(user string) string {
		t.Helper()
		clear(counts)

		for range 3 {
			_, err := file.check(t.Context(), login{user: user, password: "wrong", allowed: func() error { return nil }})
			if !errors.Is(err, errWrong) {
				t.Fatalf("%s: %v", user, err)
			}
		}

		for kind, n := range counts {
			if len(counts) == 1 && n == 3 {
				return kind
			}
		}

		t.Errorf("%s: three logins took %v", user, counts)

		return ""
	}

	for user := range hashes {
		check(user)
	}

	kinds := map[string]int{}
	for n := range 400 {
		kinds[check(fmt.Sprint("nobody", n))]++
	}

	// Half of the users have bcrypt, a quarter each of the others.
	for kind, share := range map[string]int{"bcrypt": 200, "sha256": 100, "sha512": 100} {
		if kinds[kind] < share/2 || kinds[kind] > 2*share {
			t.Errorf("of 400 users that are not there %d have %s, of as many that are it would be %d", kinds[kind], kind, share)
		}
	}
}

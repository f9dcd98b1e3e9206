package rounds_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"zotregistry.io/zot/internal/rounds"
)

func TestRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun atomic.Int64

		broken := errors.New("broken")
		gate := make(chan error)
		r := &rounds.Rounds{Work: func(context.Context) error {
			begun.Add(1)

			return <-gate
		}}

		answers := make(chan error, 8)
		ask := func(n int) {
			for range n {
				go func() { answers <- r.Ask(t.Context()) }()
			}

			synctest.Wait()
		}

		ask(1)
		ask(5) // they come too late for the first, and share the second

		leaving, leave := context.WithCancel(t.Context())
		gone := make(chan error)

		go func() { gone <- r.Ask(leaving) }()

		synctest.Wait()
		leave()

		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("one that stops waiting gets %v", err)
		}

		gate <- nil
		gate <- broken
		synctest.Wait()

		failed := 0

		for range 6 {
			if err := <-answers; errors.Is(err, broken) {
				failed++
			}
		}

		if begun.Load() != 2 || failed != 5 {
			t.Errorf("%d rounds, %d of 6 got the second", begun.Load(), failed)
		}
	})
}

package pause

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithTimeout(t.Context(), time.Minute)
		defer end()

		begun := time.Now()

		if err := For(ctx, 10*time.Second); err != nil || time.Since(begun) != 10*time.Second {
			t.Errorf("10s: %v after %s", err, time.Since(begun))
		}

		if err := For(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Minute {
			t.Errorf("an hour, of which a minute is left: %v after %s", err, time.Since(begun))
		}

		if err := For(ctx, 0); err != nil || time.Since(begun) != time.Minute {
			t.Errorf("nothing: %v after %s", err, time.Since(begun))
		}
	})
}

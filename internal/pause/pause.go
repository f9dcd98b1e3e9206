// Package pause waits, but no longer than somebody wants it to.
package pause

import (
	"context"
	"time"
)

// For returns after d, at once if that is not positive, or with the error of ctx when that ends
// before.
func For(ctx context.Context, d time.Duration) error {
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

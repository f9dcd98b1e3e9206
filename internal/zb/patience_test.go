package zb

import (
	"testing"
	"time"
)

func TestPatience(t *testing.T) {
	const timeout = time.Hour

	p := &patience{timeout: timeout}
	defer p.end()

	begun := time.Now()
	first := p.of(t.Context(), begun)

	for _, row := range []struct {
		after time.Duration
		same  bool
	}{{0, true}, {timeout / 16, true}, {timeout/16 + 1, false}, {timeout, false}} {
		now := begun.Add(row.after)
		ctx := p.of(t.Context(), now)

		if same := ctx == first; same != row.same {
			t.Errorf("after %s: the same is %t", row.after, same)
		}

		if deadline, ok := ctx.Deadline(); !ok || deadline.Sub(now) < timeout || deadline.Sub(now) > timeout/16*17 {
			t.Errorf("after %s: ends in %s", row.after, deadline.Sub(now))
		}
	}

	if first.Err() == nil {
		t.Error("what is not used any more goes on")
	}

	p.end()

	if ctx := p.of(t.Context(), begun.Add(timeout)); ctx.Err() != nil {
		t.Errorf("after an end: %v", ctx.Err())
	}

	none := &patience{}
	if ctx := none.of(t.Context(), begun); ctx != t.Context() {
		t.Error("without a timeout")
	}
}

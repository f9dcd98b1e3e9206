package s3

import (
	"context"
	"fmt"
	"sync"
	"time"

	"zotregistry.io/zot/pkg/storage"
)

// layout is a way to keep blobs. Nearly every bucket has one only, and it would be a pity
// to look for each blob in both: an object per layout says whether it was ever used.
type layout string

const (
	poolLayout layout = "pool" // with dedupe
	ownLayout  layout = "own"  // without
)

// layoutPrefix is what the keys of those objects start with.
const layoutPrefix = privatePrefix + "layouts/"

// layouts knows which layouts a bucket has. A process writes its object, and waits, before
// it keeps its first blob; every other one looks again after less than that.
type layouts struct {
	b *Bucket

	mu   sync.Mutex // held while looking: whoever comes meanwhile wants the same answer
	used map[layout]bool
	asOf time.Time
}

// lookEvery is how old what is known of layouts may be.
const lookEvery = storage.Staleness

// has says whether the bucket has blobs in a layout.
func (l *layouts) has(ctx context.Context, which layout) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	if !l.used[which] && !l.b.within(l.asOf, lookEvery) {
		if err := l.look(ctx); err != nil {
			return false, err
		}
	}

	return l.used[which], nil
}

// look is called with mu held.
func (l *layouts) look(ctx context.Context) error {
	sent := l.b.opts.Now()
	used := map[layout]bool{}

	for object, err := range l.b.client.list(ctx, layoutPrefix, "", 0) {
		if err != nil {
			return err
		}

		used[layout(object.key[len(layoutPrefix):])] = true
	}

	l.used, l.asOf = used, sent

	return nil
}

// use makes sure that every process knows of a layout, before this one uses it. In a
// bucket that is new nobody needs to be waited for.
func (l *layouts) use(ctx context.Context, which layout) error {
	l.mu.Lock()
	defer l.mu.Unlock()

	if err := l.look(ctx); err != nil || l.used[which] {
		return err
	}

	others := len(l.used) > 0

	if _, err := l.b.client.putOnce(ctx, layoutPrefix+string(which), nil, condition{}); err != nil {
		return err
	}

	l.used[which] = true

	if !others {
		return nil
	}

	l.b.opts.Log.Info().Str("layout", string(which)).Msg("blobs will be kept in another way than before; waiting until all replicas know")

	select {
	case <-time.After(lookEvery + time.Second):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for other replicas: %w", ctx.Err())
	}
}

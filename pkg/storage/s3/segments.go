package s3

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/pkg/storage"
)

// The head is written by each push and read by each replica after one, so it has to stay
// small: what it can do without moves to objects that it names, and what it does not name
// any more is removed a day later. Each is written once, before a head names it; a crash
// leaves one that nobody names.

// withRoom moves the batches of a head that has grown large to a segment. Nothing names
// that before the new head does.
func (l *repoLog) withRoom(ctx context.Context, h *head) (*head, error) {
	if len(h.Batches) == 0 {
		return h, nil
	}

	body, err := json.Marshal(h.Batches)
	if err != nil {
		return nil, fmt.Errorf("encode segment: %w", err)
	}

	if len(body) < maxHead {
		return h, nil
	}

	name := fmt.Sprintf(segmentPrefix+"%020d-%s", h.Batches[0].first(), newToken())
	if _, err := l.b.client.put(ctx, l.objectKey(name), bytes.NewReader(body), int64(len(body)), condition{}, ""); err != nil {
		return nil, err
	}

	rolled := h.rolled(name, int64(len(body)))

	merged, err := l.merge(ctx, rolled)
	if err != nil { // it can wait
		l.b.opts.Log.Warn().Err(err).Str("log", l.prefix).Msg("could not make several segments one")

		return rolled, nil
	}

	return merged, nil
}

// merge makes one segment of several, where there are many.
func (l *repoLog) merge(ctx context.Context, h *head) (*head, error) {
	for parts := h.mergeable(); len(parts) > 0; parts = h.mergeable() {
		read, err := l.readSegments(ctx, parts)
		if err != nil {
			return nil, err
		}

		body, err := json.Marshal(slices.Concat(read...))
		if err != nil {
			return nil, fmt.Errorf("encode segment: %w", err)
		}

		name := fmt.Sprintf(segmentPrefix+"%020d-%s", parts[0].First, newToken())

		now, err := l.putObject(ctx, name, body)
		if err != nil {
			return nil, err
		}

		h = h.merged(len(parts), name, int64(len(body)), now)
	}

	return h, nil
}

// putObject writes an object that a head is to name, and returns the bucket's time.
func (l *repoLog) putObject(ctx context.Context, name string, body []byte) (time.Time, error) {
	key := l.objectKey(name)
	if _, err := l.b.client.put(ctx, key, bytes.NewReader(body), int64(len(body)), condition{}, ""); err != nil {
		return time.Time{}, err
	}

	info, err := l.b.client.head(ctx, key)

	return info.modified, err
}

// shelve writes a list of what was dropped, if that is much.
func (l *repoLog) shelve(ctx context.Context, h *head) (*head, error) {
	name := fmt.Sprintf(dropList+"%020d-%s", h.Seq, newToken())

	shelved, list := h.shelved(name)
	if len(list) == 0 {
		return h, nil
	}

	body, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("encode list: %w", err)
	}

	_, err = l.putObject(ctx, name, body)

	return shelved, err
}

// remove removes an object that no head has named for a day, of a list all that it has.
func (l *repoLog) remove(ctx context.Context, name string) error {
	if err := l.removeAll(ctx, name); err != nil {
		return err
	}

	return l.b.client.delete(ctx, l.objectKey(name))
}

// droppedBy is what a list has, if the name is that of one.
func (l *repoLog) droppedBy(ctx context.Context, name string) ([]droppedRef, error) {
	if !strings.HasPrefix(name, dropList) {
		return nil, nil
	}

	data, _, err := l.b.client.read(ctx, l.objectKey(name), "")
	if isNotExist(err) {
		return nil, nil
	}

	if err != nil {
		return nil, err
	}

	var dropped []droppedRef
	if err := json.Unmarshal(data, &dropped); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", storage.ErrDamaged, name, err)
	}

	return dropped, nil
}

// removeAll removes what is in a list.
func (l *repoLog) removeAll(ctx context.Context, list string) error {
	dropped, err := l.droppedBy(ctx, list)
	if err != nil {
		return err
	}

	group, within := errgroup.WithContext(ctx)
	group.SetLimit(segmentsAtOnce)

	for _, one := range dropped {
		group.Go(func() error { return l.b.client.delete(within, l.objectKey(one.Name)) })
	}

	return group.Wait()
}

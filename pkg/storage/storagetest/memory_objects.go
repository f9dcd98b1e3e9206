package storagetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"zotregistry.io/zot/pkg/storage"
)

func (d *memDriver) Stat(ctx context.Context, key string) (storage.Info, error) {
	unlock, err := d.enter(ctx, key)
	if err != nil {
		return storage.Info{}, err
	}
	defer unlock()

	object := d.m.objects[key]
	if object == nil {
		return storage.Info{}, missing(key)
	}

	return object.info(key), nil
}

func (o *memObject) info(key string) storage.Info {
	return storage.Info{Key: key, Size: int64(len(o.body)), Modified: o.modified}
}

func (d *memDriver) Open(ctx context.Context, key string, rng storage.Range) (*storage.Object, error) {
	unlock, err := d.enter(ctx, key)
	if err != nil {
		return nil, err
	}
	defer unlock()

	object := d.m.objects[key]
	if object == nil {
		return nil, missing(key)
	}

	body, err := cut(object.body, rng)
	if err != nil {
		return nil, fmt.Errorf("memory: %s: %w", key, err)
	}

	return &storage.Object{Body: bytes.NewReader(body), Size: int64(len(object.body)), Closer: io.NopCloser(nil)}, nil
}

// cut returns the bytes rng of body.
func cut(body []byte, rng storage.Range) ([]byte, error) {
	size := int64(len(body))
	if rng.Offset < 0 || rng.Offset > 0 && rng.Offset >= size {
		return nil, fmt.Errorf("%w: offset %d of %d", storage.ErrRange, rng.Offset, size)
	}

	body = body[rng.Offset:]
	if rng.Length >= 0 && rng.Length < int64(len(body)) {
		body = body[:rng.Length]
	}

	return body, nil
}

// List reads the keys when the loop starts, and each object when it is reached: one
// that was deleted meanwhile is left out.
func (d *memDriver) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		keys, err := d.keys(ctx, prefix, after)
		if err != nil {
			yield(storage.Info{}, err)

			return
		}

		for _, key := range keys {
			info, err := d.Stat(ctx, key)
			if isMissing(err) {
				continue
			}

			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

func (d *memDriver) keys(ctx context.Context, prefix, after string) ([]string, error) {
	unlock, err := d.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()

	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		return nil, fmt.Errorf("memory: list: prefix %q does not end in a slash", prefix)
	}

	keys := sortedKeys(d.m.objects)

	return slices.DeleteFunc(keys, func(key string) bool {
		return !strings.HasPrefix(key, prefix) || key <= after
	}), nil
}

func (d *memDriver) Put(ctx context.Context, key string, body []byte) (string, error) {
	unlock, err := d.enter(ctx, key)
	if err != nil {
		return "", err
	}
	defer unlock()

	d.m.set(key, &memObject{body: bytes.Clone(body), modified: d.m.Now()})

	return key, nil
}

func (d *memDriver) Link(ctx context.Context, src, dst string) (string, error) {
	unlock, err := d.enter(ctx, src, dst)
	if err != nil {
		return "", err
	}
	defer unlock()

	object := d.m.objects[src]

	switch {
	case object == nil:
		return "", missing(src)
	case d.m.objects[dst] == object:
		return dst, nil
	case d.m.LinkLimit > 0 && object.links >= d.m.LinkLimit:
		return "", errTooManyLinks
	}

	d.m.set(dst, object)

	return dst, nil
}

func (d *memDriver) Delete(ctx context.Context, key string) error {
	unlock, err := d.enter(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()

	d.m.set(key, nil)

	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

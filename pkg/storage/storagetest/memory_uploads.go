package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/google/uuid"

	"zotregistry.io/zot/pkg/storage"
)

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func (d *memDriver) NameUpload(storage.RepoName) string { return uuid.NewString() }

func (d *memDriver) CreateUpload(ctx context.Context, key string) (storage.Upload, error) {
	unlock, err := d.enter(ctx, key)
	if err != nil {
		return nil, err
	}
	defer unlock()

	if d.m.objects[key] != nil {
		return nil, fmt.Errorf("memory: upload %s: %w", key, fs.ErrExist)
	}

	object := &memObject{modified: d.m.Now()}
	d.m.set(key, object)

	return &memUpload{d: d, key: key, object: object}, nil
}

func (d *memDriver) ResumeUpload(ctx context.Context, key string) (storage.Upload, []byte, error) {
	unlock, err := d.enter(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()

	object := d.m.objects[key]
	if object == nil {
		return nil, nil, missing(key)
	}

	return &memUpload{d: d, key: key, object: object}, bytes.Clone(object.note), nil
}

// memUpload is an open upload.
type memUpload struct {
	d      *memDriver
	key    string
	object *memObject
	over   bool // committed, aborted or closed
}

func (u *memUpload) enter(ctx context.Context, keys ...string) (unlock func(), err error) {
	if u.over {
		return nil, fmt.Errorf("memory: upload %s: %w", u.key, fs.ErrClosed)
	}

	return u.d.enter(ctx, keys...)
}

func (u *memUpload) Expect(string, int64) {}

func (u *memUpload) Append(ctx context.Context, p []byte) error {
	unlock, err := u.enter(ctx)
	if err != nil {
		return err
	}
	defer unlock()

	u.object.body = append(u.object.body, p...)
	u.object.modified = u.d.m.Now()
	u.d.m.dirty[u.key] = struct{}{}

	return nil
}

func (u *memUpload) Size() int64 {
	u.d.m.mu.Lock()
	defer u.d.m.mu.Unlock()

	return int64(len(u.object.body))
}

func (u *memUpload) Save(ctx context.Context, note []byte) error {
	unlock, err := u.enter(ctx)
	if err != nil {
		return err
	}
	defer unlock()

	u.object.note = bytes.Clone(note)

	return nil
}

func (u *memUpload) Reader(ctx context.Context, offset int64) (io.ReadCloser, error) {
	unlock, err := u.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()

	size := int64(len(u.object.body))
	if offset < 0 || offset > size {
		return nil, fmt.Errorf("memory: upload %s: %w: offset %d of %d", u.key, storage.ErrRange, offset, size)
	}

	return io.NopCloser(bytes.NewReader(u.object.body[offset:])), nil
}

func (u *memUpload) Commit(ctx context.Context, dst string) (string, error) {
	unlock, err := u.enter(ctx, dst)
	if err != nil {
		return "", err
	}
	defer unlock()

	if u.d.m.objects[u.key] != u.object {
		return "", missing(u.key)
	}

	u.over = true
	u.object.note = nil
	u.d.m.set(dst, u.object)
	u.d.m.set(u.key, nil)

	return dst, nil
}

func (u *memUpload) Abort(ctx context.Context) error {
	unlock, err := u.enter(ctx)
	if err != nil {
		return err
	}
	defer unlock()

	u.over = true
	if u.d.m.objects[u.key] == u.object {
		u.d.m.set(u.key, nil)
	}

	return nil
}

func (u *memUpload) Close() error {
	u.over = true

	return nil
}

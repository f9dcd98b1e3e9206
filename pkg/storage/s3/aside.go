package s3

import (
	"context"
	"errors"
	"fmt"
	"io"

	"zotregistry.io/zot/pkg/storage"
)

// A client that stalls, or sends a byte now and then, holds the room of a part for as long
// as it is borne with. Where others wait for room, its bytes are put aside: into an object
// beside the upload. They are read back when there are enough for a part, so that each is
// put aside once at most.
const asideSuffix = ".aside."

// spot is where bytes are saved: in an object, from offset on. With size 0 it is nowhere.
type spot struct {
	key, etag string
	offset    int64
	size      int64
}

// readSpot reads what was saved. An object that was replaced meanwhile, perhaps by a
// request of ours that came late, is not read.
func (b *Bucket) readSpot(ctx context.Context, at spot, w io.Writer) (err error) {
	if at.size == 0 {
		return nil
	}

	body, info, err := b.client.get(ctx, at.key, storage.Range{Offset: at.offset, Length: at.size}, at.etag)
	if err != nil {
		return err
	}

	r := &reader{ctx: ctx, client: b.client, body: body, info: info, pos: at.offset, end: at.offset + at.size}
	defer func() { err = errors.Join(err, r.Close()) }()

	n, err := io.CopyBuffer(w, readerOnly{r}, make([]byte, 32<<10))
	if err == nil && n != at.size {
		err = fmt.Errorf("%w: %s has %d bytes, not %d", storage.ErrDamaged, at.key, n, at.size)
	}

	return err
}

// readerOnly hides all but Read, so that io.CopyBuffer uses its buffer.
type readerOnly struct{ io.Reader }

// yield is asked for by those who wait for the memory that a part of u has. It says
// whether that was given back. An upload that is at work is left alone: it will be done
// soon, or waits itself, and then holds nothing.
func (u *upload) yield(ctx context.Context, part *buffer) bool {
	if !u.mu.TryLock() {
		return false
	}
	defer u.mu.Unlock()

	if u.tail != part || part.kept || u.over || u.direct {
		return false
	}

	err := u.putAside(ctx)
	if err != nil {
		u.b.opts.Log.Debug().Err(err).Msg("the bytes of a slow upload stay in memory")
	}

	return err == nil
}

// putAside saves what of the tail is in memory, and gives that back.
func (u *upload) putAside(ctx context.Context) error {
	key, size := u.key+asideSuffix+newToken(), u.tail.size
	if size == 0 {
		u.tail.free()
		u.tail = nil

		return nil
	}

	u.aside = append(u.aside, key)

	etag, err := u.b.client.put(ctx, key, u.readTail(0), size, condition{}, "")
	if err != nil {
		return err
	}

	u.tail.free()
	u.tail = nil
	u.away = append(u.away, spot{key, etag, 0, size})

	return nil
}

// tidyAside removes what was put aside, and is saved elsewhere now.
func (u *upload) tidyAside(ctx context.Context) {
	for _, key := range u.aside {
		u.b.litter(u.b.client.delete(ctx, key))
	}

	u.aside = nil
}

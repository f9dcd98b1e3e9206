package storage

import (
	"context"
	"io"
	"time"
)

// A sender that fills a small buffer within fast gets large ones, until one takes
// longer than slow to fill: below 6 MB/s, large writes gain nothing, and the memory
// serves others.
const (
	fast = 5 * time.Millisecond
	slow = 200 * time.Millisecond
)

// copier moves a request's bytes into an upload.
type copier struct {
	session *session
	buffers *Buffers
	now     func() time.Time
}

// copy reads body to its end. What arrived before an error is kept.
func (c *copier) copy(ctx context.Context, body io.Reader) error {
	for {
		if err := c.copySmall(ctx, body); err != nil {
			return notEOF(err)
		}

		if err := c.copyLarge(ctx, body); err != nil {
			return notEOF(err)
		}
	}
}

// copySmall copies through a small buffer until the sender proves fast, or to the
// end, which is io.EOF.
func (c *copier) copySmall(ctx context.Context, body io.Reader) error {
	buf := c.buffers.getSmall()
	defer c.buffers.put(buf)

	for {
		n, took, readErr := c.fill(body, buf, 0)

		if err := c.add(ctx, buf[:n]); err != nil {
			return err
		}

		if readErr != nil || took < fast {
			return readErr
		}
	}
}

// copyLarge copies through large buffers until the sender proves slow, or to the
// end. With two of them, one is filled while the other is hashed and written; with
// none it does nothing.
func (c *copier) copyLarge(ctx context.Context, body io.Reader) error {
	filling, adding := c.buffers.tryLarge(), c.buffers.tryLarge()
	added := closedChannel()

	defer func() {
		c.buffers.put(filling)
		c.buffers.put(adding)
	}()

	for filling != nil {
		n, took, readErr := c.fill(body, filling, slow)
		if err := <-added; err != nil {
			return err
		}

		added = make(chan error, 1)
		p := filling[:n]

		if adding == nil {
			added <- c.add(ctx, p)
		} else {
			filling, adding = adding, filling
			go func() { added <- c.add(ctx, p) }()
		}

		if readErr != nil || took > slow {
			if err := <-added; err != nil {
				return err
			}

			return readErr
		}
	}

	return nil
}

// add keeps what has arrived, even if the client has gone meanwhile.
func (c *copier) add(ctx context.Context, p []byte) error {
	c.session.collect(p)

	err := c.session.digester.add(context.WithoutCancel(ctx), c.session.up, p)
	c.session.size.Store(c.session.up.Size())

	return err
}

// fill reads until buf is full, or limit has passed (0 = none), and says how long that
// took. The end of the body is io.EOF, and nothing else is: io.ReadFull would not tell
// it from a broken one.
func (c *copier) fill(body io.Reader, buf []byte, limit time.Duration) (n int, took time.Duration, err error) {
	begin := c.now()

	for n < len(buf) && err == nil && (limit == 0 || took <= limit) {
		var read int

		read, err = body.Read(buf[n:])
		n += read
		took = c.now().Sub(begin)
	}

	return n, took, err
}

func closedChannel() chan error {
	done := make(chan error)
	close(done)

	return done
}

// notEOF drops the end of a body, which is no error.
func notEOF(err error) error {
	if err == io.EOF { //nolint:errorlint // readers return it as it is
		return nil
	}

	return err
}

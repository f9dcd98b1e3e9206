package zb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// huge is the size of blobs that are measured one by one.
const huge = 512 * mb

func hugeTests() []Test {
	about := func(how string) string { return "one blob of 512 MB after the other: " + how }

	return []Test{
		{
			Name: "blob-put-512mb", About: about("POST, and one PUT with all bytes"),
			requests: 4, workers: 1, bytes: huge, largest: huge, named: true, prepare: pushHuge(monolith),
		},
		{
			Name: "blob-patch-512mb", About: about("POST, one PATCH in HTTP's chunks, and PUT"),
			requests: 4, workers: 1, bytes: huge, largest: huge, named: true, prepare: pushHuge(streamed),
		},
		{
			Name: "blob-get-512mb", About: about("GET; its bytes are compared with those that were pushed, which takes less time than their hash"),
			requests: 8, workers: 1, largest: huge, named: true, prepare: getHuge,
		},
	}
}

func pushHuge(send sendBlob) func(context.Context, *stage) (operation, error) {
	return func(_ context.Context, s *stage) (operation, error) {
		return func(worker, _ int) (timed, error) {
			b := s.data.blob(huge)

			return func(ctx context.Context) (int64, error) { return b.size(), s.pushBlob(ctx, s.repo(worker), b, send) }, nil
		}, nil
	}
}

func getHuge(ctx context.Context, s *stage) (operation, error) {
	b, repo := s.data.blob(huge), s.repo("huge")
	if err := s.pushBlob(ctx, repo, b, monolith); err != nil {
		return nil, err
	}

	buffer := make([]byte, 1<<20) // there is one worker

	return func(_, _ int) (timed, error) {
		return func(ctx context.Context) (n int64, err error) {
			body, err := s.client.OpenBlob(ctx, repo, b.digest)
			if err != nil {
				return 0, err
			}

			defer func() { err = errors.Join(err, body.Close()) }()

			return b.size(), b.compare(body, buffer)
		}, nil
	}, nil
}

// compare says whether r yields the bytes of the blob, and no others.
func (b blob) compare(r io.Reader, buffer []byte) error {
	for _, want := range [][]byte{b.head, b.tail} {
		for len(want) > 0 {
			piece := buffer[:min(len(buffer), len(want))]

			n, err := io.ReadFull(r, piece)
			if err != nil {
				return fmt.Errorf("read blob %s: %w", b.digest, err)
			}

			if !bytes.Equal(piece[:n], want[:n]) {
				return fmt.Errorf("%w: blob %s has other bytes", errAnswer, b.digest)
			}

			want = want[n:]
		}
	}

	if _, err := io.ReadFull(r, buffer[:1]); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: blob %s is longer than what was pushed (%w)", errAnswer, b.digest, err)
	}

	return nil
}

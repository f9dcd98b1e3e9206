package zb

import (
	"context"
	"fmt"
)

func blobTests() []Test {
	return []Test{
		{Name: "blob-head", About: "HEAD of a layer, of 500", requests: 10000, prepare: blobHead},
		{Name: "mount", About: "a layer of another repository is mounted; each repository takes 64", requests: 2000, prepare: mount},
		{
			Name: "dedupe", About: "images whose layer of 1 MB other repositories have; its bytes are sent all the same",
			requests: 200, bytes: mb, prepare: dedupe,
		},
	}
}

func blobHead(ctx context.Context, s *stage) (operation, error) {
	stock, err := s.stock(ctx, stockSize, smallLayer)

	return func(_, n int) (timed, error) {
		img := stock[n%len(stock)]

		return func(ctx context.Context) (int64, error) {
			return 0, mustExist(s.client.BlobExists(ctx, img.repo, img.blobs[1].digest))
		}, nil
	}, err
}

// shared is how many layers are mounted, or pushed again, in turns: so many go to one
// repository, then the next one's turn begins.
const shared = 64

func mount(ctx context.Context, s *stage) (operation, error) {
	stock, err := s.stock(ctx, shared, smallLayer)
	if err != nil {
		return nil, err
	}

	mountTo := func(ctx context.Context, repo string, img stocked) error {
		s.note(&s.blobs, repo, img.blobs[1].digest)

		mounted, err := s.client.MountBlob(ctx, repo, img.blobs[1].digest, img.repo)
		if err == nil && !mounted {
			return errNotMounted
		}

		return err
	}

	if err := mountTo(ctx, s.repo("first"), stock[0]); err != nil {
		return nil, unsupported("the registry does not mount (%s)", kindOf(err))
	}

	return func(_, n int) (timed, error) {
		repo := s.repo(fmt.Sprint("to", n/shared))

		return func(ctx context.Context) (int64, error) {
			return 0, mountTo(ctx, repo, stock[n%len(stock)])
		}, nil
	}, nil
}

func dedupe(ctx context.Context, s *stage) (operation, error) {
	stock, err := s.stock(ctx, shared, mb)

	return func(_, n int) (timed, error) {
		repo := s.repo(fmt.Sprint("to", n/shared))
		img, err := s.data.imageOf(nil, stock[n%len(stock)].blobs[1])

		return func(ctx context.Context) (int64, error) {
			return s.push(ctx, repo, tagOf(n), img, monolith)
		}, err
	}, err
}

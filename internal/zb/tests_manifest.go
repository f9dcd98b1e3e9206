package zb

import (
	"context"
	"fmt"
)

func manifestTests() []Test {
	return []Test{
		{Name: "manifest-get", About: "GET of a manifest by its tag, of 500", requests: 10000, prepare: manifestGet},
		{Name: "manifest-head", About: "HEAD of a manifest by its tag, of 500", requests: 10000, prepare: manifestHead},
		{
			Name: "push-many-tags", About: "one more tag for an image, in a repository that has many (--tags)",
			requests: 2000, prepare: pushManyTags,
		},
		{Name: "list-many-tags", About: "a page of 100 of many tags (--tags), from one place after the other", requests: 2000, prepare: listManyTags},
		{Name: "push-referrer", About: "an artifact whose subject is an image: its config, and its manifest", requests: 1000, bytes: kb, prepare: pushReferrer},
		{Name: "get-referrers", About: "the referrers of an image that has 20", requests: 2000, prepare: getReferrers},
	}
}

// stockSize is how many small images there are to be read.
const stockSize = 500

func manifestGet(ctx context.Context, s *stage) (operation, error) {
	stock, err := s.stock(ctx, stockSize, smallLayer)

	return func(_, n int) (timed, error) {
		img := stock[n%len(stock)]

		return func(ctx context.Context) (int64, error) {
			return s.client.ReadManifest(ctx, img.repo, img.tag, img.digest)
		}, nil
	}, err
}

func manifestHead(ctx context.Context, s *stage) (operation, error) {
	stock, err := s.stock(ctx, stockSize, smallLayer)

	return func(_, n int) (timed, error) {
		img := stock[n%len(stock)]

		return func(ctx context.Context) (int64, error) {
			return 0, mustExist(s.client.ManifestExists(ctx, img.repo, img.tag))
		}, nil
	}, err
}

// mustExist makes an error of what a HEAD does not find although it was pushed.
func mustExist(there bool, err error) error {
	if err == nil && !there {
		return fmt.Errorf("%w: 404", errAnswer)
	}

	return err
}

// tagged pushes an image, and gives it as many tags as the options say.
func (s *stage) tagged(ctx context.Context, repo string) (*image, error) {
	img, err := s.data.image(smallLayer)
	if err != nil {
		return nil, err
	}

	if _, err := s.push(ctx, repo, tagOf(0), img, monolith); err != nil {
		return nil, err
	}

	return img, s.each(ctx, s.opts.Tags-1, func(ctx context.Context, n int) error {
		return s.put(ctx, repo, tagOf(n+1), img)
	})
}

func pushManyTags(ctx context.Context, s *stage) (operation, error) {
	repo := s.repo("full")
	img, err := s.tagged(ctx, repo)

	return func(_, n int) (timed, error) {
		return func(ctx context.Context) (int64, error) {
			return int64(len(img.manifest)), s.put(ctx, repo, fmt.Sprint("new", n), img)
		}, nil
	}, err
}

// pageSize is how many tags are asked for at once.
const pageSize = 100

func listManyTags(ctx context.Context, s *stage) (operation, error) {
	repo := s.repo("full")
	_, err := s.tagged(ctx, repo)

	return func(_, n int) (timed, error) {
		after := ""
		if n%10 > 0 {
			after = tagOf(n * 37 % s.opts.Tags)
		}

		return func(ctx context.Context) (int64, error) {
			page, err := s.client.TagsPage(ctx, repo, pageSize, after)
			if err == nil && after == "" && len(page) != min(pageSize, s.opts.Tags) {
				err = fmt.Errorf("%w: %d tags of %d", errAnswer, len(page), s.opts.Tags)
			}

			return 0, err
		}, nil
	}, err
}

// subject pushes an image that others refer to, if the registry lists referrers.
func (s *stage) subject(ctx context.Context, repo string) (*image, error) {
	img, err := s.data.image(smallLayer)
	if err != nil {
		return nil, err
	}

	if _, err := s.push(ctx, repo, tagOf(0), img, monolith); err != nil {
		return nil, err
	}

	if _, err := s.client.Referrers(ctx, repo, img.digest); err != nil {
		return nil, unsupported("the registry does not list referrers (%s)", kindOf(err))
	}

	return img, nil
}

// refer pushes an artifact that refers to an image.
func (s *stage) refer(ctx context.Context, repo string, artifact *image) (int64, error) {
	return s.push(ctx, repo, artifact.digest.String(), artifact, monolith)
}

func pushReferrer(ctx context.Context, s *stage) (operation, error) {
	const subjects = 20

	all := make([]*image, subjects)
	repo := s.repo("signed")

	for n := range all {
		var err error
		if all[n], err = s.subject(ctx, repo); err != nil {
			return nil, err
		}
	}

	return func(_, n int) (timed, error) {
		artifact, err := s.data.imageOf(all[n%subjects])

		return func(ctx context.Context) (int64, error) { return s.refer(ctx, repo, artifact) }, err
	}, nil
}

func getReferrers(ctx context.Context, s *stage) (operation, error) {
	const referrers = 20

	repo := s.repo("signed")

	img, err := s.subject(ctx, repo)
	if err != nil {
		return nil, err
	}

	for range referrers {
		artifact, err := s.data.imageOf(img)
		if err != nil {
			return nil, err
		}

		if _, err := s.refer(ctx, repo, artifact); err != nil {
			return nil, err
		}
	}

	return func(_, _ int) (timed, error) {
		return func(ctx context.Context) (int64, error) {
			found, err := s.client.Referrers(ctx, repo, img.digest)
			if err == nil && len(found) != referrers {
				err = fmt.Errorf("%w: %d referrers, want %d", errAnswer, len(found), referrers)
			}

			return 0, err
		}, nil
	}, nil
}

package zb

import (
	"context"
	"fmt"
)

func listTests() []Test {
	return []Test{
		{Name: "catalog", About: "a page of 100 of the catalog, of 20 repositories or more", requests: 2000, prepare: catalog},
	}
}

func catalog(ctx context.Context, s *stage) (operation, error) {
	const repositories = 20

	err := s.each(ctx, repositories, func(ctx context.Context, n int) error {
		img, err := s.data.image(smallLayer)
		if err != nil {
			return err
		}

		_, err = s.push(ctx, s.repo(fmt.Sprint("r", n)), tagOf(0), img, monolith)

		return err
	})
	if err != nil {
		return nil, err
	}

	page := func(ctx context.Context) (int64, error) {
		_, err := s.client.CatalogPage(ctx, pageSize, "")

		return 0, err
	}

	if _, err := page(ctx); err != nil {
		return nil, unsupported("the registry does not list its repositories (%s)", kindOf(err))
	}

	return func(_, _ int) (timed, error) { return page, nil }, nil
}

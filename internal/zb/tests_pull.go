package zb

import (
	"context"
	"fmt"
)

// pullOf pulls from a stock of images.
func pullOf(count, layer int) func(context.Context, *stage) (operation, error) {
	return func(ctx context.Context, s *stage) (operation, error) {
		stock, err := s.stock(ctx, count, layer)

		return func(_, n int) (timed, error) {
			img := stock[n%len(stock)]

			return func(ctx context.Context) (int64, error) {
				return s.pull(ctx, img.repo, img.tag, img.image)
			}, nil
		}, err
	}
}

func pullTests() []Test {
	var all []Test

	for _, size := range large {
		all = append(all, Test{
			Name:     fmt.Sprintf("pull-%dmb", size.mb),
			About:    fmt.Sprintf("images with a layer of %d MB, of which there are %d", size.mb, stockOf(size.mb)),
			requests: 2 * size.requests, prepare: pullOf(stockOf(size.mb), size.mb*mb),
		})
	}

	return all
}

// stockOf is how many images of a size are pulled in turns.
func stockOf(size int) int { return max(2, min(16, 200/size)) }

// mixture says in which of large the n-th operation's layer is, by shares of a hundred.
type mixture [3]int

// of spreads the sizes evenly: any hundred operations in a row have them in their shares.
func (m mixture) of(n int) int {
	at := n * 37 % 100 // 37 and 100 have no common divisor

	for i, share := range m {
		if at < share {
			return i
		}

		at -= share
	}

	return 0
}

func (m mixture) layer(n int) int { return large[m.of(n)].mb * mb }

var (
	thirds  = mixture{33, 33, 33}
	typical = mixture{20, 70, 10}
)

func mixedTests() []Test {
	return []Test{
		{
			Name: "push-monolith-mixed", About: "a third each of 1, 10 and 100 MB, with one PUT",
			requests: 20, bytes: 37 * mb, prepare: pushOf(monolith, thirds.layer),
		},
		{
			Name: "push-chunk-streamed-mixed", About: "a third each of 1, 10 and 100 MB, with one PATCH in HTTP's chunks",
			requests: 20, bytes: 37 * mb, prepare: pushOf(streamed, thirds.layer),
		},
		{
			Name: "pull-mixed", About: "20% of 1 MB, 70% of 10 MB, 10% of 100 MB",
			requests: 100, prepare: pullMixed,
		},
		{
			Name: "pull-push-mixed", About: "three pulls to one push, 20% of 1 MB, 70% of 10 MB, 10% of 100 MB",
			requests: 100, bytes: 4 * mb, prepare: pullPushMixed,
		},
	}
}

func pullMixed(ctx context.Context, s *stage) (operation, error) {
	pulls := make([]operation, len(large))

	for i := range pulls {
		var err error
		if pulls[i], err = pullOf(stockOf(large[i].mb), large[i].mb*mb)(ctx, s); err != nil {
			return nil, err
		}
	}

	return func(worker, n int) (timed, error) { return pulls[typical.of(n)](worker, n) }, nil
}

func pullPushMixed(ctx context.Context, s *stage) (operation, error) {
	pull, err := pullMixed(ctx, s)
	if err != nil {
		return nil, err
	}

	push, err := pushOf(monolith, func(n int) int { return typical.layer(n / 4) })(ctx, s)

	return func(worker, n int) (timed, error) {
		if n%4 == 3 {
			return push(worker, n)
		}

		return pull(worker, n)
	}, err
}

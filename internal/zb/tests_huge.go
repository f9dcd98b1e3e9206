package zb

import "context"

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
			Name: "blob-get-512mb", About: about("GET"),
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

	return func(_, _ int) (timed, error) {
		return func(ctx context.Context) (int64, error) { return b.size(), s.pullBlob(ctx, repo, b) }, nil
	}, nil
}

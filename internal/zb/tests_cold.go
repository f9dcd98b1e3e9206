package zb

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"time"

	"zotregistry.io/zot/internal/wire"
)

func coldTests() []Test {
	return []Test{
		{
			Name: "cold-connection", About: "images of 10 KB, each pulled over a connection of its own: TCP, TLS, credentials",
			requests: 1000, prepare: coldConnection,
		},
		{
			Name: "cold-start", About: "from the command that restarts the server (--restart) to an image of 10 KB that is pulled; one at a time",
			requests: 5, workers: 1, prepare: coldStart,
		},
	}
}

// cold returns a stage like s, whose client has no connection yet. Close what is returned.
func (s *stage) cold() (*stage, *transport, error) {
	base, err := s.opts.check()
	if err != nil {
		return nil, nil, err
	}

	t, err := newTransport(s.opts, base)
	if err != nil {
		return nil, nil, err
	}

	t.rec.Store(s.transport.rec.Load())

	alike := *s.bench
	alike.transport, alike.client = t, wire.NewAt(base, t)

	return &stage{bench: &alike, test: s.test}, t, nil
}

func coldConnection(ctx context.Context, s *stage) (operation, error) {
	stock, err := s.stock(ctx, stockSize, smallLayer)

	return func(_, n int) (timed, error) {
		img := stock[n%len(stock)]
		cold, t, err := s.cold()

		return func(ctx context.Context) (n int64, err error) {
			defer func() { err = errors.Join(err, t.close()) }()

			return cold.pull(ctx, img.repo, img.tag, img.image)
		}, err
	}, err
}

func coldStart(ctx context.Context, s *stage) (operation, error) {
	if s.opts.Restart == "" {
		return nil, unsupported("it needs --restart, a command that restarts the server")
	}

	stock, err := s.stock(ctx, 1, smallLayer)

	return func(_, _ int) (timed, error) {
		cold, t, err := s.cold()

		return func(ctx context.Context) (n int64, err error) {
			defer func() { err = errors.Join(err, t.close()) }()

			if err := s.restart(ctx, cold); err != nil {
				return 0, err
			}

			return cold.pull(ctx, stock[0].repo, stock[0].tag, stock[0].image)
		}, err
	}, err
}

// restart runs the command, and waits until the server answers.
func (s *stage) restart(ctx context.Context, cold *stage) error {
	out, err := exec.CommandContext(ctx, "/bin/sh", "-c", s.opts.Restart).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", s.opts.Restart, err, out)
	}

	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()

	for {
		if status, err := cold.ping(ctx); err == nil && status != http.StatusServiceUnavailable {
			return nil
		}

		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

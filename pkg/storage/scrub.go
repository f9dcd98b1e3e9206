package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"zotregistry.io/zot/internal/pause"
)

// ScrubOptions say how a scrub goes.
type ScrubOptions struct {
	Rate      int64 `json:"rate"`      // bytes of blobs that are read in a second at the most; 0 = any
	FromStart bool  `json:"fromStart"` // as in CheckOptions
}

// ScrubSchedule says when all blobs are read again.
type ScrubSchedule struct {
	Interval time.Duration // from the end of one scrub to the next, over restarts; 0 = there are none
	Rate     int64         // bytes a second at the most; 0 = any
}

// How often it is looked whether a scrub is due, and for how long one of another process is
// taken to be under way since it has said where it is.
const (
	scrubLook  = time.Minute
	scrubAlive = time.Minute
)

// keepScrubbed scrubs from time to time. Of the replicas at a bucket one does it.
func (s *Store) keepScrubbed(ctx context.Context) {
	every(ctx, min(scrubLook, s.opts.Scrub.Interval), func() {
		due, err := s.scrubDue(ctx)
		if due {
			err = s.scrubNow(ctx)
		}

		s.report("scrub", err)
	})
}

// scrubDue says whether the last scrub ended long enough ago, and no other process is at one.
func (s *Store) scrubDue(ctx context.Context) (bool, error) {
	for key, age := range map[string]time.Duration{scrubbed: s.opts.Scrub.Interval, scrubPosition: scrubAlive} {
		if key == scrubPosition && !s.remote {
			continue
		}

		info, err := s.driver.Stat(ctx, key)
		if isNotExist(err) {
			continue
		}

		if err != nil || s.opts.Now().Sub(info.Modified) < age {
			return false, err
		}
	}

	return true, nil
}

func (s *Store) scrubNow(ctx context.Context) error {
	begun := s.opts.Now()

	report, err := s.Scrub(ctx, ScrubOptions{Rate: s.opts.Scrub.Rate}, func(p CheckProgress) {
		if p.Finding != nil && p.Finding.Severity != Notice {
			s.opts.Log.Error().Str("kind", p.Finding.Kind).Str("key", p.Finding.Key).Msg("scrub: " + p.Finding.Text)
		}
	})
	if errors.Is(err, ErrChecking) {
		return nil // when that is over
	}

	if err != nil {
		return err
	}

	s.opts.Log.Info().Int("blobs", report.Blobs).Int64("bytes", report.Bytes).Int("problems", report.Problems).
		Dur("took", s.opts.Now().Sub(begun)).Msg("scrubbed")

	return nil
}

// Scrub implements Checker.
func (s *Store) Scrub(ctx context.Context, opts ScrubOptions, progress func(CheckProgress)) (CheckReport, error) {
	if !s.checking.TryLock() {
		return CheckReport{}, ErrChecking
	}
	defer s.checking.Unlock()

	c := s.newCheck(CheckOptions{FromStart: opts.FromStart}, scrubPosition, progress)
	c.pace = &throttle{rate: opts.Rate}
	c.hasCache = false

	report, err := c.run(ctx, []checkPhase{{PhaseBlobs, c.checkBlobs}})
	if err != nil {
		return report, err
	}

	if _, err := s.driver.Put(ctx, scrubbed, nil); err != nil {
		return report, fmt.Errorf("note that all was scrubbed: %w", err)
	}

	return report, nil
}

// throttle keeps reading below a rate.
type throttle struct {
	rate int64 // bytes a second; 0 = any
	owed time.Duration
}

// throttleStep is for how long a throttle sleeps at the least.
const throttleStep = 20 * time.Millisecond

// wait returns when n more bytes may be read.
func (p *throttle) wait(ctx context.Context, n int) error {
	if p.rate <= 0 {
		return nil
	}

	if p.owed += time.Duration(int64(n)) * time.Second / time.Duration(p.rate); p.owed < throttleStep {
		return nil
	}

	owed := p.owed
	p.owed = 0

	return pause.For(ctx, owed)
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) }

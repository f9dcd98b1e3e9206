package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// check is one run of Check, or of Scrub.
type check struct {
	store    *Store
	opts     CheckOptions
	begun    time.Time
	progress func(CheckProgress)
	pace     *throttle // of reading blobs

	position checkPositionFile
	key      string // where that is kept
	total    int    // repositories
	names    []RepoName
	seen     map[string]bool          // keys of which a finding was told
	verdicts map[any]string           // what is wrong with what several keys lead to; "" = nothing
	twins    map[digest.Digest]string // a key with the right bytes, as far as one was looked for
	told     time.Time                // when progress was told last
	saved    time.Time                // when the position was
	hasCache bool

	confirming bool // clients may wait
	uncached   int  // blobs that the cache does not know
}

// checkPositionFile is how far a run has come: what is kept of it.
type checkPositionFile struct {
	Format int          `json:"format"`
	Opts   CheckOptions `json:"options"`
	Begun  time.Time    `json:"begun"`
	Phase  string       `json:"phase"`
	After  string       `json:"after"` // the key of the repository, or of the blob, that was done last
	Done   int          `json:"done"`
	Report CheckReport  `json:"report"`
}

// How often progress is told, and the position written; and for how long that counts.
const (
	checkTell     = 200 * time.Millisecond
	saveEvery     = 5 * time.Second
	positionLasts = 24 * time.Hour
)

// Check implements Checker.
func (s *Store) Check(ctx context.Context, opts CheckOptions, progress func(CheckProgress)) (CheckReport, error) {
	if !s.checking.TryLock() {
		return CheckReport{}, ErrChecking
	}
	defer s.checking.Unlock()

	c := s.newCheck(opts, checkPosition, progress)

	return c.run(ctx, []checkPhase{{PhaseRepos, c.checkRepos}, {PhaseBlobs, c.checkBlobs}})
}

func (s *Store) newCheck(opts CheckOptions, key string, progress func(CheckProgress)) *check {
	_, off := s.cache.inner.(NoCache)

	return &check{
		store: s, opts: opts, begun: s.opts.Now(), progress: progress, key: key, hasCache: !off, pace: &throttle{},
		seen: map[string]bool{}, verdicts: map[any]string{}, twins: map[digest.Digest]string{},
	}
}

type checkPhase struct {
	name string
	do   func(ctx context.Context) error
}

// run goes through phases, from where the last run was broken off.
func (c *check) run(ctx context.Context, phases []checkPhase) (CheckReport, error) {
	if err := c.resume(ctx); err != nil {
		return CheckReport{}, err
	}

	if err := c.listRepos(ctx); err != nil {
		return c.position.Report, err
	}

	at := max(0, slices.IndexFunc(phases, func(p checkPhase) bool { return p.name == c.position.Phase }))

	for _, phase := range phases[at:] {
		if c.position.Phase != phase.name {
			c.position.Phase, c.position.After, c.position.Done = phase.name, "", 0
		}

		if err := errors.Join(phase.do(ctx), ctx.Err()); err != nil {
			c.save(context.WithoutCancel(ctx))

			return c.position.Report, err
		}
	}

	if err := c.store.driver.Delete(ctx, c.key); err != nil {
		return c.position.Report, fmt.Errorf("forget how far the check was: %w", err)
	}

	return c.position.Report, nil
}

const positionFormat = 1

// resume reads how far the last run came, if it had the same to do. What it has found
// damaged and is not mended, this one tells again.
func (c *check) resume(ctx context.Context) error {
	c.position = checkPositionFile{Format: positionFormat, Opts: c.opts, Begun: c.begun, Report: CheckReport{Findings: []Finding{}}}
	c.position.Opts.FromStart = false

	if c.opts.FromStart {
		return nil
	}

	const limit = 16 << 20

	data, err := readObject(ctx, c.store.driver, c.key, limit)
	if isNotExist(err) {
		return nil
	}

	if err != nil {
		return fmt.Errorf("read how far the last check came: %w", err)
	}

	var last checkPositionFile
	if json.Unmarshal(data, &last) != nil || last.Format != positionFormat || last.Opts != c.position.Opts ||
		c.begun.Sub(last.Begun) > positionLasts {
		return nil //nolint:nilerr // begin anew
	}

	c.position = last
	c.position.Report.Resumed = true

	for _, f := range last.Report.Findings {
		c.seen[f.Kind+" "+f.Key] = true
		c.tell(f)
	}

	return nil
}

// save writes how far this run is. Where it cannot, as on a disk that is full, the next run begins
// at the start.
func (c *check) save(ctx context.Context) {
	c.saved = c.store.opts.Now()

	data, err := json.Marshal(c.position)
	if err == nil {
		_, err = c.store.driver.Put(ctx, c.key, data)
	}

	c.store.report("write how far the check is", err)
}

// done notes that all up to a key is done.
func (c *check) done(ctx context.Context, key string) {
	c.position.After = key
	now := c.store.opts.Now()

	if now.Sub(c.told) >= checkTell {
		c.told = now
		c.progress(c.where())
	}

	if now.Sub(c.saved) >= saveEvery {
		c.save(ctx)
	}
}

func (c *check) where() CheckProgress {
	return CheckProgress{
		Phase: c.position.Phase, At: c.position.After, Done: c.position.Done, Total: c.total,
		Blobs: c.position.Report.Blobs, Bytes: c.position.Report.Bytes,
	}
}

func (c *check) tell(f Finding) {
	now := c.where()
	now.Finding = &f
	c.progress(now)
}

// report notes a finding, once for each kind and key.
func (c *check) report(f Finding) {
	id := f.Kind + " " + f.Key
	if f.Key != "" && c.seen[id] {
		return
	}

	c.seen[id] = true
	c.position.Report.add(f)
	c.tell(f)
}

// listRepos lists the repositories of which there is a log.
func (c *check) listRepos(ctx context.Context) error {
	for log, err := range c.store.driver.ListLogs(ctx) {
		if err != nil {
			c.report(Finding{Severity: Unchecked, Kind: "directory", Text: err.Error()})

			continue
		}

		name, err := ParseRepoName(strings.TrimSuffix(log.Prefix, "/"))
		if err != nil {
			c.report(Finding{Severity: Notice, Kind: "stray", Key: log.Prefix, Text: log.Prefix + " is no name of a repository"})

			continue
		}

		c.names = append(c.names, name)
	}

	slices.SortFunc(c.names, func(a, b RepoName) int { return strings.Compare(RepoPrefix(a), RepoPrefix(b)) })
	c.total = len(c.names)

	return ctx.Err()
}

// checkRepos checks the logs, and what they say.
func (c *check) checkRepos(ctx context.Context) error {
	if c.position.After == "" {
		c.checkSeal(ctx)

		if err := c.checkCatalog(ctx); err != nil {
			return err
		}
	}

	for i, name := range c.names {
		if RepoPrefix(name) <= c.position.After {
			continue
		}

		if err := errors.Join(c.checkRepo(ctx, name), ctx.Err()); err != nil {
			return fmt.Errorf("check %s: %w", name, err)
		}

		c.position.Report.Repos++
		c.position.Done = i + 1

		c.done(ctx, RepoPrefix(name))
	}

	return nil
}

// checkCatalog looks whether each repository is in the list. That the list has one that is
// not there is no fault: a crash leaves it.
func (c *check) checkCatalog(ctx context.Context) error {
	if err := c.store.catalog.refresh(ctx, c.store.opts.Now()); err != nil {
		return err
	}

	for _, name := range c.names {
		if c.store.catalog.has(name) {
			continue
		}

		var inLog bool

		err := c.store.repos.with(ctx, name, c.store.repos.now(), func(r *repository) error {
			inLog = !r.visible.Load().isEmpty()

			return nil
		})
		if err != nil || !inLog || c.store.catalog.has(name) {
			continue // checkRepo tells; or another program has made it
		}

		f := Finding{
			Severity: Problem, Kind: "catalog", Repo: name, Key: catalogKey(name), Text: string(name) + " is not in the catalog",
		}

		if c.opts.Repair {
			if err := c.store.catalog.put(ctx, name); err != nil {
				return err
			}

			f.Mended, f.Remedy = true, "it was added"
		}

		c.report(f)
	}

	return nil
}

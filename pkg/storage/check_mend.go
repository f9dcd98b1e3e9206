package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// isLayout says whether data is an oci-layout that tools know.
func isLayout(data []byte) bool {
	var layout struct {
		Version string `json:"imageLayoutVersion"`
	}

	return json.Unmarshal(data, &layout) == nil && layout.Version == "1.0.0"
}

// mendPasses is how often a log is mended and looked at again: a journal in use becomes
// history with the second checkpoint at the latest, and is put aside then.
const mendPasses = 4

// mendLog mends a log, reports what it has mended, and returns what is left.
func (c *check) mendLog(ctx context.Context, name RepoName, faults []Fault) ([]Fault, error) {
	asked := slices.Clone(faults)
	remedies := map[string]string{}

	for range mendPasses {
		aside, err := c.mendOnce(ctx, name, faults)
		for file, to := range aside {
			remedies[file] = to
		}

		if err != nil {
			return nil, fmt.Errorf("mend: %w", err)
		}

		if faults, err = c.inspect(ctx, name); err != nil {
			return nil, err
		}

		if !slices.ContainsFunc(faults, Fault.isMendable) {
			break
		}

		for _, fault := range faults { // of a journal that has become history
			if !slices.ContainsFunc(asked, fault.isSame) {
				asked = append(asked, fault)
			}
		}
	}

	for _, fault := range asked {
		if fault.isMendable() && !slices.ContainsFunc(faults, fault.isSame) {
			f := fault.finding(name)
			f.Mended, f.Quarantined = true, remedies[fault.File]
			c.report(f)
		}
	}

	return faults, nil
}

func (f Fault) isSame(other Fault) bool { return f.Kind == other.Kind && f.File == other.File }

// mendOnce puts damaged files aside and writes a checkpoint from what is known: what is in
// memory where the log was loaded, else what can be read of it. First there is a copy of
// each file; then the checkpoint; then the file goes. A crash leaves both.
func (c *check) mendOnce(ctx context.Context, name RepoName, faults []Fault) (aside map[string]string, err error) {
	var failed error

	err = c.store.repos.with(ctx, name, c.store.repos.now(), func(r *repository) error {
		r.checkpointing.Lock()
		defer r.checkpointing.Unlock()

		aside, failed = c.remake(ctx, name, faults, true, func() error {
			r.foreign.Store(true)
			c.store.repos.noteChange(name)

			if err := c.advance(r); err != nil {
				return err
			}

			return r.writeCheckpoint(ctx)
		})

		return nil
	})

	if err == nil || !errors.Is(err, ErrDamaged) {
		return aside, errors.Join(err, failed)
	}

	err = c.store.repos.exclusively(ctx, name, func() error {
		aside, failed = c.remake(ctx, name, faults, false, func() error { return c.salvage(ctx, name) })

		return failed
	})

	return aside, err
}

// advance appends a record that changes nothing, so that a checkpoint has something to cover
// in a bucket: there one of the same number is never written again.
func (c *check) advance(r *repository) error {
	if !c.store.remote {
		return nil
	}

	return r.commit(gcUser, func(*state) ([]Op, error) { return []Op{{Kind: OpForgetSweeps, Seq: 1}}, nil })
}

// remake puts files aside around write. Journals of a log in use are left to become history.
func (c *check) remake(
	ctx context.Context, name RepoName, faults []Fault, inUse bool, write func() error,
) (aside map[string]string, err error) {
	aside, finish, err := c.copyAside(ctx, name, faults, inUse)
	if err != nil {
		return aside, err
	}

	if slices.ContainsFunc(faults, func(f Fault) bool { return f.Anew || f.Rotten }) {
		if err := write(); err != nil {
			return aside, err
		}
	}

	if err := finish(); err != nil {
		return aside, err
	}

	return aside, c.store.durability.flush(ctx)
}

// copyAside keeps what is damaged in the quarantine, too, and flushes that. finish removes
// it from its place. What is not written anew where there is one goes at once.
func (c *check) copyAside(
	ctx context.Context, name RepoName, faults []Fault, inUse bool,
) (aside map[string]string, finish func() error, err error) {
	var finishes []func() error

	aside = map[string]string{}
	finish = func() error {
		for _, one := range finishes {
			if err := one(); err != nil {
				return err
			}
		}

		return nil
	}

	for _, fault := range faults {
		if _, done := aside[fault.File]; done || !fault.Aside || inUse && fault.Rotten {
			continue
		}

		to := quarantineKey(c.begun, fault.File)

		one, err := c.setAside(ctx, fault.File, to)
		if err == nil && (fault.File == indexKey(name) || fault.File == layoutKey(name)) {
			err = one()
		}

		if err != nil {
			return aside, finish, err
		}

		aside[fault.File] = to
		finishes = append(finishes, one)
	}

	return aside, finish, c.store.durability.flush(ctx)
}

// setAside keeps what is at key in the quarantine.
func (c *check) setAside(ctx context.Context, key, to string) (finish func() error, err error) {
	q, ok := c.store.driver.(Quarantiner)
	if !ok {
		return nil, fmt.Errorf("put %s aside: %w", key, errors.ErrUnsupported)
	}

	return q.SetAside(ctx, key, to)
}

// salvage makes the log of a repository, which nobody has loaded, anew of what can be read.
func (c *check) salvage(ctx context.Context, name RepoName) (err error) {
	log, err := c.store.driver.OpenLog(ctx, RepoPrefix(name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()

	checked, ok := log.(CheckedLog)
	if !ok {
		return fmt.Errorf("mend the log of %s: %w", name, errors.ErrUnsupported)
	}

	for range salvageTries {
		if err = c.salvageOnce(ctx, name, log, checked); !errors.Is(err, ErrConflict) {
			break
		}
	}

	return err
}

// salvageTries is how often a log is read again since replicas that have it in memory have
// committed meanwhile.
const salvageTries = 10

func (c *check) salvageOnce(ctx context.Context, name RepoName, log Log, checked CheckedLog) error {
	s := &salvage{r: &repository{name: name, store: c.store, log: log}, log: log, checked: checked}

	st, err := s.read(ctx)
	if err != nil {
		return err
	}

	if err := c.keepForeignIndex(ctx, name, log); err != nil {
		return err
	}

	err = checked.Replace(ctx, st.seq,
		func(w io.Writer) error { return encodeCheckpoint(w, st) },
		func(w io.Writer) error { return encodeIndex(w, st) })
	if err != nil {
		return err
	}

	for _, lost := range s.lost {
		c.report(Finding{Severity: Problem, Kind: lost.kind, Repo: name, Key: lost.what, Text: lost.text})
	}

	return nil
}

// keepForeignIndex puts an index.json aside that another program wrote and that is not taken
// in: Replace writes another.
func (c *check) keepForeignIndex(ctx context.Context, name RepoName, log Log) error {
	if c.store.remote {
		return nil
	}

	data, _, err := readIndex(ctx, log)
	if err != nil || data == nil {
		return err
	}

	if _, ours := checkIndex(data); ours {
		return nil
	}

	finish, err := c.setAside(ctx, indexKey(name), quarantineKey(c.begun, indexKey(name)))
	if err != nil {
		return err
	}

	return finish()
}

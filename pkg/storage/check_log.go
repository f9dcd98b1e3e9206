package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Words for what may be wrong with a log, whatever the driver.
const (
	kindCheckpointDamaged = "checkpoint-damaged"
	kindCheckpointMissing = "checkpoint-missing"
	kindRecordsMissing    = "records-missing"
	kindIndexDamaged      = "index-damaged"
	kindIndexMissing      = "index-missing"
	kindIndexForeign      = "index-foreign"
	kindLayout            = "layout"
	kindUnreadable        = "log-unreadable"
)

func layoutKey(repo RepoName) string { return RepoPrefix(repo) + "oci-layout" }
func indexKey(repo RepoName) string  { return RepoPrefix(repo) + "index.json" }

// checkRepo checks the log of a repository, and then what it says.
func (c *check) checkRepo(ctx context.Context, name RepoName) error {
	faults, err := c.inspect(ctx, name)
	if err == nil && c.opts.Repair && slices.ContainsFunc(faults, Fault.isMendable) {
		faults, err = c.mendLog(ctx, name, faults)
	}

	if ctx.Err() != nil {
		return ctx.Err()
	}

	if err != nil {
		c.report(Finding{Severity: Unchecked, Kind: kindUnreadable, Repo: name, Key: RepoPrefix(name), Text: err.Error()})

		return nil //nolint:nilerr // told
	}

	for _, fault := range faults {
		c.report(fault.finding(name))
	}

	return c.checkState(ctx, name, slices.ContainsFunc(faults, func(f Fault) bool { return f.Rotten }))
}

func (f Fault) isMendable() bool { return f.Aside || f.Anew }

func (f Fault) finding(name RepoName) Finding {
	return Finding{Severity: f.Severity, Kind: f.Kind, Repo: name, Key: f.File, Text: f.Text}
}

// inspect looks at a log: first beside the commits that go on, and where it finds something,
// once more while only appends do.
func (c *check) inspect(ctx context.Context, name RepoName) ([]Fault, error) {
	faults, err := c.inspectAnew(ctx, name, c.acknowledged(ctx, name))
	if err == nil && len(faults) == 0 {
		return nil, nil
	}

	err = c.store.repos.with(ctx, name, c.store.repos.now(), func(r *repository) (err error) {
		r.checkpointing.Lock()
		defer r.checkpointing.Unlock()

		faults, err = c.inspectLog(ctx, name, r.log, r.visible.Load().seq)

		return err
	})
	if err == nil || ctx.Err() != nil {
		return faults, errors.Join(err, ctx.Err())
	}

	loading := err // nobody changes what cannot be loaded

	if faults, err = c.inspectAnew(ctx, name, 0); err != nil {
		return nil, err
	}

	if !slices.ContainsFunc(faults, func(f Fault) bool { return f.Rotten }) {
		faults = append(faults, unloadable(name, loading))
	}

	return faults, nil
}

// acknowledged is the number of the last record that clients were told of; 0 where the log
// cannot be loaded, of which the look at it says why, and in a bucket, whose head has it.
func (c *check) acknowledged(ctx context.Context, name RepoName) (seq uint64) {
	if c.store.remote {
		return 0
	}

	err := c.store.repos.with(ctx, name, c.store.repos.now(), func(r *repository) error {
		seq = r.visible.Load().seq

		return nil
	})
	if err != nil {
		return 0
	}

	return seq
}

// unloadable is that a log cannot be loaded, though all of its files are sound by themselves.
func unloadable(name RepoName, why error) Fault {
	fault := Fault{Severity: Problem, Kind: kindUnreadable, File: RepoPrefix(name), Text: why.Error(), Anew: true, Rotten: true}
	if !errors.Is(why, ErrDamaged) { // a newer zot's, or what holds the bytes is out of reach
		fault.Severity, fault.Anew = Unchecked, false
	}

	return fault
}

func (c *check) inspectAnew(ctx context.Context, name RepoName, least uint64) (faults []Fault, err error) {
	open := c.store.driver.OpenLog
	if inspector, ok := c.store.driver.(LogInspector); ok {
		open = inspector.InspectLog
	}

	log, err := open(ctx, RepoPrefix(name))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()

	return c.inspectLog(ctx, name, log, least)
}

// inspectLog looks at all of a log: what its driver says, the checkpoints, whether the
// records follow them, and in a directory whether they reach least, and what lies beside.
func (c *check) inspectLog(ctx context.Context, name RepoName, log Log, least uint64) ([]Fault, error) {
	checked, ok := log.(CheckedLog)
	if !ok {
		return nil, nil
	}

	look := logLook{repo: name, log: log, checked: checked, driver: c.store.driver}

	err := checked.Inspect(ctx, look.add)
	if err == nil {
		err = look.checkpoints(ctx)
	}

	if err == nil {
		err = look.records(ctx)
	}

	if err == nil && !c.store.remote {
		look.reaches(least)
	}

	if err == nil && !c.store.remote && look.newest > 0 {
		err = errors.Join(look.index(ctx), look.layout(ctx))
	}

	return look.faults, err
}

// logLook is one look at a log.
type logLook struct {
	repo    RepoName
	log     Log
	checked CheckedLog
	driver  Driver

	state  *state // of the newest checkpoint that is whole, and the records behind it
	kept   int    // checkpoints
	newest uint64 // number of a checkpoint or a record
	faults []Fault
}

func (l *logLook) add(f Fault) { l.faults = append(l.faults, f) }

func (l *logLook) checkpoints(ctx context.Context) error {
	kept, err := l.checked.Checkpoints(ctx)
	if err != nil {
		return err
	}

	l.kept = len(kept)

	for _, info := range kept {
		l.newest = max(l.newest, info.Seq)

		st, err := decodeKept(ctx, l.checked, info)

		switch {
		case isNotExist(err):
			continue // a newer one came
		case errors.Is(err, ErrDamaged):
			l.add(Fault{
				Severity: Problem, Kind: kindCheckpointDamaged, File: info.Key, Text: fmt.Sprintf("%s: %v", info.Key, err),
				Aside: true, Anew: info == kept[0],
			})
		case err != nil:
			return err
		case l.state == nil:
			l.state = st
		}
	}

	if l.state == nil {
		l.state = newState()
	}

	return nil
}

// decodeKept reads a checkpoint.
//
// Errors: ErrDamaged, ErrFormat, fs.ErrNotExist.
func decodeKept(ctx context.Context, log CheckedLog, info CheckpointInfo) (*state, error) {
	file, err := log.OpenKept(ctx, info)
	if err != nil {
		return nil, err
	}

	st, err := decodeCheckpoint(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, err
	}

	if st.seq != info.Seq {
		return nil, fmt.Errorf("%w: it is of record %d, not %d", ErrDamaged, st.seq, info.Seq)
	}

	return st, nil
}

// records looks whether the records go on where the checkpoint ends.
func (l *logLook) records(ctx context.Context) error {
	for record, err := range l.checked.Salvage(ctx, l.state.seq) {
		if err != nil {
			return err
		}

		if gap := record.Seq - l.state.seq - 1; gap > 0 && !slices.ContainsFunc(l.faults, Fault.isMendable) {
			l.add(Fault{
				Severity: Problem, Kind: kindRecordsMissing, File: RepoPrefix(l.repo), Anew: true, Rotten: true,
				Text: fmt.Sprintf("%s: records %d to %d are missing", l.repo, l.state.seq+1, record.Seq-1),
			})
		}

		l.state.fold(record)
	}

	if l.newest > l.state.seq && !slices.ContainsFunc(l.faults, Fault.isMendable) {
		l.add(Fault{
			Severity: Problem, Kind: kindRecordsMissing, File: RepoPrefix(l.repo), Anew: true, Rotten: true,
			Text: fmt.Sprintf("%s: records %d to %d are missing", l.repo, l.state.seq+1, l.newest),
		})
	}

	l.newest = max(l.newest, l.state.seq)

	return nil
}

// reaches looks whether the log has what is in memory. A file that was cut, or is gone, looks
// as a crash would have left it.
func (l *logLook) reaches(least uint64) {
	if l.newest >= least || slices.ContainsFunc(l.faults, Fault.isMendable) {
		return
	}

	l.add(Fault{
		Severity: Problem, Kind: kindRecordsMissing, File: RepoPrefix(l.repo), Anew: true,
		Text: fmt.Sprintf("%s: records %d to %d are in memory, and not in the log", l.repo, l.newest+1, least),
	})
}

// index looks at index.json.
func (l *logLook) index(ctx context.Context) error {
	data, _, err := readIndex(ctx, l.log)
	if err != nil {
		return err
	}

	key := indexKey(l.repo)
	written, ours := checkIndex(data)

	switch {
	case data == nil && l.kept == 0:
	case data == nil: // a crash leaves a first checkpoint without it
		severity := Problem
		if l.kept == 1 {
			severity = Notice
		}

		l.add(Fault{Severity: severity, Kind: kindIndexMissing, File: key, Text: key + " is missing", Anew: true})
	case !ours:
		l.foreign(key, data)
	case written > l.newest:
		l.add(Fault{
			Severity: Problem, Kind: kindCheckpointMissing, File: key, Anew: true,
			Text: fmt.Sprintf("%s is of checkpoint %d, and the log ends with record %d", key, written, l.newest),
		})
	}

	return nil
}

// foreign looks at an index.json that another program wrote, or nobody.
func (l *logLook) foreign(key string, data []byte) {
	index, err := parseIndex(data)

	switch {
	case err != nil:
		l.add(Fault{
			Severity: Problem, Kind: kindIndexDamaged, File: key, Text: fmt.Sprintf("%s cannot be read: %v", key, err),
			Aside: true, Anew: true,
		})
	case len(index.entries) == 0 && l.state.manifests.Len() > 0:
		l.add(Fault{
			Severity: Problem, Kind: kindIndexDamaged, File: key,
			Text: fmt.Sprintf("%s is empty, and the log has %d manifests", key, l.state.manifests.Len()), Aside: true, Anew: true,
		})
	default:
		l.add(Fault{Severity: Notice, Kind: kindIndexForeign, File: key, Text: "another program wrote " + key})
	}
}

// layout looks at oci-layout.
func (l *logLook) layout(ctx context.Context) error {
	const limit = 1 << 16

	key := layoutKey(l.repo)
	data, err := readObject(ctx, l.driver, key, limit)

	switch {
	case isNotExist(err):
		l.add(Fault{Severity: Problem, Kind: kindLayout, File: key, Text: key + " is missing", Anew: true})
	case errors.Is(err, ErrDamaged) || err == nil && !isLayout(data):
		l.add(Fault{
			Severity: Problem, Kind: kindLayout, File: key, Text: key + " is not that of an OCI layout 1.0.0", Aside: true, Anew: true,
		})
	case err != nil:
		return err
	}

	return nil
}

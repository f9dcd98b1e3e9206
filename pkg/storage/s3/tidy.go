package s3

import (
	"context"
	"errors"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"zotregistry.io/zot/pkg/storage"
)

// abandonedAfter is when nobody can go on with an upload any more, with a day to spare.
const abandonedAfter = uploadAge + keptFor

// Tidy implements storage.Collector. What is removed is a day old at least: whoever wrote
// it either has gone, or finds that a head has changed.
func (b *Bucket) Tidy(ctx context.Context) (uploads int, err error) {
	now, err := b.clock(ctx)
	if err != nil {
		return 0, err
	}

	uploads, err = b.tidyRepos(ctx, now)

	return uploads, errors.Join(err, b.tidyProbes(ctx, now), b.tidyParts(ctx, now))
}

// tidyRepos goes through all that repositories have beside blobs.
func (b *Bucket) tidyRepos(ctx context.Context, now time.Time) (uploads int, err error) {
	var (
		failed failures
		log    string   // the prefix of the repository whose log is being listed
		old    []string // of it
	)

	for object, err := range b.listRepos(ctx) {
		if err != nil {
			failed.add(err)

			break
		}

		if strings.Contains(object.key, uploadsDir) {
			dropped, err := b.dropUpload(ctx, object, now)
			failed.add(err)

			if dropped {
				uploads++
			}

			continue
		}

		dir, name := path.Split(object.key)

		prefix, ok := strings.CutSuffix(dir, strings.TrimPrefix(logDir, "/"))
		if !ok || now.Sub(object.modified) < keptFor || !isNamedByHead(name) {
			continue
		}

		if prefix != log {
			failed.add(b.dropUnnamed(ctx, log, old))

			log, old = prefix, nil
		}

		old = append(old, name)
	}

	failed.add(b.dropUnnamed(ctx, log, old))

	return uploads, errors.Join(failed.errs...)
}

// listRepos lists what belongs to a repository: all that does not begin with "_", as the
// pool and the catalog do.
func (b *Bucket) listRepos(ctx context.Context) iter.Seq2[stored, error] {
	return func(yield func(stored, error) bool) {
		for _, after := range []string{"", "_~"} {
			for object, err := range b.client.list(ctx, "", after, 0) {
				if err == nil && strings.HasPrefix(object.key, "_") {
					break
				}

				if !yield(object, err) || err != nil {
					return
				}
			}
		}
	}
}

// isNamedByHead says whether an object of a log is of a kind that is of use only while a head
// names it. Segments are history, too.
func isNamedByHead(name string) bool {
	return strings.HasPrefix(name, "checkpoint-") || strings.HasPrefix(name, dropList)
}

// dropUnnamed removes objects of a log that are old and that the head does not name: a
// crash has left them. The head is changed first, so that whoever was about to name one,
// however long ago, does not.
func (b *Bucket) dropUnnamed(ctx context.Context, prefix string, old []string) error {
	if len(old) == 0 || !b.client.conditional {
		return nil
	}

	l := b.newLog(prefix)
	if err := l.check(ctx); err != nil {
		return err
	}

	base := l.current()
	if base.etag == "" {
		return nil
	}

	named, err := l.allNamed(ctx, base.head)
	if err != nil {
		return err
	}

	unnamed := slices.DeleteFunc(old, func(name string) bool { return named[name] })
	if len(unnamed) == 0 {
		return nil
	}

	fence := *base.head
	fence.Writer = newToken()

	if err := l.replace(ctx, base, &fence, fence.Writer); err != nil {
		if errors.Is(err, storage.ErrConflict) {
			return nil // somebody is writing: the next run
		}

		return err
	}

	for _, name := range unnamed {
		if err := b.client.delete(ctx, l.objectKey(name)); err != nil {
			return err
		}
	}

	return nil
}

// allNamed is what a head names, also in lists of what was dropped.
func (l *repoLog) allNamed(ctx context.Context, h *head) (map[string]bool, error) {
	named := map[string]bool{}

	for _, ref := range []*checkpointRef{h.Checkpoint, h.Before} {
		if ref != nil {
			named[ref.Name] = true
		}
	}

	for _, segment := range h.Segments {
		named[segment.Name] = true
	}

	for _, dropped := range h.Dropped {
		named[dropped.Name] = true

		listed, err := l.droppedBy(ctx, dropped.Name)
		if err != nil {
			return nil, err
		}

		for _, one := range listed {
			named[one.Name] = true
		}
	}

	return named, nil
}

// dropUpload removes what an upload has left that nobody can go on with: its state, with
// its parts, or its bytes beside that.
func (b *Bucket) dropUpload(ctx context.Context, object stored, now time.Time) (dropped bool, err error) {
	_, name, ok := splitUploadKey(object.key)
	id, beside, _ := strings.Cut(name, ".")

	parsed, err := uuid.Parse(id)
	if !ok || err != nil || now.Sub(begunAt(parsed)) < abandonedAfter || now.Sub(object.modified) < keptFor {
		return false, nil //nolint:nilerr // nothing of ours
	}

	if beside == "" {
		if err := b.dropParts(ctx, object.key); err != nil {
			return false, err
		}
	}

	return beside == "", b.client.delete(ctx, object.key)
}

// dropParts drops the parts that the state of an upload names. Of a state that is damaged
// nobody knows any: tidyParts finds them.
func (b *Bucket) dropParts(ctx context.Context, key string) error {
	saved, err := b.openState(ctx, key, "")

	switch {
	case isNotExist(err), errors.Is(err, storage.ErrDamaged):
		return nil
	case err != nil:
		return err
	}

	if saved.Sent != nil {
		err = b.client.abort(ctx, saved.Sent)
	}

	return errors.Join(err, saved.Close())
}

// tidyProbes removes what probes have left that were killed.
func (b *Bucket) tidyProbes(ctx context.Context, now time.Time) error {
	for object, err := range b.client.list(ctx, probePrefix, "", 0) {
		if err != nil {
			return err
		}

		if now.Sub(object.modified) < keptFor {
			continue
		}

		if err := b.client.delete(ctx, object.key); err != nil {
			return err
		}
	}

	return nil
}

// tidyParts drops parts that belong to no upload any more. Not every server can list them,
// or lets us.
func (b *Bucket) tidyParts(ctx context.Context, now time.Time) error {
	for parts, err := range b.client.unfinished(ctx) {
		if errors.Is(err, errRefused) || codeOf(err) == "NotImplemented" {
			b.unlistable.Do(func() {
				b.opts.Log.Warn().Err(err).
					Msg("unfinished uploads in parts cannot be listed; let a rule of the bucket end them after 8 days")
			})

			return nil
		}

		if err != nil {
			return err
		}

		if now.Sub(parts.at) < abandonedAfter {
			continue
		}

		if err := b.client.abort(ctx, &parts.multipart); err != nil {
			return err
		}
	}

	return nil
}

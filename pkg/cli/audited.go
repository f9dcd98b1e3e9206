package cli

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/admin"
	"zotregistry.io/zot/pkg/audit"
	"zotregistry.io/zot/pkg/storage"
)

// auditedStore has a line in the audit log for each change that a command makes, as the HTTP API
// has for those of clients. What only reads, and Collect, goes through.
type auditedStore struct {
	admin.Store

	log func() (*audit.Log, error) // opened, if it was not yet
}

// lateAudit is the audit log of a command, opened for its first change: one that only reads needs
// none. It is used by one goroutine.
type lateAudit struct {
	path string
	log  zerolog.Logger

	opened *audit.Log // nil = not yet
}

func (l *lateAudit) open() (audited *audit.Log, err error) {
	if l.opened == nil {
		l.opened, _, err = openAudit(l.path, l.log)
	}

	return l.opened, err
}

func (l *lateAudit) close() error {
	if l.opened == nil {
		return nil
	}

	return l.opened.Close()
}

// commandMethod stands where requests have their method, and the command where they have the path.
const commandMethod = "COMMAND"

// commandSource stands where requests have the other end of their connection.
const commandSource = "this machine"

// withAudit has changes of store in a log; nil = there is none.
func withAudit(store admin.Store, log *audit.Log) admin.Store {
	if log == nil {
		return store
	}

	return &auditedStore{store, func() (*audit.Log, error) { return log, nil }}
}

// change does what entry says, and writes the line. Without an audit log nothing is done.
func change[R any](a *auditedStore, entry audit.Entry, do func() (R, error)) (result R, err error) {
	log, err := a.log()
	if err != nil {
		return result, err
	}

	result, err = do()

	entry.Time, entry.Remote, entry.Method = time.Now().UTC(), commandSource, commandMethod
	entry.Status = http.StatusOK

	if err != nil {
		entry.Status, entry.Error = http.StatusInternalServerError, err.Error()
	}

	log.Write(entry)

	return result, err
}

// UndoTag implements storage.Recovery.
func (a *auditedStore) UndoTag(
	ctx context.Context, repo storage.RepoName, tag storage.Tag, who string,
) (storage.TagEvent, error) {
	entry := audit.Entry{User: who, Path: "tag undo", Repository: string(repo), Reference: string(tag)}

	return change(a, entry, func() (storage.TagEvent, error) { return a.Store.UndoTag(ctx, repo, tag, who) })
}

// Undelete implements storage.Recovery.
func (a *auditedStore) Undelete(
	ctx context.Context, repo storage.RepoName, dgst digest.Digest, who string,
) (storage.Restored, error) {
	entry := audit.Entry{User: who, Path: "undelete", Repository: string(repo), Reference: string(dgst)}

	return change(a, entry, func() (storage.Restored, error) { return a.Store.Undelete(ctx, repo, dgst, who) })
}

// DeleteRepo implements storage.Recovery.
func (a *auditedStore) DeleteRepo(ctx context.Context, repo storage.RepoName, who string) error {
	entry := audit.Entry{User: who, Path: "repo delete", Repository: string(repo)}
	_, err := change(a, entry, func() (struct{}, error) { return struct{}{}, a.Store.DeleteRepo(ctx, repo, who) })

	return err
}

// Purge implements storage.Purger.
func (a *auditedStore) Purge(
	ctx context.Context, repo storage.RepoName, dgst digest.Digest, opts storage.PurgeOptions, who string,
) (storage.Purged, error) {
	name := "purge" + flagIf(opts.Force, "force") + flagIf(opts.Everywhere, "everywhere")
	entry := audit.Entry{User: who, Path: name, Repository: string(repo), Reference: string(dgst)}

	return change(a, entry, func() (storage.Purged, error) { return a.Store.Purge(ctx, repo, dgst, opts, who) })
}

// Restore implements admin.Backups.
func (a *auditedStore) Restore(
	ctx context.Context, opts admin.RestoreOptions, tell func(storage.Copied),
) (storage.Copied, error) {
	names := make([]string, len(opts.Repos))
	for i, name := range opts.Repos {
		names[i] = string(name)
	}

	entry := audit.Entry{
		User: adminUser, Path: "restore" + flagIf(opts.Exact, "exact"), From: opts.Dir, Repository: strings.Join(names, " "),
	}

	return change(a, entry, func() (storage.Copied, error) { return a.Store.Restore(ctx, opts, tell) })
}

// Check implements storage.Checker.
func (a *auditedStore) Check(
	ctx context.Context, opts storage.CheckOptions, tell func(storage.CheckProgress),
) (storage.CheckReport, error) {
	if !opts.Repair {
		return a.Store.Check(ctx, opts, tell)
	}

	entry := audit.Entry{User: adminUser, Path: "fsck --repair"}

	return change(a, entry, func() (storage.CheckReport, error) { return a.Store.Check(ctx, opts, tell) })
}

func flagIf(set bool, name string) string {
	if !set {
		return ""
	}

	return " --" + name
}

package admin

import (
	"context"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// call is something that can be asked for: its name, which is the path of its URL, and how
// a Store does it. A and R travel as JSON.
type call[A, R any] struct {
	name string
	do   func(ctx context.Context, store Store, args A) (R, error)
}

// none is for calls without arguments, or without a result.
type none struct{}

// routes are all calls, as a Server needs them.
var routes = []route{
	collectCall, whyCall, historyCall, undoCall, undeleteCall, deleteRepoCall, purgeCall,
	backupCall, restoreCall,
	checkCall, scrubCall,
}

var collectCall = call[none, storage.Collected]{
	"collect", func(ctx context.Context, store Store, _ none) (storage.Collected, error) { return store.Collect(ctx) },
}

// Collect implements storage.Maintenance.
func (c *Client) Collect(ctx context.Context) (storage.Collected, error) {
	return ask(ctx, c, collectCall, none{})
}

// namedDigest is a manifest or a blob in a repository.
type namedDigest struct {
	Repo   storage.RepoName `json:"repository"`
	Digest digest.Digest    `json:"digest,omitempty"`
	Who    string           `json:"who,omitempty"`
}

var whyCall = call[namedDigest, storage.Explanation]{
	"why", func(ctx context.Context, store Store, args namedDigest) (storage.Explanation, error) {
		return store.Why(ctx, args.Repo, args.Digest)
	},
}

// Why implements storage.Maintenance.
func (c *Client) Why(ctx context.Context, repo storage.RepoName, dgst digest.Digest) (storage.Explanation, error) {
	return ask(ctx, c, whyCall, namedDigest{Repo: repo, Digest: dgst})
}

type historyArgs struct {
	Repo   storage.RepoName `json:"repository"`
	Tag    storage.Tag      `json:"tag"`
	Before uint64           `json:"before"`
	N      int              `json:"n"`
}

type historyPage struct {
	Events []storage.TagEvent `json:"events"`
	More   bool               `json:"more"`
}

var historyCall = call[historyArgs, historyPage]{
	"tag-history", func(ctx context.Context, store Store, args historyArgs) (page historyPage, err error) {
		page.Events, page.More, err = store.TagHistory(ctx, args.Repo, args.Tag, args.Before, args.N)

		return page, err
	},
}

// TagHistory implements storage.History.
func (c *Client) TagHistory(
	ctx context.Context, repo storage.RepoName, tag storage.Tag, before uint64, n int,
) ([]storage.TagEvent, bool, error) {
	page, err := ask(ctx, c, historyCall, historyArgs{repo, tag, before, n})

	return page.Events, page.More, err
}

type namedTag struct {
	Repo storage.RepoName `json:"repository"`
	Tag  storage.Tag      `json:"tag"`
	Who  string           `json:"who"`
}

var undoCall = call[namedTag, storage.TagEvent]{
	"undo-tag", func(ctx context.Context, store Store, args namedTag) (storage.TagEvent, error) {
		return store.UndoTag(ctx, args.Repo, args.Tag, args.Who)
	},
}

// UndoTag implements storage.Recovery.
func (c *Client) UndoTag(ctx context.Context, repo storage.RepoName, tag storage.Tag, who string) (storage.TagEvent, error) {
	return ask(ctx, c, undoCall, namedTag{repo, tag, who})
}

var undeleteCall = call[namedDigest, storage.Restored]{
	"undelete", func(ctx context.Context, store Store, args namedDigest) (storage.Restored, error) {
		return store.Undelete(ctx, args.Repo, args.Digest, args.Who)
	},
}

// Undelete implements storage.Recovery.
func (c *Client) Undelete(
	ctx context.Context, repo storage.RepoName, dgst digest.Digest, who string,
) (storage.Restored, error) {
	return ask(ctx, c, undeleteCall, namedDigest{repo, dgst, who})
}

var deleteRepoCall = call[namedDigest, none]{
	"delete-repo", func(ctx context.Context, store Store, args namedDigest) (none, error) {
		return none{}, store.DeleteRepo(ctx, args.Repo, args.Who)
	},
}

// DeleteRepo implements storage.Recovery.
func (c *Client) DeleteRepo(ctx context.Context, repo storage.RepoName, who string) error {
	_, err := ask(ctx, c, deleteRepoCall, namedDigest{Repo: repo, Who: who})

	return err
}

type purgeArgs struct {
	namedDigest
	storage.PurgeOptions
}

var purgeCall = call[purgeArgs, storage.Purged]{
	"purge", func(ctx context.Context, store Store, args purgeArgs) (storage.Purged, error) {
		return store.Purge(ctx, args.Repo, args.Digest, args.PurgeOptions, args.Who)
	},
}

// Purge implements storage.Purger.
func (c *Client) Purge(
	ctx context.Context, repo storage.RepoName, dgst digest.Digest, opts storage.PurgeOptions, who string,
) (storage.Purged, error) {
	return ask(ctx, c, purgeCall, purgeArgs{namedDigest{repo, dgst, who}, opts})
}

var backupCall = streamed[BackupOptions, storage.Copied, storage.Copied]{
	"backup", func(ctx context.Context, store Store, opts BackupOptions, tell func(storage.Copied)) (storage.Copied, error) {
		return store.Backup(ctx, opts, tell)
	},
}

// Backup implements Backups.
func (c *Client) Backup(ctx context.Context, opts BackupOptions, tell func(storage.Copied)) (storage.Copied, error) {
	return listen(ctx, c, backupCall, opts, tell)
}

var restoreCall = streamed[RestoreOptions, storage.Copied, storage.Copied]{
	"restore", func(ctx context.Context, store Store, opts RestoreOptions, tell func(storage.Copied)) (storage.Copied, error) {
		return store.Restore(ctx, opts, tell)
	},
}

// Restore implements Backups.
func (c *Client) Restore(ctx context.Context, opts RestoreOptions, tell func(storage.Copied)) (storage.Copied, error) {
	return listen(ctx, c, restoreCall, opts, tell)
}

var checkCall = streamed[storage.CheckOptions, storage.CheckProgress, storage.CheckReport]{
	"check", func(
		ctx context.Context, store Store, opts storage.CheckOptions, tell func(storage.CheckProgress),
	) (storage.CheckReport, error) {
		return store.Check(ctx, opts, tell)
	},
}

// Check implements storage.Checker.
func (c *Client) Check(
	ctx context.Context, opts storage.CheckOptions, progress func(storage.CheckProgress),
) (storage.CheckReport, error) {
	return listen(ctx, c, checkCall, opts, progress)
}

var scrubCall = streamed[storage.ScrubOptions, storage.CheckProgress, storage.CheckReport]{
	"scrub", func(
		ctx context.Context, store Store, opts storage.ScrubOptions, tell func(storage.CheckProgress),
	) (storage.CheckReport, error) {
		return store.Scrub(ctx, opts, tell)
	},
}

// Scrub implements storage.Checker.
func (c *Client) Scrub(
	ctx context.Context, opts storage.ScrubOptions, progress func(storage.CheckProgress),
) (storage.CheckReport, error) {
	return listen(ctx, c, scrubCall, opts, progress)
}

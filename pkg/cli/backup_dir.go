package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/admin"
	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/storage"
)

// Who has done what a backup or a restore commits. No user has a space in the name.
const (
	backupUser  = "zot backup"
	restoreUser = "zot restore"
)

// keptStores is the stores that a configuration names: what commands ask for.
type keptStores struct {
	*storage.Stores

	cfg config.Storage
	log zerolog.Logger
}

var _ admin.Store = (*keptStores)(nil)

// Backup implements admin.Backups.
func (k *keptStores) Backup(
	ctx context.Context, opts admin.BackupOptions, tell func(storage.Copied),
) (done storage.Copied, err error) {
	if err := k.checkApart(opts.Dir); err != nil {
		return done, err
	}

	mark, err := k.claim(opts)
	if err != nil {
		return done, err
	}

	err = withBackup(ctx, opts.Dir, storeMode{}, k.log, func(backup *storage.Stores) (err error) {
		done, err = storage.Copy(ctx, k.Stores, backup, storage.CopyOptions{Exact: true, Who: backupUser, Tell: tell})

		return err
	})
	if err != nil {
		return done, err
	}

	mark.Done = time.Now().UTC()

	return done, mark.write(opts.Dir)
}

// Restore implements admin.Backups.
func (k *keptStores) Restore(
	ctx context.Context, opts admin.RestoreOptions, tell func(storage.Copied),
) (done storage.Copied, err error) {
	if err := k.checkApart(opts.Dir); err != nil {
		return done, err
	}

	mark, err := readMark(opts.Dir)
	if err != nil {
		return done, err
	}

	err = withBackup(ctx, opts.Dir, storeMode{keepNames: true}, k.log, func(backup *storage.Stores) (err error) {
		done, err = storage.Copy(ctx, backup, k.Stores, storage.CopyOptions{
			Repos: opts.Repos, Exact: opts.Exact, AtRest: true, Who: restoreUser, Tell: tell,
		})

		return err
	})
	if err != nil || len(opts.Repos) > 0 {
		return done, err
	}

	return done, mark.add(opts.Dir, k.IDs()) // what was lost goes on here
}

// checkApart says whether a directory is neither in one that is served, nor around it.
func (k *keptStores) checkApart(dir string) error {
	resolved, err := resolve(dir)
	if err != nil {
		return err
	}

	for _, root := range k.roots() {
		if root == "" {
			continue
		}

		if root, err = resolve(root); err != nil {
			return err
		}

		if resolved == root || inside(resolved, root) || inside(root, resolved) {
			return fmt.Errorf("%s and the root directory %s are not apart; name a directory outside of it", dir, root)
		}
	}

	return nil
}

// roots are the root directories of the stores, in the order of IDs.
func (k *keptStores) roots() []string {
	roots := []string{k.cfg.RootDirectory}
	for _, prefix := range sortedNames(k.cfg.SubPaths) {
		roots = append(roots, k.cfg.SubPaths[prefix].RootDirectory)
	}

	return roots
}

// withBackup calls use with what a directory holds: one store with all repositories.
func withBackup(ctx context.Context, dir string, mode storeMode, log zerolog.Logger, use func(*storage.Stores) error) (err error) {
	cfg := config.Store{
		RootDirectory: dir, Dedupe: true, Commit: true, Sparse: true, Buffers: config.DefaultBuffers, LockWait: time.Second,
	}

	store, err := openStore(ctx, cfg, newBuffers(cfg), mode, log)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}

	backup := storage.NewStores(store, nil)
	defer func() { err = errors.Join(err, backup.Close(context.WithoutCancel(ctx))) }()

	return use(backup)
}

// backupMark says that a directory is a backup, and of what: _zot/backup.json.
type backupMark struct {
	Format int       `json:"format"`
	Of     []string  `json:"of"` // ids of the roots and buckets
	Done   time.Time `json:"done,omitzero"`
}

const markFormat = 1

func markFile(dir string) string { return filepath.Join(dir, "_zot", "backup.json") }

// claim finds out whether a directory is a backup of these stores, or may become one.
func (k *keptStores) claim(opts admin.BackupOptions) (*backupMark, error) {
	dir := opts.Dir

	mark, err := readMark(dir)
	if err == nil {
		if !slices.ContainsFunc(mark.Of, func(id string) bool { return slices.Contains(k.IDs(), id) }) {
			return nil, fmt.Errorf("%s is a backup of something else; name an empty directory", dir)
		}

		if err := k.checkNew(mark, opts); err != nil {
			return nil, err
		}

		return mark, mark.add(dir, k.IDs())
	}

	if !errors.Is(err, errNoBackup) {
		return nil, err
	}

	if empty, emptyErr := isEmpty(dir); emptyErr != nil || !empty {
		return nil, errors.Join(emptyErr, fmt.Errorf("%s is not empty, and not a backup; name an empty directory", dir))
	}

	mark = &backupMark{Format: markFormat}

	return mark, mark.add(dir, k.IDs())
}

// checkNew says whether a backup knows all stores, or those that it does not may be added. A
// root that is not mounted looks like one that is new, and empty.
func (k *keptStores) checkNew(mark *backupMark, opts admin.BackupOptions) error {
	roots := k.roots()

	for i, id := range k.IDs() {
		if !opts.NewStore && !slices.Contains(mark.Of, id) {
			return fmt.Errorf("%s is no backup of the store in %s, which is new or not mounted; --new-store adds it, "+
				"and removes from the backup what that store does not have", opts.Dir, roots[i])
		}
	}

	return nil
}

// errNoBackup: a directory is not a backup.
var errNoBackup = errors.New("not a backup")

func readMark(dir string) (*backupMark, error) {
	data, err := os.ReadFile(markFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is %w: there is no %s", dir, errNoBackup, markFile(dir))
	}

	if err != nil {
		return nil, err
	}

	mark := &backupMark{}
	if err := json.Unmarshal(data, mark); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", markFile(dir), storage.ErrDamaged, err)
	}

	if mark.Format != markFormat {
		return nil, fmt.Errorf("%s: %w: %d; this zot knows %d", markFile(dir), storage.ErrFormat, mark.Format, markFormat)
	}

	return mark, nil
}

// add notes that the directory is a backup of these, too.
func (m *backupMark) add(dir string, ids []string) error {
	for _, id := range ids {
		if !slices.Contains(m.Of, id) {
			m.Of = append(m.Of, id)
		}
	}

	return m.write(dir)
}

// write replaces the file in one step.
func (m *backupMark) write(dir string) (err error) {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}

	if err := os.MkdirAll(filepath.Dir(markFile(dir)), 0o700); err != nil {
		return err
	}

	temp, err := os.CreateTemp(filepath.Dir(markFile(dir)), "backup.json.*")
	if err != nil {
		return err
	}

	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}

	return os.Rename(temp.Name(), markFile(dir))
}

// isEmpty says whether nothing is at dir, or a directory with nothing in it but what a new
// file system has.
func isEmpty(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}

	if err != nil {
		return false, err
	}

	return !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() != "lost+found" }), nil
}

package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"zotregistry.io/zot/pkg/storage"
)

// formatVersion is that of everything below a root, as docs/local-format.md has it.
const formatVersion = 1

// rootFormat is the content of _zot/root.json.
type rootFormat struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
}

func formatFile(root string) string { return filepath.Join(root, privateDir, "root.json") }

// readFormat reads root.json; the zero value means that the root is new to zot.
func readFormat(root string) (rootFormat, error) {
	var format rootFormat

	body, err := readRegular(formatFile(root))
	if errors.Is(err, fs.ErrNotExist) {
		return format, nil
	}

	if err != nil {
		return format, err
	}

	if err := json.Unmarshal(body, &format); err != nil {
		return format, fmt.Errorf("%s: %w: %w", formatFile(root), storage.ErrDamaged, err)
	}

	if format.Version > formatVersion {
		return format, fmt.Errorf("%s: %w: version %d, this zot knows %d",
			formatFile(root), storage.ErrFormat, format.Version, formatVersion)
	}

	if format.Version < 1 || format.ID == "" {
		return format, fmt.Errorf("%s: %w: no version or no id", formatFile(root), storage.ErrDamaged)
	}

	return format, nil
}

// identify returns the id of the root, and gives one to a new root. The cache of
// the store is named by it, so it is flushed before it is used.
func (r *Root) identify(format rootFormat) (string, error) {
	if format.ID != "" {
		return format.ID, nil
	}

	format = rootFormat{Version: formatVersion, ID: uuid.NewString()}

	body, err := json.Marshal(format)
	if err != nil {
		return "", err
	}

	temp, err := r.writeTemp(whole(body))
	if err != nil {
		return "", err
	}

	if err := syncPath(temp); err != nil {
		return "", err
	}

	if err := r.place(temp, formatFile(r.path)); err != nil {
		return "", err
	}

	return format.ID, syncPath(filepath.Dir(formatFile(r.path)), r.path)
}

// emptyTemp makes _tmp, and removes what an earlier process left there.
func emptyTemp(root string) error {
	dir := filepath.Join(root, tempDir)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}

	return os.Mkdir(dir, dirMode)
}

// createTemp makes an empty file in _tmp. Its owner renames or removes it.
func (r *Root) createTemp() (file *os.File, err error) {
	name := r.tempName()
	err = r.withDir(name, func() error {
		file, err = openFile(name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_APPEND, fileMode)

		return err
	})

	return file, err
}

// tempName returns a name that this process, which alone has the root, never used.
func (r *Root) tempName() string {
	return r.path + "/" + tempDir + "/" + strconv.FormatUint(r.temps.Add(1), 10)
}

// writeTemp writes a file in _tmp and returns its path. After an error there is
// none.
func (r *Root) writeTemp(write func(io.Writer) error) (string, error) {
	file, err := r.createTemp()
	if err != nil {
		return "", err
	}

	if err := errors.Join(write(file), file.Close()); err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}

	return file.Name(), nil
}

// whole writes all of body.
func whole(body []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(body)

		return err
	}
}

// place moves a file from _tmp to where it belongs. After an error it is gone.
func (r *Root) place(temp, dst string) error {
	if err := r.rename(temp, dst); err != nil {
		return errors.Join(err, os.Remove(temp))
	}

	return nil
}

// rename replaces dst by src in one step.
func (r *Root) rename(src, dst string) error {
	err := r.withDir(dst, func() error { return renameFile(src, dst) })
	if err != nil {
		return err
	}

	r.flush.wrote(dst, filepath.Dir(dst), filepath.Dir(src))

	return nil
}

// withDir does what makes dst, once more if the directory of dst had to be made. One that
// is empty may be removed by others meanwhile (repoLog.Remove).
func (r *Root) withDir(dst string, call func() error) (err error) {
	for range 3 {
		if err = r.inDir(dst, call); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}

	return err
}

func (r *Root) inDir(dst string, call func() error) error {
	err := call()
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}

	dir := filepath.Dir(dst)
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return err
	}

	for ; dir != r.path && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		r.flush.wrote(filepath.Dir(dir))
	}

	return call()
}

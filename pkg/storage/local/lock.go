package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// lockPoll is how often a lock that another process holds is tried again. flock(2)
// that blocks could not be given up.
const lockPoll = 50 * time.Millisecond

// LockedError is returned when another process does not leave the root in time.
type LockedError struct {
	Path   string // the file that is locked
	PID    int    // who wrote last that it holds it; 0 = not known
	Waited time.Duration
}

func (e *LockedError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who += fmt.Sprintf(" (pid %d)", e.PID)
	}

	return fmt.Sprintf("%s is locked by %s, waited %s", e.Path, who, e.Waited)
}

// lockFile locks the file at path for this process until the file is closed.
func lockFile(ctx context.Context, path string, wait time.Duration, log zerolog.Logger) (*os.File, error) {
	file, err := openFile(path, os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return nil, err
	}

	if err := errors.Join(checkFile(file), waitLock(ctx, file, wait, log)); err != nil {
		return nil, errors.Join(err, file.Close())
	}

	return file, writePID(file)
}

func waitLock(ctx context.Context, file *os.File, wait time.Duration, log zerolog.Logger) error {
	locked, err := tryLock(file, log)
	if locked || err != nil {
		return err
	}

	if wait > 0 {
		log.Info().Str("file", file.Name()).Int("pid", readPID(file)).Stringer("atMost", wait).
			Msg("waiting for another process to leave the root")
	}

	ctx, cancel := context.WithTimeoutCause(ctx, wait, errWaited)
	defer cancel()

	retry := time.NewTicker(lockPoll)
	defer retry.Stop()

	for !locked && err == nil {
		select {
		case <-retry.C:
			locked, err = tryLock(file, log)
		case <-ctx.Done():
			return lockTimeout(ctx, file, wait)
		}
	}

	return err
}

var errWaited = errors.New("waited long enough")

func lockTimeout(ctx context.Context, file *os.File, wait time.Duration) error {
	if cause := context.Cause(ctx); !errors.Is(cause, errWaited) {
		return fmt.Errorf("wait for %s: %w", file.Name(), cause)
	}

	return &LockedError{Path: file.Name(), PID: readPID(file), Waited: wait}
}

// tryLock says whether the file is ours now. Some network file systems know no
// locks; there the operator has to see to it that one process uses the root.
func tryLock(file *os.File, log zerolog.Logger) (bool, error) {
	err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)

	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EINTR):
		return false, nil
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, unix.ENOLCK):
		log.Warn().Err(err).Str("file", file.Name()).
			Msg("the file system knows no locks: make sure that one process only uses this root")

		return true, nil
	}

	return false, fmt.Errorf("lock %s: %w", file.Name(), err)
}

func writePID(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}

	_, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)

	return err
}

// readPID reads who holds the lock, for a message only.
func readPID(file *os.File) int {
	body, err := io.ReadAll(io.NewSectionReader(file, 0, 32))
	if err != nil {
		return 0
	}

	pid, err := strconv.Atoi(strings.TrimSpace(string(body)))
	if err != nil {
		return 0
	}

	return pid
}

package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"zotregistry.io/zot/pkg/storage"
)

// keptCheckpoints is how many are kept: the newest, and the one before, whose number
// index.json may still carry when another program has an old copy of it.
const keptCheckpoints = 2

// layout is the content of oci-layout (image-spec, "oci-layout file").
const layout = `{"imageLayoutVersion":"1.0.0"}`

func (l *repoLog) checkpointPath(seq uint64) string {
	return l.dir + "/" + formatName(checkpointPrefix, seq, checkpointSuffix)
}

// Checkpoint writes both files under _tmp, flushes, renames, flushes, and only then
// puts aside what they cover. A file under its own name is so always whole, even after a
// power cut, and records go after the checkpoint that covers them is on disk. These
// flushes are made without Commit, too: what was stored long ago must not be lost.
//
// Errors: storage.ErrConflict if there is an index.json that was not taken in.
func (l *repoLog) Checkpoint(ctx context.Context, seq uint64, state, index func(io.Writer) error) error {
	if l.has(seq + 1) {
		return nil
	}

	if err := l.checkpoint(ctx, seq, state, index); err != nil {
		return fmt.Errorf("checkpoint %d of log %s: %w", seq, l.repo, err)
	}

	return nil
}

// checkIndex is an error if index.json may not be replaced.
func (l *repoLog) checkIndex() error {
	may, err := l.mayReplace()
	if err == nil && !may {
		return fmt.Errorf("%w: another program wrote index.json", storage.ErrConflict)
	}

	return err
}

// has says whether there is a checkpoint of number seq or higher.
func (l *repoLog) has(seq uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()

	return len(l.checkpoints) > 0 && l.covered() >= seq
}

func (l *repoLog) checkpoint(ctx context.Context, seq uint64, state, index func(io.Writer) error) error {
	stateTemp, indexTemp, err := l.writeTemps(state, index)
	if err != nil {
		return err
	}

	if err := errors.Join(ctx.Err(), l.writeLayout(), l.root.flush.flush(), l.checkIndex()); err != nil {
		return errors.Join(err, os.Remove(stateTemp), os.Remove(indexTemp))
	}

	if err := l.root.place(stateTemp, l.checkpointPath(seq)); err != nil {
		return errors.Join(err, os.Remove(indexTemp))
	}

	l.noteCheckpoint(seq)

	if err := l.placeIndex(indexTemp); err != nil {
		return err
	}

	if err := l.root.flush.flush(); err != nil {
		return err
	}

	if err := l.drop(seq); err != nil {
		return err
	}

	return l.root.keepReserve() // what it was spent for may have made room
}

// writeTemps writes both files of a checkpoint, under other names.
func (l *repoLog) writeTemps(state, index func(io.Writer) error) (stateTemp, indexTemp string, err error) {
	if stateTemp, err = l.root.writeTemp(buffered(state)); err != nil {
		return "", "", err
	}

	if indexTemp, err = l.root.writeTemp(buffered(index)); err != nil {
		return "", "", errors.Join(err, os.Remove(stateTemp))
	}

	l.root.flush.wrote(stateTemp, indexTemp)

	return stateTemp, indexTemp, nil
}

func (l *repoLog) noteCheckpoint(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()

	if len(l.checkpoints) == 0 || l.covered() != seq {
		l.checkpoints = append(l.checkpoints, seq)
	}
}

// buffered gathers the small writes of a JSON encoder.
func buffered(write func(io.Writer) error) func(io.Writer) error {
	return func(w io.Writer) error {
		buffer := bufio.NewWriterSize(w, 64<<10)

		return errors.Join(write(buffer), buffer.Flush())
	}
}

// drop makes history of the journals that are covered, oldest first, and removes the
// checkpoints that are too old. Appends go on in a new journal, so that the present one can
// go soon, too.
func (l *repoLog) drop(seq uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.renew = true
	if err := l.closeFile(); err != nil {
		return err
	}

	for len(l.journals) > 0 && l.journals[0].last <= seq {
		if err := l.putAside(l.journals[0]); err != nil {
			return err
		}

		l.journals = l.journals[1:]
	}

	var old []string

	for len(l.checkpoints) > keptCheckpoints {
		old = append(old, l.checkpointPath(l.checkpoints[0]))
		l.checkpoints = l.checkpoints[1:]
	}

	return removeAll(old)
}

// writeLayout writes oci-layout, if there is none.
func (l *repoLog) writeLayout() error {
	path := l.repo + "/oci-layout"
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}

	temp, err := l.root.writeTemp(whole([]byte(layout)))
	if err != nil {
		return err
	}

	return l.root.place(temp, path)
}

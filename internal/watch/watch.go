// Package watch tells when files have changed: written in place, replaced by a rename, or by
// another target of a symbolic link on the way to them, as Kubernetes does with ConfigMaps.
package watch

import (
	"os"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Options say how fast a Watcher is. Zero values are replaced by the defaults.
type Options struct {
	Quiet time.Duration // for which the files have stood still when a change is told of; 100 ms
	Poll  time.Duration // they are looked at without any event; 10 s
}

// Watcher watches some files. Its methods may be called concurrently.
type Watcher struct {
	opts    Options
	changes chan struct{}
	stop    chan struct{}
	done    chan struct{}
	events  *fsnotify.Watcher // nil = there are none, files are only polled

	mu     sync.Mutex       // guards what follows
	stamps map[string]stamp // as they were when they were looked at last
	moving bool             // a file was another one then, of which nobody was told
}

// New begins to watch files. They need not be there. An error says that the system tells of no
// events: the Watcher is good all the same, and polls. Close ends it.
func New(files []string, opts Options) (*Watcher, error) {
	if opts.Quiet == 0 {
		opts.Quiet = 100 * time.Millisecond
	}

	if opts.Poll == 0 {
		opts.Poll = 10 * time.Second
	}

	w := &Watcher{
		opts: opts, changes: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		stamps: map[string]stamp{},
	}

	events, err := fsnotify.NewWatcher()
	if err == nil {
		w.events = events
	}

	w.Set(files)

	go w.run()

	return w, err
}

// Changes has a value when a file may have changed since the last was taken: when it was set,
// or since.
func (w *Watcher) Changes() <-chan struct{} { return w.changes }

// Set has other files watched. A change is told of that comes after, and for files that were
// watched before also one of before.
func (w *Watcher) Set(files []string) {
	w.mu.Lock()
	defer w.mu.Unlock()

	stamps := map[string]stamp{}

	w.follow(files)

	for _, file := range files {
		known, ok := w.stamps[file]
		if !ok {
			known = stampOf(file)
		}

		stamps[file] = known
	}

	w.stamps = stamps
}

// Close ends the watch.
func (w *Watcher) Close() error {
	close(w.stop)
	<-w.done

	if w.events == nil {
		return nil
	}

	return w.events.Close()
}

// run looks at the files after events, and from time to time.
func (w *Watcher) run() {
	defer close(w.done)

	var (
		poll   = time.NewTicker(w.opts.Poll)
		look   = time.NewTimer(w.opts.Quiet)
		events <-chan fsnotify.Event
		errs   <-chan error
	)

	defer poll.Stop()
	defer look.Stop()

	if w.events != nil {
		events, errs = w.events.Events, w.events.Errors
	}

	// The timer is not set back by an event, which may be of any file in the directory.
	soon := true

	for {
		select {
		case <-w.stop:
			return
		case <-look.C:
			soon = w.look()
			if soon {
				look.Reset(w.opts.Quiet)
			}

			continue
		case _, ok := <-events:
			if !ok {
				events = nil
			}
		case _, ok := <-errs: // events were lost
			if !ok {
				errs = nil
			}
		case <-poll.C:
		}

		if !soon {
			soon = true
			look.Reset(w.opts.Quiet)
		}
	}
}

// look tells of a change when the files are as they were the last time: one that is being
// written may be half there. It says whether it must be called again.
func (w *Watcher) look() (again bool) {
	w.mu.Lock()
	defer w.mu.Unlock()

	files := make([]string, 0, len(w.stamps))

	for file, before := range w.stamps {
		files = append(files, file)

		if now := stampOf(file); !now.equal(before) {
			w.stamps[file] = now
			again = true
		}
	}

	w.follow(files) // links may lead elsewhere now

	if again || !w.moving {
		w.moving = again

		return again
	}

	w.moving = false

	select {
	case w.changes <- struct{}{}:
	default: // one waits to be taken
	}

	return false
}

// stamp is what a file looks like from outside. The zero stamp is a file that is not there.
type stamp struct{ info os.FileInfo }

func stampOf(file string) stamp {
	info, err := os.Stat(file)
	if err != nil {
		return stamp{}
	}

	return stamp{info}
}

func (s stamp) equal(other stamp) bool {
	if s.info == nil || other.info == nil {
		return s.info == nil && other.info == nil
	}

	return os.SameFile(s.info, other.info) && s.info.Size() == other.info.Size() &&
		s.info.ModTime().Equal(other.info.ModTime()) && s.info.Mode() == other.info.Mode()
}

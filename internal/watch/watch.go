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
	Quiet time.Duration // without an event before the files are looked at; 100 ms
	Most  time.Duration // after the first event, they are looked at anyway; 1 s
	Poll  time.Duration // they are looked at without any event; 10 s
}

// Watcher watches some files. Its methods may be called concurrently.
type Watcher struct {
	opts    Options
	changes chan struct{}
	stop    chan struct{}
	done    chan struct{}
	events  *fsnotify.Watcher // nil = there are none, files are only polled

	mu     sync.Mutex // guards what follows
	stamps map[string]stamp
}

// New begins to watch files. They need not be there. An error says that the system tells of no
// events: the Watcher is good all the same, and polls. Close ends it.
func New(files []string, opts Options) (*Watcher, error) {
	if opts.Quiet == 0 {
		opts.Quiet = 100 * time.Millisecond
	}

	if opts.Most == 0 {
		opts.Most = time.Second
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
		poll     = time.NewTicker(w.opts.Poll)
		quiet    = time.NewTimer(time.Hour)
		deadline time.Time // of those files that an event has told of
		events   <-chan fsnotify.Event
		errs     <-chan error
	)

	defer poll.Stop()
	defer quiet.Stop()
	quiet.Stop()

	if w.events != nil {
		events, errs = w.events.Events, w.events.Errors
	}

	for {
		select {
		case <-w.stop:
			return
		case <-events:
			now := time.Now()
			if deadline.IsZero() {
				deadline = now.Add(w.opts.Most)
			}

			quiet.Reset(max(0, min(w.opts.Quiet, deadline.Sub(now))))
		case _, ok := <-errs: // events were lost
			if !ok {
				errs = nil
			}

			quiet.Reset(w.opts.Quiet)
		case <-quiet.C:
			deadline = time.Time{}
			w.look()
		case <-poll.C:
			w.look()
		}
	}
}

// look tells if a file has changed.
func (w *Watcher) look() {
	w.mu.Lock()
	defer w.mu.Unlock()

	files := make([]string, 0, len(w.stamps))
	changed := false

	for file, before := range w.stamps {
		files = append(files, file)

		if now := stampOf(file); !now.equal(before) {
			w.stamps[file] = now
			changed = true
		}
	}

	w.follow(files) // links may lead elsewhere now

	if !changed {
		return
	}

	select {
	case w.changes <- struct{}{}:
	default: // one waits to be taken
	}
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

package cli

import (
	"sync/atomic"
	"time"
)

// reloadOutcome is how reloads went, for the metrics. Its methods may be called concurrently.
type reloadOutcome struct {
	refused atomic.Bool  // the last one was
	taken   atomic.Int64 // when one was taken in last, in nanoseconds since 1970
}

// newReloadOutcome begins with the configuration that zot starts with: it was taken in.
func newReloadOutcome() *reloadOutcome {
	o := &reloadOutcome{}
	o.succeed()

	return o
}

func (o *reloadOutcome) succeed() {
	o.taken.Store(time.Now().UnixNano())
	o.refused.Store(false)
}

func (o *reloadOutcome) fail() { o.refused.Store(true) }

// last says whether the last reload was refused, and when one was taken in last.
func (o *reloadOutcome) last() (refused bool, taken time.Time) {
	return o.refused.Load(), time.Unix(0, o.taken.Load())
}

package cache

import "time"

// Patient is o for a machine that is busy with other tests: nothing is given up.
func (o BoltOptions) Patient() BoltOptions {
	o.timing = defaultTiming
	o.timing.read, o.timing.room, o.timing.close = time.Minute, time.Minute, time.Minute

	return o
}

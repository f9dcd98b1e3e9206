package zb

import (
	"context"
	"errors"
	"time"
)

// Usage is what a process took while a test ran.
type Usage struct {
	CPUSeconds   float64 `json:"cpuSeconds"`
	CPUPerOp     float64 `json:"cpuMillisPerOperation"`
	Cores        float64 `json:"cores"` // CPU seconds per second
	MemoryBefore int64   `json:"memoryBefore,omitempty"`
	MemoryPeak   int64   `json:"memoryPeak,omitempty"` // resident bytes, looked at every 50 ms
}

// meter watches client, server and machine while a test runs.
type meter struct {
	pid           int // of the server; 0 = it is not seen
	client, other time.Duration
	idle          time.Duration
	machine       bool // idle is known
	before, peak  int64
	begun         time.Time
	stop          context.CancelFunc
	done          chan struct{}
}

// startMeter begins to watch. What can't be seen is left out: only Linux shows it.
func startMeter(ctx context.Context, pid int) (*meter, error) {
	m := &meter{pid: pid, begun: time.Now(), done: make(chan struct{})}

	var err error
	if m.client, err = ownCPU(); err != nil {
		return nil, err
	}

	if m.idle, err = idle(); err == nil {
		m.machine = true
	}

	if pid != 0 {
		var cpuErr, memoryErr error

		m.other, cpuErr = CPUOf(pid)
		m.before, memoryErr = memoryOf(pid)

		if err := errors.Join(cpuErr, memoryErr); err != nil {
			return nil, err
		}
	}

	m.peak = m.before

	ctx, m.stop = context.WithCancel(ctx)
	go m.watch(ctx)

	return m, nil
}

// watch looks at the server's memory now and then.
func (m *meter) watch(ctx context.Context) {
	defer close(m.done)

	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()

	for m.pid != 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}

		if size, err := memoryOf(m.pid); err == nil { // it may have been restarted
			m.peak = max(m.peak, size)
		}
	}
}

// usages are those of a test's client, its server and its machine.
type usages struct {
	client    Usage
	server    *Usage  // nil: not seen
	idleCores float64 // less than 0: not known
}

// end stops watching, and returns what was taken for so many operations.
func (m *meter) end(operations int64) (usages, error) {
	m.stop()
	<-m.done

	took := time.Since(m.begun)

	now, err := ownCPU()
	if err != nil {
		return usages{}, err
	}

	all := usages{client: usageOf(now-m.client, took, operations), idleCores: -1}

	if rest, err := idle(); err == nil && m.machine {
		all.idleCores = (rest - m.idle).Seconds() / took.Seconds()
	}

	if m.pid != 0 {
		if now, err := CPUOf(m.pid); err == nil { // else it was restarted
			server := usageOf(now-m.other, took, operations)
			server.MemoryBefore, server.MemoryPeak = m.before, m.peak
			all.server = &server
		}
	}

	return all, nil
}

func usageOf(cpu, took time.Duration, operations int64) Usage {
	u := Usage{CPUSeconds: cpu.Seconds(), Cores: cpu.Seconds() / took.Seconds()}
	if operations > 0 {
		u.CPUPerOp = cpu.Seconds() * 1000 / float64(operations)
	}

	return u
}

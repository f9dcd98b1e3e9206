package zb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/internal/wire"
)

// bench is what all tests of a run share.
type bench struct {
	opts      Options
	base      *url.URL
	transport *transport
	client    *wire.Client
	data      *data
	run       string // names this run, in repositories
	pid       int    // of the server; 0 = it is not seen
	local     bool   // the server is on this machine
}

// cleanupLimit is how long may be cleaned up after an interruption.
const cleanupLimit = time.Minute

// Run measures, and tells watch how it goes (nil = nobody). If ctx ends, it returns what it has by
// then, with the error; what was pushed is deleted all the same.
func Run(ctx context.Context, o Options, watch Watcher) (_ *Report, err error) {
	tests, err := Select(o.Tests)
	if err != nil {
		return nil, err
	}

	b, err := open(ctx, o, largestOf(tests))
	if err != nil {
		return nil, err
	}

	defer func() { err = errors.Join(err, b.close()) }()

	report := &Report{Version: formatVersion, Started: time.Now().UTC(), Options: o, Client: thisMachine(b.local)}

	if err := b.touch(tests); err != nil {
		return nil, err
	}

	for n, t := range tests {
		result, err := b.test(ctx, t, progressOf(watch, n, len(tests), t.Name), report)
		if err != nil {
			return report, fmt.Errorf("test %s: %w", t.Name, err)
		}

		report.Results = append(report.Results, result)
	}

	return report, nil
}

// open finds the registry, and makes random bytes for blobs of up to largest bytes.
func open(ctx context.Context, o Options, largest int) (_ *bench, err error) {
	base, err := o.check()
	if err != nil {
		return nil, err
	}

	b := &bench{opts: o, base: base, run: strconv.FormatInt(time.Now().UnixMilli(), 36)}

	if b.transport, err = newTransport(o, base); err != nil {
		return nil, err
	}

	b.client = wire.NewAt(base, b.transport)

	status, err := b.ping(ctx)
	if err != nil {
		return nil, fmt.Errorf("is there a registry at %s? %w", o.URL, err)
	}

	if status != http.StatusOK {
		return nil, fmt.Errorf("%s/v2/ answers with status %d", o.URL, status)
	}

	if b.local, err = isLocal(ctx, base.Hostname()); err != nil {
		return nil, err
	}

	b.findServer()

	b.data, err = newData(o.WorkingDir, largest)

	return b, err
}

// largestOf is the size of the largest blob that tests push, in bytes.
func largestOf(tests []Test) int {
	size := large[len(large)-1].mb * mb
	for _, t := range tests {
		size = max(size, t.largest)
	}

	return size
}

func (b *bench) close() error {
	return errors.Join(b.transport.close(), b.data.close())
}

// ping asks whether a registry is there, and returns the status of the answer.
func (b *bench) ping(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.base.Scheme+"://"+b.base.Host+"/v2/", nil)
	if err != nil {
		return 0, err
	}

	resp, err := b.transport.RoundTrip(req)
	if err != nil {
		return 0, err
	}

	return resp.StatusCode, resp.Body.Close()
}

// findServer finds the process of a local server, if it may be seen. It may have been restarted.
func (b *bench) findServer() {
	b.pid = b.opts.PID
	if b.pid != 0 || !b.local {
		return
	}

	port, err := strconv.Atoi(b.base.Port())
	if err != nil {
		port = map[string]int{"http": 80, "https": 443}[b.base.Scheme]
	}

	if pid, err := listener(port); err == nil { // else this system does not tell
		b.pid = pid
	}
}

// isLocal says whether a host is this machine.
func isLocal(ctx context.Context, host string) (bool, error) {
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return false, err
	}

	own, err := net.InterfaceAddrs()
	if err != nil {
		return false, err
	}

	for _, ip := range found {
		if ip.IsLoopback() {
			return true, nil
		}

		for _, addr := range own {
			if prefix, err := netip.ParsePrefix(addr.String()); err == nil && prefix.Addr() == ip.Unmap() {
				return true, nil
			}
		}
	}

	return false, nil
}

// touch touches as much memory as the tests write, but not more than half of what there is.
func (b *bench) touch(tests []Test) error {
	if !b.local || !b.opts.Touch {
		return nil
	}

	var size int64
	for _, t := range tests {
		size += t.bytes * int64(b.loadOf(t).total)
	}

	return touch(min(size, available()/2))
}

func (b *bench) loadOf(t Test) load {
	l := load{
		workers: b.opts.Concurrency, total: t.requests, duration: b.opts.Duration, rate: b.opts.Rate, timeout: b.opts.Timeout,
	}

	if t.workers > 0 {
		l.workers = min(l.workers, t.workers)
	}

	switch {
	case b.opts.Requests > 0:
		l.total = b.opts.Requests
	case b.opts.Duration > 0:
		l.total = 0
	}

	return l
}

// test prepares, measures and cleans up.
func (b *bench) test(ctx context.Context, t Test, p *progress, report *Report) (Result, error) {
	s := &stage{bench: b, test: t.Name, total: b.loadOf(t).total}

	defer b.tidy(ctx, s, p, report)

	p.say("preparing")

	rec := newRecorder()
	b.findServer()

	op, err := t.prepare(ctx, s)
	if errors.Is(err, errUnsupported) {
		return Result{Name: t.Name, About: t.About, Skipped: err.Error()}, nil
	}

	if err != nil {
		return Result{}, fmt.Errorf("prepare: %w", err)
	}

	return b.measure(ctx, t, op, rec, p)
}

func (b *bench) measure(ctx context.Context, t Test, op operation, rec *recorder, p *progress) (Result, error) {
	l := b.loadOf(t)

	if err := b.connect(ctx, l.workers); err != nil {
		return Result{}, err
	}

	m, err := startMeter(ctx, b.pid)
	if err != nil {
		return Result{}, err
	}

	b.transport.rec.Store(rec)
	stop := p.follow(ctx, rec, l)

	err = l.run(ctx, op, rec)

	stop()
	b.transport.rec.Store(nil)

	used, meterErr := m.end(rec.operations())
	if err := errors.Join(err, meterErr); err != nil {
		return Result{}, err
	}

	return rec.result(t, l, used), nil
}

// connect opens connections for all workers, so that a test does not measure that.
func (b *bench) connect(ctx context.Context, workers int) error {
	group, ctx := errgroup.WithContext(ctx)

	for range workers {
		group.Go(func() error {
			_, err := b.ping(ctx)

			return err
		})
	}

	return group.Wait()
}

// tidy deletes what a test has pushed, also if ctx is over. What can't be deleted is noted.
func (b *bench) tidy(ctx context.Context, s *stage, p *progress, report *Report) {
	if b.opts.SkipCleanup {
		return
	}

	p.say("cleaning up")

	ctx, cancel := outlast(ctx, cleanupLimit)
	defer cancel()

	err := s.cleanup(ctx)

	switch {
	case errors.Is(err, errKept):
		report.note(err.Error())
	case err != nil:
		report.note(fmt.Sprintf("cleaning up after %s: %v", s.test, err))
	}
}

// outlast returns a context that ends so long after ctx.
func outlast(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	forget := context.AfterFunc(ctx, func() { time.AfterFunc(limit, cancel) })

	return longer, func() {
		forget()
		cancel()
	}
}

// note adds a note, once.
func (r *Report) note(text string) {
	for _, have := range r.Notes {
		if have == text {
			return
		}
	}

	r.Notes = append(r.Notes, text)
}

// Package faultproxy stands between a client of S3 and its server, counts what the
// client asks for, and injects the faults that a network and a busy server have.
//
// Bodies are streamed. The Host header is passed on as it came, so that a signature
// made for the proxy's address is valid at the server, too. Where the server cannot be
// reached, the client's connection is reset: there is no answer that a server did not
// give, or that no rule asked for.
package faultproxy

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

// Entry is a request in the log.
type Entry struct {
	Request

	Fault  Kind
	Server int // status of the server's answer; 0: it gave none, or has not yet
	Status int // status of the client's answer; 0: it got none, or has not yet
	// Again marks what a fault of kind Duplicate sent the second time. It counts as no
	// request, and its Seq is that of the first.
	Again bool
}

// Proxy passes requests on. Its methods may be called concurrently.
type Proxy struct {
	// URL is http://host:port, on the loopback interface.
	URL string

	target    *url.URL
	server    *http.Server
	transport *http.Transport
	cancel    context.CancelFunc
	calls     sync.WaitGroup // requests under way, late ones too

	mu     sync.Mutex // guards what follows
	closed bool
	epoch  int // how often it was Reset
	seed   uint64
	rules  uint64 // how many there were
	faults []*Fault
	log    []*Entry
	counts map[Operation]int
	ofKey  map[opKey]int
}

type opKey struct {
	operation   Operation
	bucket, key string
}

// New makes a proxy in front of target, http://host:port. Close ends it.
func New(target string) (*Proxy, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, err
	}

	if to.Host == "" {
		return nil, fmt.Errorf("%q is no address of a server", target)
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}

	ctx, cancel := context.WithCancel(context.Background())

	p := &Proxy{
		URL:       "http://" + listener.Addr().String(),
		target:    to,
		transport: newTransport(),
		cancel:    cancel,
		counts:    map[Operation]int{},
		ofKey:     map[opKey]int{},
	}
	p.server = &http.Server{
		Handler:     http.HandlerFunc(p.serve),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}

	p.calls.Go(func() { _ = p.server.Serve(listener) }) // returns when it is closed

	return p, nil
}

// Start is New for a test, at the end of which the proxy is closed.
func Start(tb testing.TB, target string) *Proxy {
	tb.Helper()

	p, err := New(target)
	if err != nil {
		tb.Fatal(err)
	}

	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Error(err)
		}
	})

	return p
}

// newTransport keeps a connection for each client. Nothing is added to a request: what
// is not signed could still change an answer.
func newTransport() *http.Transport {
	return &http.Transport{
		MaxIdleConnsPerHost:   1024,
		DisableCompression:    true,
		ExpectContinueTimeout: time.Second,
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	}
}

// Close ends the requests under way, gives up late ones, and waits for all.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()

	p.cancel()
	err := p.server.Close()
	p.calls.Wait()
	p.transport.CloseIdleConnections()

	return err
}

// Seed makes the faults that happen by chance other ones. It is 0 at first.
func (p *Proxy) Seed(seed uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.seed = seed
}

// Inject adds a rule. A request meets one fault at most: that of the oldest rule that
// chooses it.
func (p *Proxy) Inject(rule Rule) *Fault {
	p.mu.Lock()
	defer p.mu.Unlock()

	f := newFault(rule, p.rules)
	p.rules++
	p.faults = append(p.faults, f)

	return f
}

// Reset forgets counts and log and removes all rules. Requests under way are
// finished, those held are released, and none of them is counted.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()

	for _, f := range p.faults {
		f.Release()
	}

	p.epoch++
	p.faults, p.rules, p.log = nil, 0, nil
	clear(p.counts)
	clear(p.ofKey)
}

// Counts returns how many requests of each operation arrived.
func (p *Proxy) Counts() map[Operation]int {
	p.mu.Lock()
	defer p.mu.Unlock()

	return maps.Clone(p.counts)
}

// Log returns the requests in the order in which they arrived.
func (p *Proxy) Log() []Entry {
	p.mu.Lock()
	defer p.mu.Unlock()

	log := make([]Entry, 0, len(p.log))
	for _, e := range p.log {
		log = append(log, *e)
	}

	return log
}

// serve is the handler of all requests.
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	c := p.begin(w, r)
	if c == nil {
		reset(w)

		return
	}

	defer p.calls.Done()
	c.serve()
}

// begin counts a request and finds its fault. It returns nil if the proxy is closed.
func (p *Proxy) begin(w http.ResponseWriter, r *http.Request) *call {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.closed {
		return nil
	}

	p.calls.Add(1)

	req := p.count(parse(r))
	c := &call{proxy: p, w: w, r: r, entry: &Entry{Request: req}, epoch: p.epoch}
	p.log = append(p.log, c.entry)

	if i := slices.IndexFunc(p.faults, func(f *Fault) bool { return f.meets(req, p.seed) }); i >= 0 {
		c.fault = p.faults[i]
		c.entry.Fault = c.fault.rule.Kind
	}

	return c
}

func (p *Proxy) count(req Request) Request {
	key := opKey{req.Operation, req.Bucket, req.Key}
	p.counts[req.Operation]++
	p.ofKey[key]++

	req.Seq = len(p.log) + 1
	req.Nth = p.counts[req.Operation]
	req.NthOfKey = p.ofKey[key]

	return req
}

// note changes an entry of the log.
func (p *Proxy) note(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()

	change()
}

// again logs what is sent a second time, unless the log it belongs to is forgotten.
func (p *Proxy) again(epoch int, entry *Entry) {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.epoch == epoch {
		p.log = append(p.log, entry)
	}
}

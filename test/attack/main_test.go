//go:build attack && linux

// Package attack sends to the binary what nobody means well with, and looks at what it costs: others
// are served meanwhile, memory stays bounded, and nothing of it is left afterwards.
package attack

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mostMemory is how much of the process may be resident, whatever is done to it.
const mostMemory = 256 << 20

// victim is a process under attack.
type victim struct {
	*daemon.Daemon
	t *testing.T
}

func start(t *testing.T, http map[string]any) victim {
	t.Helper()

	zot := &daemon.Zot{HTTP: http, Extensions: map[string]any{"metrics": map[string]any{}}}

	return victim{zot.Start(t), t}
}

func (v victim) must(err error) {
	v.t.Helper()

	if err != nil {
		v.t.Fatal(err)
	}
}

// dial opens a connection, which is closed with the test.
func (v victim) dial() net.Conn {
	v.t.Helper()

	conn, err := (&net.Dialer{}).DialContext(v.t.Context(), "tcp", v.Addr)
	v.must(err)
	v.t.Cleanup(func() { _ = conn.Close() })

	return conn
}

// memory is a line of /proc/<pid>/status, in bytes: VmRSS, or VmHWM.
func (v victim) memory(name string) int64 {
	v.t.Helper()

	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(v.PID()), "status"))
	v.must(err)

	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, name+": %d kB", &kib); n == 1 {
			return kib << 10
		}
	}

	v.t.Fatalf("the kernel does not tell %s", name)

	return 0
}

// memoryIsBounded looks at the most that was ever resident.
func (v victim) memoryIsBounded() {
	v.t.Helper()

	peak := v.memory("VmHWM")
	v.t.Logf("%d MiB were resident at most", peak>>20)

	if peak > mostMemory {
		v.t.Errorf("%d MiB were resident, %d may be", peak>>20, mostMemory>>20)
	}
}

// files is how many descriptors are open.
func (v victim) files() int {
	v.t.Helper()

	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(v.PID()), "fd"))
	v.must(err)

	return len(entries)
}

// goroutines is what the metrics say.
func (v victim) goroutines() int {
	v.t.Helper()

	req, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, "http://"+v.Addr+"/metrics", nil)
	v.must(err)

	req.Close = true

	resp, err := http.DefaultClient.Do(req)
	v.must(err)

	defer resp.Body.Close()

	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			n, err := strconv.Atoi(text)
			v.must(err)

			return n
		}
	}

	v.t.Fatal("no metric of goroutines")

	return 0
}

// settles waits until as few descriptors and goroutines are there as before, and a few more.
func (v victim) settles(files, goroutines int) {
	v.t.Helper()

	const some = 20

	for end := time.Now().Add(15 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		f, g := v.files(), v.goroutines()
		if f <= files+some && g <= goroutines+some {
			v.t.Logf("descriptors: %d before, %d after; goroutines: %d before, %d after", files, f, goroutines, g)

			return
		}

		if time.Now().After(end) {
			v.t.Fatalf("descriptors: %d before, %d after; goroutines: %d before, %d after", files, f, goroutines, g)
		}
	}
}

// served runs the attack while a bystander pushes and pulls.
func (v victim) served(attack func()) {
	v.t.Helper()

	ctx, stop := context.WithCancel(v.t.Context())
	done := make(chan string, 1)

	go func() { done <- v.bystand(ctx) }()

	attack()
	stop()

	if said := <-done; said != "" {
		v.t.Error(said)
	}
}

// rate is how many images are pushed and pulled in a second, for a while.
func (v victim) rate(d time.Duration) float64 {
	v.t.Helper()

	ctx, stop := context.WithTimeout(v.t.Context(), d)
	defer stop()

	c := wire.New(v.Addr)
	defer c.Close()

	n, begun := 0, time.Now()

	for ; ctx.Err() == nil; n++ {
		v.must(pushAndPull(v.t.Context(), c, uint64(n)%64))
	}

	return float64(n) / time.Since(begun).Seconds()
}

// patience is how long a bystander waits for an image, on a machine that is busy with the attack.
const patience = 10 * time.Second

// bystand pushes and pulls until ctx ends, and returns what was wrong with that.
func (v victim) bystand(ctx context.Context) string {
	c := wire.New(v.Addr)
	defer c.Close()

	var took []time.Duration

	for n := uint64(0); ctx.Err() == nil || n < 3; n++ {
		begun := time.Now()

		if err := pushAndPull(context.WithoutCancel(ctx), c, n); err != nil {
			return fmt.Sprintf("a bystander's image %d: %v", n, err)
		}

		took = append(took, time.Since(begun))
	}

	slices.Sort(took)
	v.t.Logf("bystander: %d images pushed and pulled; the median took %s, the slowest %s",
		len(took), took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))

	if took[len(took)-1] > patience {
		return fmt.Sprintf("a bystander's image took %s", took[len(took)-1])
	}

	return ""
}

func pushAndPull(ctx context.Context, c *wire.Client, n uint64) error {
	img, err := wire.NewImage(n, 10_000)
	if err != nil {
		return err
	}

	if err := c.PushImage(ctx, "by/stander", "v1", img, (*wire.Client).PushMonolithic); err != nil {
		return err
	}

	_, err = c.PullImage(ctx, "by/stander", "v1")

	return err
}

// parallel does the same in n goroutines, and waits for them.
func parallel(n int, do func(i int)) {
	var group sync.WaitGroup

	for i := range n {
		group.Go(func() { do(i) })
	}

	group.Wait()
}

// exchange writes a request, however long it is and as far as it is taken, and returns the status of
// the answer; 0 if the connection was closed without one.
func exchange(conn net.Conn, request io.Reader) int {
	written := make(chan struct{})

	go func() {
		defer close(written)

		_, _ = io.Copy(conn, request) // what is refused is not read to its end
	}()

	defer func() {
		_ = conn.Close()

		<-written
	}()

	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))

	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}

	_ = resp.Body.Close()

	return resp.StatusCode
}

// endless is the same text again and again.
type endless struct {
	text string
	left string
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left == "" {
		e.left = e.text
	}

	n := copy(p, e.left)
	e.left = e.left[n:]

	return n, nil
}

// much is size bytes of a text that goes on and on.
func much(text string, size int64) io.Reader {
	return io.LimitReader(&endless{text: strings.Repeat(text, max(1, 32<<10/len(text)))}, size)
}

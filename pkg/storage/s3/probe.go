package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Ability is something that zot needs of a bucket, and whether it has it.
type Ability struct {
	Name    string
	OK      bool
	Problem string // what happened instead
	Why     string // what zot needs it for

	// Writers: only several writers need it. One that is alone goes on without.
	Writers bool
}

// Report is what a probe has found.
type Report []Ability

// The abilities whose names are compared.
const (
	conditionalAbsent = "conditional writes: If-None-Match"
	conditionalMatch  = "conditional writes: If-Match"
)

// conditional says whether the bucket knows conditional writes at all.
func (r Report) conditional() bool {
	for _, ability := range r {
		if (ability.Name == conditionalAbsent || ability.Name == conditionalMatch) && !ability.OK {
			return false
		}
	}

	return true
}

// Missing are the abilities without which zot does not start. alone says that it is the
// only writer.
func (r Report) Missing(alone bool) []Ability {
	var missing []Ability

	for _, ability := range r {
		if !ability.OK && !(alone && ability.Writers) {
			missing = append(missing, ability)
		}
	}

	return missing
}

// ProbeError is returned when a bucket cannot do what zot needs.
type ProbeError struct{ Missing []Ability }

func (e *ProbeError) Error() string {
	lines := make([]string, len(e.Missing))
	writers := false

	for i, ability := range e.Missing {
		lines[i] = fmt.Sprintf("%s: %s (%s)", ability.Name, ability.Problem, ability.Why)
		writers = writers || ability.Writers
	}

	message := "the bucket cannot do what zot needs: " + strings.Join(lines, "; ")
	if writers {
		message += "; set storage.singleWriter to true if this is the only process that writes to it, now and always"
	}

	return message
}

// prober probes below a prefix of its own, which it removes.
type prober struct {
	*Bucket
	prefix string
}

// maxProbed is more than what a probe that was killed leaves.
const maxProbed = 100

func isProbe(key string) bool { return strings.HasPrefix(key, probePrefix) }

// Probe finds out what a bucket can do, and changes nothing that stays.
//
// Errors: *SettingError where a setting is the reason.
func Probe(ctx context.Context, opts Options) (Report, error) {
	b, err := connect(ctx, opts)
	if err != nil {
		return nil, err
	}

	if err := b.findRoot(ctx); err != nil {
		return nil, errors.Join(err, b.Close())
	}

	report, err := b.probe(ctx)

	return report, errors.Join(err, b.Close())
}

func (b *Bucket) probe(ctx context.Context) (Report, error) {
	p := &prober{Bucket: b, prefix: probePrefix + newToken() + "/"}

	tests := []struct {
		Ability

		run func(ctx context.Context) error
	}{
		{Ability{Name: "read after write", Why: "a push that was answered can be pulled from any replica"}, p.readAfterWrite},
		{Ability{Name: "listing after write, in byte order", Why: "a repository's blobs are found by listing"}, p.listing},
		{Ability{Name: conditionalAbsent, Why: "two replicas create a repository", Writers: true}, p.createOnce},
		{Ability{Name: conditionalMatch, Why: "two replicas push to a repository", Writers: true}, p.replaceOnce},
		{Ability{Name: "multipart uploads", Why: "layers of more than a part"}, p.parts},
		{Ability{Name: "copies inside the server", Why: "layers whose digest comes after their bytes"}, p.copies},
	}

	report := make(Report, len(tests))

	var group errgroup.Group

	for i, test := range tests {
		group.Go(func() error {
			err := test.run(ctx)
			report[i] = test.Ability
			report[i].OK = err == nil

			if err != nil {
				report[i].Problem = err.Error()
			}

			return stops(ctx, b.explain(err))
		})
	}

	err := group.Wait()

	return report, errors.Join(err, p.clean(ctx))
}

// stops passes on what is no answer to what was asked.
func stops(ctx context.Context, err error) error {
	var setting *SettingError
	if errors.As(err, &setting) || ctx.Err() != nil {
		return err
	}

	return nil
}

func (p *prober) put(ctx context.Context, name, content string, cond condition) (string, error) {
	return p.client.putOnce(ctx, p.prefix+name, []byte(content), cond)
}

func (p *prober) readAfterWrite(ctx context.Context) error {
	for _, content := range []string{"first", "second"} {
		if _, err := p.put(ctx, "read", content, condition{}); err != nil {
			return err
		}

		data, _, err := p.client.read(ctx, p.prefix+"read", "")
		if err != nil {
			return err
		}

		if string(data) != content {
			return fmt.Errorf("%q was put, %q was read", content, data)
		}
	}

	return nil
}

func (p *prober) listing(ctx context.Context) error {
	want := []string{"list/a-", "list/a.b", "list/a/b", "list/a0", "list/b"}

	for _, i := range []int{3, 0, 4, 2, 1} {
		if _, err := p.put(ctx, want[i], "x", condition{}); err != nil {
			return err
		}
	}

	var got []string

	for object, err := range p.client.list(ctx, p.prefix+"list/", p.prefix+want[0], 2) {
		if err != nil {
			return err
		}

		got = append(got, strings.TrimPrefix(object.key, p.prefix))
	}

	if strings.Join(got, " ") != strings.Join(want[1:], " ") {
		return fmt.Errorf("a listing behind %q gives %q, not %q", want[0], got, want[1:])
	}

	return nil
}

// racers is how many writers race for one object.
const racers = 8

func (p *prober) createOnce(ctx context.Context) error {
	return p.race(ctx, "create", condition{absent: true})
}

func (p *prober) replaceOnce(ctx context.Context) error {
	etag, err := p.put(ctx, "replace", "before", condition{})
	if err != nil {
		return err
	}

	if etag == "" {
		return errors.New("a write is answered without an ETag")
	}

	if err := p.race(ctx, "replace", condition{match: etag}); err != nil {
		return err
	}

	_, err = p.put(ctx, "replace", "late", condition{match: etag})
	if !errors.Is(err, errCondition) {
		return fmt.Errorf("a write on condition of an ETag that is gone is answered with %w", orSuccess(err))
	}

	return nil
}

func orSuccess(err error) error {
	if err == nil {
		return errors.New("success")
	}

	return err
}

// race has writers write different bytes at once, on one condition. One has to win, and
// its bytes have to be there.
func (p *prober) race(ctx context.Context, name string, cond condition) error {
	var (
		group errgroup.Group
		errs  [racers]error
	)

	for i := range racers {
		group.Go(func() error {
			_, errs[i] = p.put(ctx, name, fmt.Sprint("writer ", i), cond)

			return nil
		})
	}

	_ = group.Wait() // no work of it fails

	won := -1

	for i, err := range errs {
		switch {
		case err == nil && won >= 0:
			return errors.New("two of several writers at once are told that they were first")
		case err == nil:
			won = i
		case errors.Is(err, errRefused), codeOf(err) == "NotImplemented":
			return err
		}
	}

	if won < 0 {
		return errors.Join(append([]error{errors.New("none of several writers at once has won")}, errs[:]...)...)
	}

	data, _, err := p.client.read(ctx, p.prefix+name, "")
	if err == nil && string(data) != fmt.Sprint("writer ", won) {
		err = fmt.Errorf("the writer that was told to be first wrote %q, but %q is there", fmt.Sprint("writer ", won), data)
	}

	return err
}

// parts sends two: the first has to have 5 MiB.
func (p *prober) parts(ctx context.Context) error {
	m, err := p.client.begin(ctx, p.prefix+"parts")
	if err != nil {
		return err
	}

	for n, body := range [][]byte{make([]byte, minPart), []byte("tail")} {
		sent, err := p.client.sendPart(ctx, m, n, bytes.NewReader(body), int64(len(body)))
		if err != nil {
			return errors.Join(err, p.client.abort(ctx, m))
		}

		m.Parts = append(m.Parts, sent)
	}

	if err := p.client.complete(ctx, m, condition{}); err != nil {
		return err
	}

	info, err := p.client.head(ctx, m.Key)
	if err == nil && info.size != m.size() {
		err = fmt.Errorf("parts of %d bytes make an object of %d", m.size(), info.size)
	}

	return err
}

func (p *prober) copies(ctx context.Context) error {
	if _, err := p.put(ctx, "copy-from", "content", condition{}); err != nil {
		return err
	}

	if err := p.client.copy(ctx, p.prefix+"copy-from", p.prefix+"copy-to", 7, p.copying()); err != nil {
		return err
	}

	data, _, err := p.client.read(ctx, p.prefix+"copy-to", "")
	if err == nil && string(data) != "content" {
		err = fmt.Errorf("the copy of %q is %q", "content", data)
	}

	return err
}

// clean removes what this probe has made.
func (p *prober) clean(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)

	var errs []error

	for object, err := range p.client.list(ctx, p.prefix, "", maxProbed) {
		if err != nil {
			return err
		}

		errs = append(errs, p.client.delete(ctx, object.key))
	}

	return errors.Join(errs...)
}

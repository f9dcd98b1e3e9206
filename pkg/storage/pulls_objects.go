package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// maxPulls is how large an object of pull times may be, in bytes: some three million.
const maxPulls = 256 << 20

// readOne reads one object; found says whether it is there. One that cannot be understood
// counts as if all had been pulled now.
func (p *pulls) readOne(ctx context.Context, key string) (times pullTimes, found bool, err error) {
	data, err := readObject(ctx, p.store.driver, key, maxPulls)
	if isNotExist(err) {
		return pullTimes{}, false, nil
	}

	if err == nil {
		times, err = decodePullTimes(data)
	}

	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrFormat) {
		now := minuteOf(p.store.opts.Now())
		times, err = pullTimes{Began: now, All: now, Pulled: map[digest.Digest]minute{}}, nil

		p.store.opts.Log.Warn().Str("key", key).Msg("pull times cannot be read: all that is there counts as pulled now")
	}

	if err != nil {
		return pullTimes{}, false, fmt.Errorf("read pull times: %w", err)
	}

	return times, true, nil
}

func (p *pulls) put(ctx context.Context, name RepoName, times pullTimes) error {
	data, err := json.Marshal(times)
	if err == nil {
		_, err = p.store.driver.Put(ctx, PullsKey(name, p.replica), data)
	}

	if err != nil {
		return fmt.Errorf("write pull times of %s: %w", name, err)
	}

	p.mu.Lock()
	defer p.mu.Unlock()

	p.wrote[name] = true

	return nil
}

// read returns the pull times of a repository: what all processes have written, and what
// is new here.
func (p *pulls) read(ctx context.Context, name RepoName) (pullTimes, error) {
	p.mu.Lock()
	all := p.unknown(name)
	if news, ok := p.news[name]; ok {
		all = all.merge(news)
	}
	p.mu.Unlock()

	for info, err := range p.store.driver.List(ctx, PullsKey(name, ""), "") {
		if err != nil {
			return pullTimes{}, fmt.Errorf("list pull times: %w", err)
		}

		one, found, err := p.readOne(ctx, info.Key)
		if err != nil {
			return pullTimes{}, err
		}

		if found {
			all = all.merge(one)
		}
	}

	return p.atLeast(all), nil
}

// tend looks after the objects of a repository before GC decides: pulls are noted from now
// on at the latest, or not any more; what processes that have ended have left is taken over.
func (p *pulls) tend(ctx context.Context, r *repository) error {
	if !r.policyBy(p.store.gc()).needsPulls() {
		return p.drop(ctx, r)
	}

	p.writing.Lock()
	defer p.writing.Unlock()

	own, err := p.refresh(ctx, r)
	if err != nil {
		return err
	}

	next, left, err := p.takeOver(ctx, r, own)
	if err != nil || len(left) == 0 {
		return err
	}

	if err := p.put(ctx, r.name, next); err != nil {
		return err
	}

	return p.deleteAll(ctx, left)
}

// refresh sees to it that our object is there, young, and without manifests that are gone.
// It comes before we list those of others: so no two processes take over each other's.
func (p *pulls) refresh(ctx context.Context, r *repository) (pullTimes, error) {
	key := PullsKey(r.name, p.replica)

	own, found, err := p.readOne(ctx, key)
	if err != nil {
		return own, err
	}

	next := own
	if !found {
		p.mu.Lock()
		next = p.unknown(r.name)
		p.mu.Unlock()
	}

	next = p.atLeast(next.prune(r.visible.Load()))
	next.Format = pullsFormat // that of what could not be read is another

	if found && next.equal(own) {
		info, err := p.store.driver.Stat(ctx, key)
		if err == nil && p.store.opts.Now().Sub(info.Modified) < pullsIdle/2 {
			return own, nil
		}
	}

	return next, p.put(ctx, r.name, next)
}

// takeOver adds to times what other processes have left, and says what that was.
func (p *pulls) takeOver(ctx context.Context, r *repository, times pullTimes) (next pullTimes, left []Info, err error) {
	for info, err := range p.store.driver.List(ctx, PullsKey(r.name, ""), "") {
		if err != nil {
			return times, nil, fmt.Errorf("list pull times: %w", err)
		}

		if info.Key == PullsKey(r.name, p.replica) || p.store.opts.Now().Sub(info.Modified) < pullsIdle {
			continue
		}

		one, found, err := p.readOne(ctx, info.Key)
		if err != nil {
			return times, nil, err
		}

		if found {
			times = times.merge(one)
			left = append(left, info)
		}
	}

	return times, left, nil
}

// drop forgets when manifests of a repository were pulled.
func (p *pulls) drop(ctx context.Context, r *repository) error {
	p.take(r.name)

	p.mu.Lock()
	delete(p.wrote, r.name)
	p.mu.Unlock()

	var all []Info

	for info, err := range p.store.driver.List(ctx, PullsKey(r.name, ""), "") {
		if err != nil {
			return fmt.Errorf("list pull times: %w", err)
		}

		all = append(all, info)
	}

	return p.deleteAll(ctx, all)
}

// deleteAll deletes objects that have not been written again.
func (p *pulls) deleteAll(ctx context.Context, objects []Info) error {
	for _, object := range objects {
		info, err := p.store.driver.Stat(ctx, object.Key)
		if isNotExist(err) || err == nil && !info.Modified.Equal(object.Modified) {
			continue
		}

		if err == nil {
			err = p.store.driver.Delete(ctx, object.Key)
		}

		if err != nil {
			return fmt.Errorf("delete pull times: %w", err)
		}
	}

	return nil
}

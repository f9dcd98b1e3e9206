package cache

import (
	"cmp"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
)

// op is what is to happen to a pair of a digest and a key: perhaps a delete, and
// then perhaps a put.
type op struct {
	drop bool
	seq  uint64 // of the put; 0 = none
}

// then is o, and next after it, as one operation.
func (o op) then(next op) op {
	switch {
	case next.drop:
		return next
	case o.seq != 0: // putting again changes nothing
		return o
	default:
		return op{drop: o.drop, seq: next.seq}
	}
}

// pairs is the operations on one digest that are not on disk yet.
type pairs struct {
	ops   map[string]op
	order []string // keys in the order of their first put
	drops bool     // some operation has drop; then order may name keys that are gone
}

// batch is operations that are not on disk yet.
type batch struct {
	byDigest map[digest.Digest]*pairs
	bytes    int // about the memory that they take
}

// opBytes is what an operation takes in memory beside the digest and the key: the
// entries of two maps and of order.
const opBytes = 200

func newBatch() *batch { return &batch{byDigest: map[digest.Digest]*pairs{}} }

// add adds an operation that takes size bytes. It says whether it was the first on
// its pair; else the operation takes none.
func (b *batch) add(dgst digest.Digest, key string, next op, size int) bool {
	entry := b.byDigest[dgst]
	if entry == nil {
		entry = &pairs{ops: map[string]op{}}
		b.byDigest[dgst] = entry
	}

	old, known := entry.ops[key]
	if !known {
		b.bytes += size
	}

	if old.seq == 0 && next.seq != 0 {
		entry.order = append(entry.order, key)
	}

	entry.ops[key] = old.then(next)
	entry.drops = entry.drops || next.drop

	return !known
}

// layers is the operations in memory: those being written, and behind them those
// that wait. Both are over what is on disk.
type layers [2]*batch

// op returns the operation on one pair.
func (l layers) op(dgst digest.Digest, key string) op {
	var sum op

	for _, layer := range l {
		if entry := layer.byDigest[dgst]; entry != nil {
			if next, ok := entry.ops[key]; ok {
				sum = sum.then(next)
			}
		}
	}

	return sum
}

// all returns a copy of the operations on a digest.
func (l layers) all(dgst digest.Digest) map[string]op {
	sum := map[string]op{}

	for _, layer := range l {
		if entry := layer.byDigest[dgst]; entry != nil {
			for key, next := range entry.ops {
				sum[key] = sum[key].then(next)
			}
		}
	}

	return sum
}

// first returns the first key that was put, "" if none, and the operations that may
// drop keys on disk. Without those it costs the same however many keys wait.
func (l layers) first(dgst digest.Digest) (string, map[string]op) {
	first := ""

	for _, layer := range l {
		entry := layer.byDigest[dgst]

		switch {
		case entry == nil:
		case entry.drops:
			all := l.all(dgst)

			return cmp.Or(append(putOrder(all), "")...), all
		case first == "":
			first = entry.order[0]
		}
	}

	return first, nil
}

// putOrder returns the keys that ops put.
func putOrder(ops map[string]op) []string {
	keys := slices.Collect(maps.Keys(ops))
	keys = slices.DeleteFunc(keys, func(key string) bool { return ops[key].seq == 0 })

	slices.SortFunc(keys, func(a, b string) int { return cmp.Compare(ops[a].seq, ops[b].seq) })

	return keys
}

//go:build replicas

package replicas

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/opencontainers/go-digest"
)

// kind is what a client asks of a tag.
type kind string

const (
	read   kind = "GET"           // what the tag points to
	list   kind = "list"          // whether the tag is listed
	write  kind = "PUT"           // on a condition, perhaps
	remove kind = "DELETE"        // of the tag
	erase  kind = "DELETE digest" // of the manifest, which takes the tag along
)

// request is what a client asks. Every write brings a manifest of its own, so a digest
// tells which write it comes from.
type request struct {
	kind   kind
	tag    string
	digest digest.Digest // that write brings, or erase removes
	match  digest.Digest // that If-Match of a write names; "" = none
	absent bool          // a write has If-None-Match: *
}

// answer is what became of it.
type answer struct {
	verdict verdict
	digest  digest.Digest // that read found
}

type verdict string

const (
	done    verdict = "done"
	missing verdict = "not there"
	refused verdict = "condition does not hold"
	unknown verdict = "unknown" // 5xx, or no answer
)

// model is a tag: a register that holds a digest, or "" where there is none.
var model = porcupine.Model{
	Partition: partition,
	Init:      func() any { return digest.Digest("") },
	Step: func(state, in, out any) (bool, any) {
		ok, next := step(state.(digest.Digest), in.(request), out.(answer))

		return ok, next
	},
	DescribeOperation: func(in, out any) string { return describe(in.(request), out.(answer)) },
	DescribeState:     func(state any) string { return brief(state.(digest.Digest)) },
}

// step says whether an answer can be true of a state, and which state comes after it.
func step(state digest.Digest, in request, out answer) (bool, digest.Digest) {
	switch in.kind {
	case read, list:
		return stepRead(state, in, out), state
	case write:
		return stepWrite(state, in, out)
	case remove:
		return out.verdict == unknown || (out.verdict == done) == (state != ""), ""
	}

	// erase: what is not there is not what the tag points to.
	if state != in.digest {
		return true, state
	}

	return out.verdict != missing, ""
}

func stepRead(state digest.Digest, in request, out answer) bool {
	if out.verdict == missing {
		return state == ""
	}

	return in.kind == list && state != "" || in.kind == read && state == out.digest
}

func stepWrite(state digest.Digest, in request, out answer) (bool, digest.Digest) {
	holds := (!in.absent || state == "") && (in.match == "" || in.match == state)

	switch {
	case out.verdict == refused:
		return !holds, state
	case out.verdict == unknown && !holds:
		return true, state
	}

	return holds, in.digest
}

func partition(history []porcupine.Operation) [][]porcupine.Operation {
	byTag := map[string][]porcupine.Operation{}
	for _, op := range history {
		tag := op.Input.(request).tag
		byTag[tag] = append(byTag[tag], op)
	}

	var parts [][]porcupine.Operation
	for _, part := range byTag {
		parts = append(parts, part)
	}

	return parts
}

func describe(in request, out answer) string {
	text := fmt.Sprintf("%s %s %s", in.kind, in.tag, brief(in.digest))

	if in.absent {
		text += " if absent"
	}

	if in.match != "" {
		text += " if " + brief(in.match)
	}

	return fmt.Sprintf("%s: %s %s", text, out.verdict, brief(out.digest))
}

func brief(dgst digest.Digest) string {
	if dgst == "" {
		return "-"
	}

	return dgst.Encoded()[:6]
}

// contradiction tells where the history of a tag stops making sense: the last steps of
// the longest order that explains its beginning, and what was asked around then.
func (h *history) contradiction(info porcupine.LinearizationInfo) string {
	var text strings.Builder

	for _, orders := range info.PartialLinearizationsOperations() {
		longest := slices.MaxFunc(orders, func(a, b []porcupine.Operation) int { return cmp.Compare(len(a), len(b)) })

		rest := h.without(longest)
		if len(rest) == 0 {
			continue
		}

		text.WriteString("\nexplained, in this order:\n")

		for _, op := range longest[max(0, len(longest)-8):] {
			text.WriteString(line(op))
		}

		text.WriteString("not explained, as they were asked:\n")

		for _, op := range rest[:min(8, len(rest))] {
			text.WriteString(line(op))
		}
	}

	return text.String()
}

// without returns what else was asked of the tag that an order is about.
func (h *history) without(order []porcupine.Operation) []porcupine.Operation {
	if len(order) == 0 {
		return nil
	}

	tag := order[0].Input.(request).tag
	rest := slices.DeleteFunc(slices.Clone(h.ops), func(op porcupine.Operation) bool {
		return op.Input.(request).tag != tag || slices.ContainsFunc(order, func(e porcupine.Operation) bool {
			return e.Call == op.Call && e.ClientId == op.ClientId
		})
	})
	slices.SortFunc(rest, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })

	return rest
}

func line(op porcupine.Operation) string {
	return fmt.Sprintf("  %8.1f to %8.1f ms, client %d at %v: %s\n", float64(op.Call)/1e6, float64(op.Return)/1e6,
		op.ClientId, op.Metadata, describe(op.Input.(request), op.Output.(answer)))
}

// history is what clients saw. It may be used concurrently.
type history struct {
	begun time.Time

	mu  sync.Mutex
	ops []porcupine.Operation
}

// now is the time of a call or a return.
func (h *history) now() int64 { return time.Since(h.begun).Nanoseconds() }

// add notes an exchange that began at call and is over now. What may still happen has no
// end; what has no effect and no answer says nothing.
func (h *history) add(client int, at string, in request, call int64, out answer) {
	end := h.now()

	if out.verdict == unknown {
		if in.kind == read || in.kind == list {
			return
		}

		end = math.MaxInt64
	}

	h.mu.Lock()
	defer h.mu.Unlock()

	h.ops = append(h.ops, porcupine.Operation{
		ClientId: client, Input: in, Call: call, Output: out, Return: end, Metadata: at,
	})
}

func (h *history) count(is func(request, answer) bool) int {
	n := 0

	for _, op := range h.ops {
		if is(op.Input.(request), op.Output.(answer)) {
			n++
		}
	}

	return n
}

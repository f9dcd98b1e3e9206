package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// streamed is a call that takes long, and tells how far it is: its answer is lines of JSON,
// each with one field, the last of which has the result.
type streamed[A, P, R any] struct {
	name string
	do   func(ctx context.Context, store Store, args A, tell func(P)) (R, error)
}

// line is one line of such an answer.
type line[P, R any] struct {
	Progress *P       `json:"progress,omitempty"`
	Result   *R       `json:"result,omitempty"`
	Failure  *failure `json:"failure,omitempty"` // with a result, as far as that is known
}

func (c streamed[A, P, R]) path() string { return "/" + c.name }

func (c streamed[A, P, R]) answer(ctx context.Context, store Store, args *json.Decoder, lines *lineWriter) (any, error) {
	var decoded A
	if err := args.Decode(&decoded); err != nil {
		return nil, fmt.Errorf("arguments of %s: %w", c.name, err)
	}

	lines.begin()

	return c.do(ctx, store, decoded, func(p P) { lines.write(map[string]any{"progress": p}) })
}

// lineWait is for how long a client may take nothing, as one that was stopped: the call may
// hold locks meanwhile, which others wait for.
const lineWait = 10 * time.Second

// lineWriter writes lines of an answer. What cannot be written nobody hears of: the client
// has gone, or takes nothing, and that ends the call.
type lineWriter struct {
	to       http.ResponseWriter
	patience time.Duration
	begun    bool

	mu sync.Mutex // one line at a time
}

func (w *lineWriter) begin() {
	w.begun = true
	w.to.Header().Set("Content-Type", "application/x-ndjson")
	w.to.WriteHeader(http.StatusOK)
}

func (w *lineWriter) write(v any) {
	w.mu.Lock()
	defer w.mu.Unlock()

	conn := http.NewResponseController(w.to)
	if conn.SetWriteDeadline(time.Now().Add(w.patience)) == nil && json.NewEncoder(w.to).Encode(v) == nil {
		_ = conn.Flush()
	}
}

func (w *lineWriter) end(result any, err error) {
	last := map[string]any{"result": result}
	if err != nil {
		last["failure"] = failureOf(err)
	}

	w.write(last)
}

// listen makes a call, and tells progress until it ends.
//
// Errors: *RemoteError.
func listen[A, P, R any](ctx context.Context, c *Client, of streamed[A, P, R], args A, tell func(P)) (result R, err error) {
	resp, err := c.post(ctx, of.path(), args)
	if err != nil {
		return result, err
	}
	defer resp.Body.Close()

	if resp.StatusCode != http.StatusOK {
		return result, readAnswer(resp, of.name, &result)
	}

	for lines := json.NewDecoder(resp.Body); ; {
		var next line[P, R]

		if err := lines.Decode(&next); errors.Is(err, io.EOF) {
			return result, errors.New("the zot that serves has ended before its answer did")
		} else if err != nil {
			return result, fmt.Errorf("answer of the zot that serves: %w", err)
		}

		if next.Progress != nil {
			tell(*next.Progress)
		}

		if next.Result != nil {
			result = *next.Result
		}

		if next.Failure != nil {
			return result, &RemoteError{*next.Failure}
		}

		if next.Result != nil {
			return result, nil
		}
	}
}

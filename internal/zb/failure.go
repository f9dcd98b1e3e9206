package zb

import (
	"context"
	"errors"
	"fmt"
	"net"

	"zotregistry.io/zot/internal/wire"
)

// errNotMounted is an answer that opens an upload instead: allowed, and not what is measured.
var errNotMounted = errors.New("the blob was not mounted")

// errAnswer is an answer that is well formed, and can't be true.
var errAnswer = errors.New("the answer does not tell what was pushed")

// kindOf names an error as reports count it: an answer by its status.
func kindOf(err error) string {
	var (
		status  *wire.StatusError
		timeout net.Error
	)

	switch {
	case errors.Is(err, wire.ErrDigest):
		return "wrong bytes"
	case errors.As(err, &status):
		return fmt.Sprint(status.Status)
	case errors.Is(err, errAnswer):
		return "wrong answer"
	case errors.Is(err, errNotMounted):
		return "not mounted"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	default:
		return "no answer"
	}
}

// statusOf is the status of an answer that was not welcome, else 0.
func statusOf(err error) int {
	var status *wire.StatusError
	if errors.As(err, &status) {
		return status.Status
	}

	return 0
}

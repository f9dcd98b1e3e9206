package admin

import (
	"context"

	"zotregistry.io/zot/pkg/storage"
)

// call is something that can be asked for: its name, which is the path of its URL, and how
// a Store does it. A and R travel as JSON.
type call[A, R any] struct {
	name string
	do   func(ctx context.Context, store Store, args A) (R, error)
}

// none is for calls without arguments, or without a result.
type none struct{}

var collectCall = call[none, storage.Collected]{"collect", func(ctx context.Context, store Store, _ none) (storage.Collected, error) {
	return store.Collect(ctx)
}}

// routes are all calls, as a Server needs them.
var routes = []route{
	collectCall,
}

// Collect implements storage.Maintenance.
func (c *Client) Collect(ctx context.Context) (storage.Collected, error) {
	return ask(ctx, c, collectCall, none{})
}

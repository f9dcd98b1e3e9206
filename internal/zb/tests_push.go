package zb

import (
	"context"
	"fmt"
)

const (
	kb = 1000
	mb = 1000 * 1000
)

// smallLayer makes an image of about 10 KB.
const smallLayer = 9 * kb

// large are the sizes of layers, in MB, and how many operations with them a test proposes.
var large = []struct{ mb, requests int }{{1, 200}, {10, 40}, {100, 6}}

// pushOf pushes images whose layers have the sizes that layer names, each worker to a
// repository of its own.
func pushOf(send sendBlob, layer func(n int) int) func(context.Context, *stage) (operation, error) {
	return func(_ context.Context, s *stage) (operation, error) {
		return func(worker, n int) (timed, error) {
			img, err := s.data.image(layer(n))

			return func(ctx context.Context) (int64, error) {
				return s.push(ctx, s.repo(worker), tagOf(n), img, send)
			}, err
		}, nil
	}
}

func always(size int) func(int) int { return func(int) int { return size } }

func smallTests() []Test {
	return []Test{
		{
			Name: "push-small", About: "images of 10 KB as clients push them: HEAD, POST and PUT of each blob, then the manifest",
			requests: 2000, bytes: smallLayer, prepare: pushOf(missing, always(smallLayer)),
		},
		{
			Name: "pull-small", About: "images of 10 KB: the manifest by its tag, config, layer",
			requests: 5000, prepare: pullOf(500, smallLayer),
		},
	}
}

func pushTests() []Test {
	var all []Test

	for _, way := range []struct {
		name, about string
		send        sendBlob
	}{
		{"monolith", "POST, and one PUT with all bytes", monolith},
		{"chunk-streamed", "POST, one PATCH in HTTP's chunks, and PUT, as docker does", streamed},
	} {
		for _, size := range large {
			all = append(all, Test{
				Name:     fmt.Sprintf("push-%s-%dmb", way.name, size.mb),
				About:    fmt.Sprintf("images with a layer of %d MB: %s", size.mb, way.about),
				requests: size.requests, bytes: int64(size.mb * mb), prepare: pushOf(way.send, always(size.mb*mb)),
			})
		}
	}

	return all
}

//go:build replicas

package replicas

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"zotregistry.io/zot/internal/wire"
)

// TestBlobsUnderFaults has clients push blobs by way of all replicas, whose bucket fails
// now and then. What a replica has acknowledged of an upload is there when another is
// asked; what can be read is what was pushed, to the byte, or else the answer breaks off.
func TestBlobsUnderFaults(t *testing.T) {
	c := newCluster(t)
	proxies := c.addBehindProxies(t, 3)
	first := seed(t)

	var again atomic.Int64

	unleash(t, proxies, first)

	var group errgroup.Group

	for n := range 6 {
		group.Go(func() error {
			s := &sender{cluster: c, rng: rand.New(rand.NewPCG(first, uint64(n))), again: &again}

			for k, size := range append(small, large...) {
				if err := s.carry(t.Context(), "faults", randomBlob(first+uint64(n*100+k), size)); err != nil {
					return fmt.Errorf("client %d, %d bytes: %w", n, size, err)
				}
			}

			return nil
		})
	}

	err := group.Wait()
	met := calm(t, proxies)
	t.Logf("%d faults met, %d requests were answered with an error", met, again.Load())
	must(t, err)

	for n := range 6 {
		for k, size := range append(small, large...) {
			verifyBlob(t, c, "faults", randomBlob(first+uint64(n*100+k), size))
		}
	}

	if met < 20 {
		t.Error("too few faults for this run to prove anything")
	}
}

// sender carries one blob after the other, each request to another replica.
type sender struct {
	*cluster

	rng   *rand.Rand
	again *atomic.Int64 // requests that had to be asked again
}

// persistence is how often a client asks for the same thing before it gives up.
const persistence = 20

func (s *sender) any() *wire.Client { return s.replicas[s.rng.IntN(len(s.replicas))].Client }

// carry pushes a blob and reads it.
func (s *sender) carry(ctx context.Context, repo string, blob []byte) error {
	for range persistence {
		done, err := s.send(ctx, repo, blob)
		if err != nil {
			return err
		}

		if done {
			return s.read(ctx, repo, blob)
		}
	}

	return errors.New("it cannot be pushed")
}

// send tries to push a blob in one upload. It returns an error where what is there is not
// what was acknowledged.
func (s *sender) send(ctx context.Context, repo string, blob []byte) (done bool, err error) {
	up, err := s.any().StartUpload(ctx, repo)
	if err != nil {
		return false, s.tolerate(err)
	}

	acked := 0

	for piece := len(blob)/3 + 1; acked+piece < len(blob); {
		up = up.At(s.any())
		if err := up.Append(ctx, int64(acked), blob[acked:acked+piece]); err == nil {
			acked += piece

			continue
		} else if err := s.tolerate(err); err != nil {
			return false, err
		}

		if acked, err = s.resume(ctx, up, acked, acked+piece); err != nil || acked < 0 {
			return false, err
		}
	}

	up = up.At(s.any())
	if err := up.Finish(ctx, digest.FromBytes(blob), blob[acked:]); err != nil {
		return false, s.tolerate(err)
	}

	return true, nil
}

// resume asks how much of an upload is kept: all that was acknowledged, and no more than
// was sent. It returns -1 if nobody says.
func (s *sender) resume(ctx context.Context, up *wire.Upload, acked, sent int) (int, error) {
	for range persistence {
		*up = *up.At(s.any())

		have, err := up.Offset(ctx)
		if err != nil {
			if err := s.tolerate(err); err != nil {
				return 0, err
			}

			continue
		}

		if int(have) < acked || int(have) > sent {
			return 0, fmt.Errorf("an upload stands at %d; %d bytes were acknowledged, %d sent", have, acked, sent)
		}

		return int(have), nil
	}

	return -1, nil
}

// read reads a blob until it comes whole.
func (s *sender) read(ctx context.Context, repo string, blob []byte) error {
	for range persistence {
		_, err := s.any().Blob(ctx, repo, digest.FromBytes(blob))
		if err == nil {
			return nil
		}

		if errors.Is(err, wire.ErrNotFound) || errors.Is(err, wire.ErrDigest) {
			return err
		}

		s.again.Add(1)
	}

	return errors.New("it cannot be read")
}

// tolerate counts an error that a faulty bucket explains, and returns any other.
func (s *sender) tolerate(err error) error {
	s.again.Add(1)

	var status *wire.StatusError
	if errors.As(err, &status) && !isServerError(err) {
		return err
	}

	return nil
}

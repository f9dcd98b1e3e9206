//go:build crash

package crash

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"zotregistry.io/zot/internal/wire"
)

// style is how a pusher sends its blobs.
type style int

const (
	monolithic style = iota
	chunked
	streamed
)

// pushed is an image whose tag the server has acknowledged, or not yet.
type pushed struct {
	tag    string
	digest digest.Digest
}

// session is an upload that may be under way when the server dies.
type session struct {
	up    *wire.Upload
	blob  []byte
	acked int64 // bytes that the server has acknowledged
	sent  int64 // bytes that it may have received
	final bool  // the closing PUT was sent
}

// pusher pushes one image after the other to a repository of its own until the
// server is gone. It remembers what was promised to it. It is used by one goroutine
// at a time.
type pusher struct {
	repo  string
	style style
	rng   *rand.Rand
	c     *wire.Client

	acked  []pushed      // answered with 201
	last   digest.Digest // what "latest" named when a push to it was last acknowledged
	trying *pushed       // sent, not answered
	open   *session      // the upload under way, if there is one
	blobs  []digest.Digest
}

// run pushes images until a request fails, and returns that failure. Pushers that
// share a seed push the same layers at the same time, into different repositories.
func (p *pusher) run(ctx context.Context, round int, seed uint64) error {
	for n := range uint64(1_000_000) {
		img, err := wire.NewImage(seed+n, 700, 30_000+int(n%5)*1000, 1_500_000)
		if err != nil {
			return err
		}

		if err := p.push(ctx, img, fmt.Sprintf("round%d-%d", round, n)); err != nil {
			return err
		}
	}

	return nil
}

func (p *pusher) push(ctx context.Context, img *wire.Image, tag string) error {
	p.blobs = p.blobs[:0]
	for _, blob := range img.Blobs {
		p.blobs = append(p.blobs, digest.FromBytes(blob))
		if err := p.pushBlob(ctx, blob); err != nil {
			return err
		}
	}

	for _, name := range []string{tag, "latest"} {
		p.trying = &pushed{name, img.Digest}
		if err := p.c.PutManifest(ctx, p.repo, name, v1.MediaTypeImageManifest, img.Manifest); err != nil {
			return err
		}

		p.promise()
	}

	return nil
}

// promise notes that what was tried is acknowledged.
func (p *pusher) promise() {
	if p.trying.tag == "latest" {
		p.last = p.trying.digest
	} else {
		p.acked = append(p.acked, *p.trying)
	}

	p.trying = nil
}

func (p *pusher) pushBlob(ctx context.Context, blob []byte) error {
	up, err := p.c.StartUpload(ctx, p.repo)
	if err != nil {
		return err
	}

	p.open = &session{up: up, blob: blob}
	if err := p.send(ctx, p.open); err != nil {
		return err
	}

	if err := p.finish(ctx, p.open); err != nil {
		return err
	}

	p.open = nil

	return nil
}

// send sends the bytes that go before the closing PUT.
func (p *pusher) send(ctx context.Context, s *session) error {
	switch p.style {
	case chunked:
		return p.sendChunks(ctx, s)
	case streamed:
		s.sent = int64(len(s.blob))
		if err := s.up.Stream(ctx, bytes.NewReader(s.blob)); err != nil {
			return err
		}

		s.acked = s.sent
	}

	return nil
}

func (p *pusher) sendChunks(ctx context.Context, s *session) error {
	for s.acked < int64(len(s.blob)) {
		end := min(s.acked+2+p.rng.Int64N(400_000), int64(len(s.blob)))

		s.sent = end
		if err := s.up.Append(ctx, s.acked, s.blob[s.acked:end]); err != nil {
			return err
		}

		s.acked = end
	}

	return nil
}

// finish sends the rest with the closing PUT.
func (p *pusher) finish(ctx context.Context, s *session) error {
	s.final = true
	s.sent = int64(len(s.blob))

	return s.up.Finish(ctx, digest.FromBytes(s.blob), s.blob[s.acked:])
}

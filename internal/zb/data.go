package zb

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"zotregistry.io/zot/internal/wire"
)

// data makes blobs that no registry has seen. They share their bytes but for the last few,
// so that a blob of any size costs the client no time: its hash goes on from that of what is
// shared. It may be used concurrently. Close it.
type data struct {
	bytes []byte // random
	seed  uint64
	next  atomic.Uint64

	mu     sync.Mutex          // guards begun
	begun  map[int]hash.Cloner // hashes of the first bytes, by how many
	mapped func() error
}

// newData makes size random bytes, in memory or in a file of dir without a name.
func newData(dir string, size int) (_ *data, err error) {
	where, flags := -1, unix.MAP_PRIVATE|unix.MAP_ANON

	if dir != "" {
		file, err := unnamed(dir, size)
		if err != nil {
			return nil, err
		}
		defer file.Close()

		where, flags = int(file.Fd()), unix.MAP_SHARED
	}

	all, err := unix.Mmap(where, 0, size, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", size, err)
	}

	d := &data{bytes: all, seed: rand.Uint64(), begun: map[int]hash.Cloner{}, mapped: func() error { return unix.Munmap(all) }}

	var key [32]byte

	binary.LittleEndian.PutUint64(key[:], d.seed)
	_, _ = rand.NewChaCha8(key).Read(all) // never fails, by its documentation

	return d, nil
}

func unnamed(dir string, size int) (*os.File, error) {
	file, err := os.CreateTemp(dir, "zb-")
	if err != nil {
		return nil, err
	}

	if err := errors.Join(os.Remove(file.Name()), file.Truncate(int64(size))); err != nil {
		return nil, errors.Join(err, file.Close())
	}

	return file, nil
}

func (d *data) close() error { return d.mapped() }

// tailSize is how many bytes make a blob unlike all others.
const tailSize = 16

// blob is bytes and their digest. It is not changed once it is made.
type blob struct {
	head, tail []byte
	digest     digest.Digest
}

func (b blob) size() int64 { return int64(len(b.head) + len(b.tail)) }

func (b blob) open() io.Reader {
	return io.MultiReader(bytes.NewReader(b.head), bytes.NewReader(b.tail))
}

// compare says whether r yields the bytes of the blob, and no others.
//
// Errors: wire.ErrDigest.
func (b blob) compare(r io.Reader, buffer []byte) error {
	for _, want := range [][]byte{b.head, b.tail} {
		for len(want) > 0 {
			piece := buffer[:min(len(buffer), len(want))]

			n, err := io.ReadFull(r, piece)
			if err != nil {
				return fmt.Errorf("read blob %s: %w", b.digest, err)
			}

			if !bytes.Equal(piece[:n], want[:n]) {
				return fmt.Errorf("%w: blob %s", wire.ErrDigest, b.digest)
			}

			want = want[n:]
		}
	}

	if _, err := io.ReadFull(r, buffer[:1]); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: blob %s is longer than what was pushed", wire.ErrDigest, b.digest)
	}

	return nil
}

// blob returns one of size bytes, which must be more than tailSize.
func (d *data) blob(size int) blob {
	head, tail := d.bytes[:size-tailSize], make([]byte, tailSize)
	binary.LittleEndian.PutUint64(tail, d.seed)
	binary.LittleEndian.PutUint64(tail[8:], d.next.Add(1))

	sum := d.hashOf(len(head))
	sum.Write(tail)

	return blob{head, tail, digest.NewDigest(digest.SHA256, sum)}
}

// hashOf returns the hash of the first size bytes, which may be written to.
func (d *data) hashOf(size int) hash.Hash {
	d.mu.Lock()
	defer d.mu.Unlock()

	sum, ok := d.begun[size]
	if !ok {
		sum = sha256.New().(hash.Cloner)
		sum.Write(d.bytes[:size])
		d.begun[size] = sum
	}

	clone, err := sum.Clone()
	if err != nil {
		panic(err) // crypto/sha256 can be cloned
	}

	return clone
}

// image is a manifest and what it names.
type image struct {
	manifest []byte
	digest   digest.Digest // of the manifest
	blobs    []blob        // config first, then the layers
}

func (i *image) size() int64 {
	size := int64(len(i.manifest))
	for _, b := range i.blobs {
		size += b.size()
	}

	return size
}

// image returns one with a layer of that size.
func (d *data) image(layer int) (*image, error) { return d.imageOf(nil, d.blob(layer)) }

// imageOf returns an image with a config of its own and those layers; with a subject it is
// an artifact that refers to that.
func (d *data) imageOf(subject *image, layers ...blob) (*image, error) {
	config, err := d.config()
	if err != nil {
		return nil, err
	}

	m := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageManifest,
		Config:    describe(v1.MediaTypeImageConfig, config),
	}
	for _, layer := range layers {
		m.Layers = append(m.Layers, describe(v1.MediaTypeImageLayer, layer))
	}

	if subject != nil {
		m.ArtifactType = "application/vnd.example.zb"
		m.Subject = &v1.Descriptor{
			MediaType: v1.MediaTypeImageManifest, Digest: subject.digest, Size: int64(len(subject.manifest)),
		}
	}

	body, err := json.Marshal(m)

	return &image{body, digest.FromBytes(body), append([]blob{config}, layers...)}, err
}

func (d *data) config() (blob, error) {
	body, err := json.Marshal(v1.Image{
		Platform: v1.Platform{Architecture: "amd64", OS: "linux"},
		Config:   v1.ImageConfig{Labels: map[string]string{"zb": fmt.Sprint(d.seed, " ", d.next.Add(1))}},
		RootFS:   v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{}},
	})

	return blob{head: body, digest: digest.FromBytes(body)}, err
}

func describe(mediaType string, b blob) v1.Descriptor {
	return v1.Descriptor{MediaType: mediaType, Digest: b.digest, Size: b.size()}
}

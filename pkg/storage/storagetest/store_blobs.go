package storagetest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing/iotest"

	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

func testUploads(w *World) {
	id := w.Start("a")
	w.Append("a", id, 0, "hello ")
	w.Append("a", id, -1, "wor")
	w.Append("a", id, 9, "ld")
	w.Equal(w.SizeOf("a", id), int64(11), "status")

	want := digest.FromString("hello world!")
	_, err := w.Finish("a", id, storage.Chunk{Body: strings.NewReader("!"), Offset: 11, Length: 1}, want)
	w.NoError(err, "finish with a last chunk")
	w.Equal(w.Pull("a", want), "hello world!", "the blob is the chunks")
	w.IsUnknown("a", id, "the upload is over")

	id = w.Start("a")
	w.Append("a", id, 0, "gone")
	w.NoError(w.Store.CancelUpload(w.T.Context(), "a", id), "cancel")
	w.IsUnknown("a", id, "it is gone")

	id = w.Start("a")
	w.IsUnknown("b", id, "an upload belongs to its repository")

	empty := digest.FromString("")
	_, err = w.Finish("a", id, storage.Chunk{}, empty)
	w.NoError(err, "an empty blob")
	w.Equal(w.Pull("a", empty), "", "it is empty")

	big := make([]byte, 5<<20+12345)
	fill(big)

	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		id = w.Start("a") // announced as sha256
		_, err = w.Finish("a", id, storage.Chunk{Body: bytes.NewReader(big), Offset: -1, Length: int64(len(big))}, alg.FromBytes(big))
		w.NoError(err, "a large blob by "+string(alg))
		w.Equal(w.Pull("a", alg.FromBytes(big)), string(big), "it is whole")
	}
}

func testUploadsThatFail(w *World) {
	id := w.Start("a")
	w.Append("a", id, 0, "hello")

	_, err := w.Store.AppendUpload(w.T.Context(), "a", id, storage.Chunk{Body: strings.NewReader("x"), Offset: 3, Length: 1})

	var offset *storage.OffsetError

	w.True(errors.As(err, &offset) && offset.Have == 5, "a chunk elsewhere says where to go on", err)

	broken := io.MultiReader(strings.NewReader(" wo"), iotest.ErrReader(io.ErrUnexpectedEOF))
	_, err = w.Store.AppendUpload(w.T.Context(), "a", id, storage.Chunk{Body: broken, Offset: 5, Length: -1})
	w.Is(err, io.ErrUnexpectedEOF, "a broken connection is an error")
	w.Equal(w.SizeOf("a", id), int64(8), "what arrived before is kept")

	_, err = w.Store.AppendUpload(w.T.Context(), "a", id, storage.Chunk{Body: strings.NewReader("r"), Offset: 8, Length: 3})
	w.Is(err, storage.ErrSize, "less than was announced")
	w.Append("a", id, 9, "ld")

	_, err = w.Finish("a", id, storage.Chunk{}, digest.FromString("something else"))
	w.Is(err, storage.ErrDigestMismatch, "another digest")
	_, err = w.Finish("a", id, storage.Chunk{}, digest.FromString("hello world"))
	w.NoError(err, "the upload was kept, and can be finished")

	id = w.Start("a")
	_, err = w.Finish("a", id, storage.Chunk{Body: strings.NewReader("garbled"), Offset: -1, Length: 7}, digest.FromString("x"))
	w.Is(err, storage.ErrDigestMismatch, "bytes and digest in one request")
	w.IsUnknown("a", id, "then the upload is dropped")
	w.IsUnknown("a", uuid.NewString(), "never started")

	_, err = w.Store.StartUpload(w.T.Context(), "a", "md5")
	w.Is(err, storage.ErrDigestInvalid, "an algorithm that is not taken")
}

func testMounts(w *World) {
	blob := w.Blob("a", "shared")
	w.NoError(w.Store.MountBlob(w.T.Context(), "b", blob, "a", ""), "mount")
	w.Equal(w.Pull("b", blob), "shared", "it can be read there")
	w.NoError(w.Store.MountBlob(w.T.Context(), "b", blob, "a", ""), "mount it twice")

	w.Is(w.Store.MountBlob(w.T.Context(), "b", digest.FromString("none"), "a", ""), storage.ErrBlobUnknown, "not there")
	w.Is(w.Store.MountBlob(w.T.Context(), "b", blob, "none", ""), storage.ErrBlobUnknown, "no such repository")

	w.NoError(w.DeleteBlob("b", blob), "delete it there")
	w.Equal(w.Pull("a", blob), "shared", "it is still here")
	w.NoError(w.Store.MountBlob(w.T.Context(), "b", blob, "a", ""), "mount it again")
	w.Equal(w.Pull("b", blob), "shared", "it is back")

	w.NoError(w.DeleteBlob("a", blob), "delete it here")
	w.Is(w.Store.MountBlob(w.T.Context(), "c", blob, "a", ""), storage.ErrBlobUnknown, "what was deleted cannot be mounted")
}

func testDedupe(w *World) {
	blob := w.Blob("a", "bytes")
	w.Equal(len(w.Store.FindBlob(w.T.Context(), "b", blob)), 1, "the cache knows who has it")
	w.Blob("b", "bytes")
	w.Equal(w.Pull("b", blob), "bytes", "pushed where it was known")
	w.Equal(len(w.Store.FindBlob(w.T.Context(), "c", blob)), 2, "now two have it")
	w.Is(w.Stat("c", blob), storage.ErrBlobUnknown, "dedupe shows it to nobody else")

	w.NoError(w.Driver.Delete(w.T.Context(), storage.BlobKey("a", blob)), "the cache is wrong")
	w.Blob("d", "bytes")
	w.Equal(w.Pull("d", blob), "bytes", "it was put right by using it")
}

// fill makes bytes that do not repeat, the same in each run.
func fill(p []byte) {
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(p)
}

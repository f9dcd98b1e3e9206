package admin

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"
	. "github.com/smartystreets/goconvey/convey"
	"go.uber.org/goleak"

	"zotregistry.io/zot/pkg/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a Store of which a test says what it does.
type scripted struct {
	Store // nil: what is not overridden panics

	collect func(ctx context.Context) (storage.Collected, error)
	purge   func(repo storage.RepoName, dgst digest.Digest, opts storage.PurgeOptions, who string) (storage.Purged, error)
	check   func(ctx context.Context, tell func(storage.CheckProgress)) (storage.CheckReport, error)
}

func (s scripted) Check(
	ctx context.Context, _ storage.CheckOptions, tell func(storage.CheckProgress),
) (storage.CheckReport, error) {
	return s.check(ctx, tell)
}

func (s scripted) Collect(ctx context.Context) (storage.Collected, error) { return s.collect(ctx) }

func (s scripted) Purge(
	_ context.Context, repo storage.RepoName, dgst digest.Digest, opts storage.PurgeOptions, who string,
) (storage.Purged, error) {
	return s.purge(repo, dgst, opts, who)
}

func mustListen(t *testing.T, root string, store Store) *Server {
	t.Helper()

	server, err := Listen(t.Context(), root, store, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}

	return server
}

func mustDial(t *testing.T, root string) *Client {
	t.Helper()

	client, err := Dial(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}

	return client
}

func TestSocket(t *testing.T) {
	Convey("Given a server", t, func() {
		dgst := digest.FromString("x")
		store := &scripted{}
		root := t.TempDir()
		server := mustListen(t, root, store)
		client := mustDial(t, root)

		Reset(func() {
			client.Close()
			So(server.Close(context.WithoutCancel(t.Context())), ShouldBeNil)
		})

		Convey("only its owner may speak to it, and nothing else is left of its making", func() {
			info, err := os.Stat(SocketPath(root))
			So(err, ShouldBeNil)
			So(info.Mode().Perm(), ShouldEqual, os.FileMode(0o600))

			entries, err := os.ReadDir(root)
			So(err, ShouldBeNil)
			So(entries, ShouldHaveLength, 1)
		})

		Convey("arguments and results arrive as they were sent", func() {
			var got purgeArgs

			store.purge = func(repo storage.RepoName, dgst digest.Digest, opts storage.PurgeOptions, who string) (storage.Purged, error) {
				got = purgeArgs{namedDigest{repo, dgst, who}, opts}

				return storage.Purged{Tags: []storage.Tag{"t"}, Blobs: []digest.Digest{dgst}}, nil
			}

			done, err := client.Purge(t.Context(), "a/b", dgst, storage.PurgeOptions{Force: true}, "me")
			So(err, ShouldBeNil)
			So(got, ShouldResemble, purgeArgs{namedDigest{"a/b", dgst, "me"}, storage.PurgeOptions{Force: true}})
			So(done, ShouldResemble, storage.Purged{Tags: []storage.Tag{"t"}, Blobs: []digest.Digest{dgst}})
		})

		Convey("errors keep their meaning and their words", func() {
			failure := errors.Join(&storage.HeldError{Repo: "a", Digest: dgst, Holders: []digest.Digest{dgst}}, storage.ErrDamaged)
			store.purge = func(storage.RepoName, digest.Digest, storage.PurgeOptions, string) (storage.Purged, error) {
				return storage.Purged{}, failure
			}

			_, err := client.Purge(t.Context(), "a", dgst, storage.PurgeOptions{}, "")
			So(err, ShouldWrap, storage.ErrInUse)
			So(err, ShouldWrap, storage.ErrDamaged)
			So(errors.Is(err, storage.ErrBlobUnknown), ShouldBeFalse)
			So(err.Error(), ShouldEqual, failure.Error())
		})

		Convey("a command that was stopped ends it, too, as soon as that is known", func() {
			server.patience = 50 * time.Millisecond
			ended := make(chan struct{})
			store.check = func(ctx context.Context, tell func(storage.CheckProgress)) (storage.CheckReport, error) {
				defer close(ended)

				for ctx.Err() == nil { // more than a socket takes
					tell(storage.CheckProgress{At: strings.Repeat("a", 1<<16)})
				}

				return storage.CheckReport{}, ctx.Err()
			}

			_, err := client.Check(t.Context(), storage.CheckOptions{}, func(storage.CheckProgress) { <-ended })
			So(err, ShouldNotBeNil)
		})

		Convey("a command that is left ends what it has asked for", func() {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			store.collect = func(ctx context.Context) (storage.Collected, error) {
				cancel()
				<-ctx.Done()
				ended <- ctx.Err()

				return storage.Collected{}, ctx.Err()
			}

			_, err := client.Collect(ctx)
			So(err, ShouldNotBeNil)
			So(<-ended, ShouldEqual, context.Canceled)
		})
	})

	Convey("The end of a server ends what is under way, and removes the socket", t, func() {
		root := t.TempDir()
		begun := make(chan struct{})
		server := mustListen(t, root, scripted{collect: func(ctx context.Context) (storage.Collected, error) {
			close(begun)
			<-ctx.Done()

			return storage.Collected{}, ctx.Err()
		}})
		client := mustDial(t, root)
		defer client.Close()

		answer := make(chan error, 1)

		go func() {
			_, err := client.Collect(t.Context())
			answer <- err
		}()

		<-begun
		So(server.Close(t.Context()), ShouldBeNil)
		So(<-answer, ShouldNotBeNil)

		_, err := Dial(t.Context(), root)
		So(err, ShouldWrap, ErrNobody)

		entries, err := os.ReadDir(root)
		So(err, ShouldBeNil)
		So(entries, ShouldBeEmpty)
	})

	Convey("A socket that was left is replaced; one that was replaced is left alone", t, func() {
		root := t.TempDir()
		old := mustListen(t, root, nil)
		young := mustListen(t, root, nil)

		So(old.Close(t.Context()), ShouldBeNil)
		mustDial(t, root).Close()
		So(young.Close(t.Context()), ShouldBeNil)
	})

	Convey("Nobody serves where there is no socket, no directory, and where a process was killed", t, func() {
		root := t.TempDir()
		_, err := Dial(t.Context(), root)
		So(err, ShouldWrap, ErrNobody)

		_, err = Dial(t.Context(), filepath.Join(root, "none"))
		So(err, ShouldWrap, ErrNobody)

		socket, err := listenSocket(root)
		So(err, ShouldBeNil)
		So(socket.listener.Close(), ShouldBeNil)

		_, err = Dial(t.Context(), root)
		So(err, ShouldWrap, ErrNobody)
	})

	Convey("A path may be longer than that of a socket", t, func() {
		if runtime.GOOS != "linux" {
			return // it is refused there
		}

		root := filepath.Join(t.TempDir(), strings.Repeat("d", 100), strings.Repeat("e", 100))
		So(os.MkdirAll(root, 0o700), ShouldBeNil)

		server := mustListen(t, root, nil)
		mustDial(t, root).Close()
		So(server.Close(t.Context()), ShouldBeNil)

		_, err := Dial(t.Context(), root)
		So(err, ShouldWrap, ErrNobody)
	})
}

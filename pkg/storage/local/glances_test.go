package local

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
	. "github.com/smartystreets/goconvey/convey"
)

func TestGlances(t *testing.T) {
	Convey("Where files are looked at again after a while", t, func() {
		ctx := context.Background()
		root, err := OpenRoot(ctx, RootOptions{Path: t.TempDir(), LookAfter: time.Hour, Log: zerolog.Nop()})
		So(err, ShouldBeNil)

		defer func() { So(root.Close(), ShouldBeNil) }()

		const key = "a/blobs/sha256/x"

		_, err = root.Put(ctx, key, []byte("123"))
		So(err, ShouldBeNil)

		_, ok := root.Glance(key)
		So(ok, ShouldBeFalse)

		_, err = root.Stat(ctx, key)
		So(err, ShouldBeNil)

		info, ok := root.Glance(key)
		So(ok, ShouldBeTrue)
		So(info.Size, ShouldEqual, 3)

		Convey("what another program does shows in Stat only", func() {
			So(os.Remove(filepath.Join(root.path, key)), ShouldBeNil)

			_, ok := root.Glance(key)
			So(ok, ShouldBeTrue)

			_, err := root.Stat(ctx, key)
			So(err, ShouldNotBeNil)
		})

		for name, change := range map[string]func() error{
			"Put":    func() error { _, err := root.Put(ctx, key, []byte("1")); return err },
			"Link":   func() error { _, err := root.Link(ctx, key, "a/blobs/sha256/y"); return err },
			"Delete": func() error { return root.Delete(ctx, key) },
			"Remove": func() error { _, err := root.Remove(ctx, key); return err },
			"SetAside": func() error {
				finish, err := root.SetAside(ctx, key, "_zot/aside/x")
				if err != nil {
					return err
				}

				root.flush.changes.Store(0)
				_, err = root.Stat(ctx, key)
				So(err, ShouldBeNil)

				return finish()
			},
		} {
			Convey(name+" makes what was seen before void", func() {
				So(change(), ShouldBeNil)

				_, ok := root.Glance(key)
				So(ok, ShouldBeFalse)
			})
		}

		Convey("so does time", func() {
			root.files.life = time.Nanosecond

			_, ok := root.Glance(key)
			So(ok, ShouldBeFalse)
		})

		Convey("index.json is looked at again much sooner", func() {
			log, err := root.OpenLog(ctx, "a/")
			So(err, ShouldBeNil)

			defer func() { So(log.Close(), ShouldBeNil) }()

			now := time.Now()
			changes, err := log.Refresh(ctx, 0, now)
			So(err, ShouldBeNil)
			So(changes.Index, ShouldBeFalse)

			So(os.WriteFile(filepath.Join(root.path, "a/index.json"), []byte("{}"), 0o600), ShouldBeNil)

			changes, err = log.Refresh(ctx, 0, now.Add(indexFor/2))
			So(err, ShouldBeNil)
			So(changes.Index, ShouldBeFalse)

			changes, err = log.Refresh(ctx, 0, now.Add(2*indexFor))
			So(err, ShouldBeNil)
			So(changes.Index, ShouldBeTrue)
		})
	})
}

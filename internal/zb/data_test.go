package zb

import (
	"encoding/json"
	"io"
	"os"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	. "github.com/smartystreets/goconvey/convey"
)

// mustOpen makes data for blobs of at most a kilobyte, in a directory if there is one.
func mustOpen(t *testing.T, dir string) *data {
	t.Helper()

	d, err := newData(dir, kb)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	})

	return d
}

func TestData(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		Convey("In "+map[bool]string{true: "memory", false: "a file"}[dir == ""], t, func() {
			d := mustOpen(t, dir)

			Convey("each blob is another one, and its digest is that of its bytes, as often as it is read", func() {
				seen := map[digest.Digest]bool{}

				for _, size := range []int{kb, kb, tailSize + 1, 500, kb} {
					b := d.blob(size)
					So(b.size(), ShouldEqual, size)
					So(seen[b.digest], ShouldBeFalse)
					seen[b.digest] = true

					for range 2 {
						all, err := io.ReadAll(b.open())
						So(err, ShouldBeNil)
						So(digest.FromBytes(all), ShouldEqual, b.digest)
						So(all, ShouldHaveLength, size)
					}
				}
			})

			Convey("an image names its blobs and its subject", func() {
				subject, err := d.image(kb)
				So(err, ShouldBeNil)

				img, err := d.imageOf(subject, d.blob(100), d.blob(200))
				So(err, ShouldBeNil)

				var m v1.Manifest

				So(json.Unmarshal(img.manifest, &m), ShouldBeNil)
				So(m.Config.Digest, ShouldEqual, img.blobs[0].digest)
				So(m.Layers, ShouldHaveLength, 2)
				So(m.Layers[1].Size, ShouldEqual, 200)
				So(m.Subject.Digest, ShouldEqual, subject.digest)
				So(img.size(), ShouldEqual, int64(len(img.manifest))+300+img.blobs[0].size())
			})

			Convey("no file is left", func() {
				if dir != "" {
					left, err := os.ReadDir(dir)
					So(err, ShouldBeNil)
					So(left, ShouldBeEmpty)
				}
			})
		})
	}
}

func TestMixture(t *testing.T) {
	Convey("Any hundred operations in a row have their shares", t, func() {
		for _, from := range []int{0, 7, 250} {
			var count [3]int
			for n := from; n < from+100; n++ {
				count[typical.of(n)]++
			}

			So(count, ShouldResemble, [3]int{20, 70, 10})
		}
	})

	Convey("Even a few have all sizes", t, func() {
		var count [3]int
		for n := range 6 {
			count[thirds.of(n)]++
		}

		So(count, ShouldResemble, [3]int{2, 2, 2})
	})
}

func TestSelect(t *testing.T) {
	names := func(patterns ...string) []string {
		tests, err := Select(patterns)
		So(err, ShouldBeNil)

		var all []string
		for _, test := range tests {
			all = append(all, test.Name)
		}

		return all
	}

	Convey("Tests are selected", t, func() {
		Convey("all of them, each with a name of its own", func() {
			seen := map[string]bool{}
			for _, name := range names() {
				So(seen[name], ShouldBeFalse)
				seen[name] = true
			}
		})

		Convey("by a name, which does not match longer ones", func() {
			So(names("pull-1mb"), ShouldResemble, []string{"pull-1mb"})
		})

		Convey("by expressions, in the order in which they run", func() {
			So(names("HEAD$", "pull-small"), ShouldResemble, []string{"pull-small", "manifest-head", "blob-head"})
		})

		Convey("unless there is none", func() {
			_, err := Select([]string{"none"})
			So(err, ShouldNotBeNil)

			_, err = Select([]string{"("})
			So(err, ShouldNotBeNil)
		})
	})
}

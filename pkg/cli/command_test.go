package cli

import (
	"errors"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	. "github.com/smartystreets/goconvey/convey"
)

// runToEnd runs a command that ends by itself, and returns what it printed.
func runToEnd(t *testing.T, args ...string) (out, warnings string, err error) {
	t.Helper()

	var o, w strings.Builder

	err = Run(t.Context(), args, Streams{Out: &o, Err: &w})

	return o.String(), w.String(), err
}

func TestVersion(t *testing.T) {
	Convey("version prints what the build says of itself", t, func() {
		Version, Commit, Date = "v1.2.3", "abc", "2026-01-02T03:04:05Z"

		Reset(func() { Version, Commit, Date = "", "", "" })

		out, _, err := runToEnd(t, "version")

		So(err, ShouldBeNil)
		So(out, ShouldStartWith, "zot v1.2.3, commit abc of 2026-01-02T03:04:05Z, go1.")
	})

	Convey("else what the Go toolchain noted", t, func() {
		noted := notedBuild(&debug.BuildInfo{
			Main: debug.Module{Version: "v0.1.0"},
			Settings: []debug.BuildSetting{
				{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "now"}, {Key: "GOOS", Value: "plan9"},
			},
		})

		So(noted, ShouldResemble, build{version: "v0.1.0", commit: "abc", date: "now"})
	})

	Convey("and unknown where neither says anything", t, func() {
		out, _, err := runToEnd(t, "version")

		So(err, ShouldBeNil)
		So(out, ShouldContainSubstring, "commit unknown of unknown")
	})
}

func TestVerify(t *testing.T) {
	inScratch(t)

	Convey("verify says that a file is valid, and warns", t, func() {
		path := mustWrite(t, "zot.json", `{"storage": {"rootDirectory": "new", "gcInterval": "0s"}}`)
		out, warnings, err := runToEnd(t, "verify", path)

		So(err, ShouldBeNil)
		So(out, ShouldEqual, path+" is valid\n")
		So(warnings, ShouldStartWith, "zot: "+path+": warning: storage.gcInterval: ")
		So(exists("new"), ShouldBeFalse)
	})

	Convey("verify finds what the server would refuse in a file that is named", t, func() {
		So(os.WriteFile("plain", []byte("alice:secret\n"), 0o600), ShouldBeNil)

		path := mustWrite(t, "zot.json", withStorage(`"http": {"auth": {"htpasswd": {"path": "plain"}}}`))
		_, _, err := runToEnd(t, "verify", path)

		So(err, ShouldNotBeNil)
		So(err.Error(), ShouldContainSubstring, "line 1")
		So(err.Error(), ShouldNotContainSubstring, "secret")
	})

	Convey("verify has a line for each mistake", t, func() {
		path := mustWrite(t, "zot.json", `{"htp": {}}`)
		_, _, err := runToEnd(t, "verify", path)

		var printed strings.Builder
		Report(&printed, err)

		So(strings.Count(printed.String(), "zot: "+path+": "), ShouldEqual, 2)
		So(strings.Count(printed.String(), "\n"), ShouldEqual, 2)
	})
}

func TestWrongUse(t *testing.T) {
	for _, args := range [][]string{
		{"bogus"},
		{"serv"},
		{"serve", "--verbose"},
		{"serve", "a", "b"},
		{"verify"},
		{"verify", "a", "b"},
		{"version", "now"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			out, warnings, err := runToEnd(t, args...)
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one line", err)
			}

			if out+warnings != "" {
				t.Errorf("printed %q", out+warnings)
			}
		})
	}

	Convey("Without a command, it says which there are", t, func() {
		out, _, err := runToEnd(t)

		So(err, ShouldBeNil)
		So(out, ShouldContainSubstring, "serve")
	})
}

// full is a stream that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestFullOutput(t *testing.T) {
	Convey("What cannot be printed is a failure", t, func() {
		err := Run(t.Context(), []string{"version"}, Streams{Out: full{}, Err: io.Discard})

		So(err, ShouldNotBeNil)
	})
}

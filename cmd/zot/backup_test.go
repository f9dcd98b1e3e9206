package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	. "github.com/smartystreets/goconvey/convey"
)

// mustServeAgain starts zot serve in the directory of a process that has ended.
func (p *process) mustServeAgain(t *testing.T, config string) *process {
	t.Helper()

	return mustServe(t, p.cmd.Dir, config)
}

// isLayout says whether other programs can read a repository in a directory.
func isLayout(dir, repo, tag string) bool {
	layout, err := os.ReadFile(filepath.Join(dir, repo, "oci-layout"))
	index, indexErr := os.ReadFile(filepath.Join(dir, repo, "index.json"))

	return err == nil && indexErr == nil && strings.Contains(string(layout), "imageLayoutVersion") &&
		strings.Contains(string(index), `"org.opencontainers.image.ref.name":"`+tag+`"`)
}

func TestBackup(t *testing.T) {
	Convey("Given a zot that serves, with images", t, func() {
		zot := mustStart(t)
		backup := filepath.Join(zot.cmd.Dir, "backup")
		image, _ := zot.mustPush(t, "team/app", "v1", "one")
		zot.mustPush(t, "other", "v1", "one")

		stop := func(p *process) {
			p.mustSignal(t, syscall.SIGTERM)
			So(p.wait(), ShouldEqual, 0)
		}

		out := zot.mustRun(t, "backup", "backup")
		So(out, ShouldStartWith, "backup of 2 repositories is done: ")
		So(out, ShouldContainSubstring, "1 blobs and 2 manifests sent, 1 blobs shared, 2 tags set, 0 removed")

		Convey("the backup is a directory of layouts, which any zot serves", func() {
			So(isLayout(backup, "team/app", "v1"), ShouldBeTrue)
			stop(zot)

			copied := zot.mustServeAgain(t, `{"storage": {"rootDirectory": "backup"}, "http": {"port": 0}}`)
			So(copied.has(t, "team/app", "v1"), ShouldBeTrue)
			stop(copied)
		})

		Convey("the next backup copies what is new, and removes what is gone", func() {
			zot.mustPush(t, "team/app", "v2", "two")
			So(zot.mustRun(t, "repo", "delete", "other"), ShouldNotBeEmpty)

			So(zot.mustRun(t, "backup", "backup"), ShouldContainSubstring,
				"1 blobs and 1 manifests sent, 0 blobs shared, 1 tags set, 2 removed")
			stop(zot)
		})

		Convey("one repository is restored beside others, online", func() {
			two, _ := zot.mustPush(t, "team/app", "v1", "two")
			zot.mustPush(t, "team/app", "v3", "three")
			zot.mustPush(t, "other", "v1", "two")

			So(zot.mustRun(t, "restore", "backup", "team/app"), ShouldStartWith, "restore of 1 repositories is done")

			_, body := zot.send(t, "GET", "/v2/team/app/manifests/v1", "", "")
			_, want := zot.send(t, "GET", "/v2/team/app/manifests/"+image.String(), "", "")
			So(body, ShouldEqual, want)
			So(zot.has(t, "team/app", two.String()), ShouldBeTrue)
			So(zot.has(t, "team/app", "v3"), ShouldBeTrue)

			zot.mustRun(t, "restore", "backup", "team/app", "--exact")
			So(zot.has(t, "team/app", "v3"), ShouldBeFalse)
			So(zot.has(t, "team/app", "v1"), ShouldBeTrue)
			stop(zot)
		})

		Convey("all is restored after a loss, without a zot that serves, and backed up again", func() {
			_, before := zot.send(t, "GET", "/v2/team/app/manifests/v1", "", "")
			history := zot.mustRun(t, "tag", "history", "team/app:v1")
			stop(zot)
			So(os.RemoveAll(filepath.Join(zot.cmd.Dir, "data")), ShouldBeNil)

			So(zot.mustRun(t, "restore", "backup"), ShouldStartWith, "restore of 2 repositories is done")
			So(zot.mustRun(t, "tag", "history", "team/app:v1"), ShouldEqual, history)
			So(zot.mustRun(t, "backup", "backup"), ShouldContainSubstring, "0 B in 0 blobs and 0 manifests sent")

			again := zot.mustServeAgain(t, `{"storage": {"rootDirectory": "data"}, "http": {"port": 0}}`)
			_, after := again.send(t, "GET", "/v2/team/app/manifests/v1", "", "")
			So(after, ShouldEqual, before)
			stop(again)
		})

		Convey("a repository whose log is lost stays in the backup", func() {
			stop(zot)
			data := filepath.Join(zot.cmd.Dir, "data")
			So(os.RemoveAll(filepath.Join(data, "other", ".zot")), ShouldBeNil)
			So(os.Remove(filepath.Join(data, "other", "index.json")), ShouldBeNil)

			out, status := zot.run(t, "backup", "backup")
			So(status, ShouldEqual, 1)
			So(out, ShouldContainSubstring, "backup: other: damaged: its log is lost")
			So(isLayout(backup, "other", "v1"), ShouldBeTrue)
		})

		Convey("a backup that was copied without its list of repositories is restored whole", func() {
			stop(zot)
			So(os.RemoveAll(filepath.Join(backup, "_repos")), ShouldBeNil)
			So(os.RemoveAll(filepath.Join(zot.cmd.Dir, "data")), ShouldBeNil)

			So(zot.mustRun(t, "restore", "backup"), ShouldStartWith, "restore of 2 repositories is done")
			So(isLayout(filepath.Join(zot.cmd.Dir, "data"), "team/app", "v1"), ShouldBeTrue)
		})

		Convey("a repository that the backup has lost is named, however often it is tried", func() {
			stop(zot)
			So(os.RemoveAll(filepath.Join(backup, "other")), ShouldBeNil)
			So(os.RemoveAll(filepath.Join(zot.cmd.Dir, "data")), ShouldBeNil)

			for range 2 {
				out, status := zot.run(t, "restore", "backup")
				So(status, ShouldEqual, 1)
				So(out, ShouldContainSubstring, "restore: other: damaged: its log is lost")
				So(isLayout(filepath.Join(zot.cmd.Dir, "data"), "team/app", "v1"), ShouldBeTrue)
			}
		})

		Convey("a sub-path that is not mounted takes nothing from the backup", func() {
			stop(zot)

			const config = `{"storage": {"rootDirectory": "data", "subPaths": {"/infra": {"rootDirectory": "sub"}}}, "http": {"port": 0}}`
			zot := zot.mustServeAgain(t, config)
			zot.mustPush(t, "infra/base", "v1", "three")

			out, status := zot.run(t, "backup", "backup") // it was made without the sub-path
			So(status, ShouldEqual, 1)
			So(out, ShouldContainSubstring, "backup is no backup of the store in ")
			So(zot.mustRun(t, "backup", "backup", "--new-store"), ShouldStartWith, "backup of 3 repositories is done")
			So(zot.mustRun(t, "backup", "backup"), ShouldContainSubstring, "0 removed")
			stop(zot)

			So(os.Rename(filepath.Join(zot.cmd.Dir, "sub"), filepath.Join(zot.cmd.Dir, "unmounted")), ShouldBeNil)
			out, status = zot.run(t, "backup", "backup")
			So(status, ShouldEqual, 1)
			So(out, ShouldContainSubstring, "sub, which is new or not mounted; --new-store adds it")
			So(isLayout(backup, "infra/base", "v1"), ShouldBeTrue)

			So(zot.mustRun(t, "backup", "backup", "--new-store"), ShouldContainSubstring, "1 removed")
			So(isLayout(backup, "infra/base", "v1"), ShouldBeFalse)
		})

		Convey("a mistake is one line that says what is wrong, and status 1", func() {
			So(os.MkdirAll(filepath.Join(zot.cmd.Dir, "full", "of"), 0o700), ShouldBeNil)
			So(os.WriteFile(filepath.Join(zot.cmd.Dir, "file"), nil, 0o600), ShouldBeNil)

			stranger := mustStart(t)
			stranger.mustPush(t, "x", "v1", "x")
			stranger.mustRun(t, "backup", filepath.Join(zot.cmd.Dir, "strange"))
			stop(stranger)

			for _, row := range []struct{ command, want string }{
				{"backup data/inside", "are not apart"},
				{"backup data", "are not apart"},
				{"backup .", "are not apart"},
				{"backup full", "is not empty, and not a backup"},
				{"backup strange", "is a backup of something else"},
				{"backup file", "not a directory"},
				{"restore none", "is not a backup: there is no "},
				{"restore full", "is not a backup: there is no "},
				{"restore backup none", "repository not known: none"},
				{"restore backup UPPER", "invalid repository name"},
			} {
				out, status := zot.run(t, strings.Fields(row.command)...)
				So(status, ShouldEqual, 1)
				So(out, ShouldContainSubstring, row.want)
				So(strings.Count(out, "\n"), ShouldEqual, 1)
				So(out, ShouldStartWith, "zot: "+strings.Fields(row.command)[0]+": ")
			}

			stop(zot)
		})
	})
}

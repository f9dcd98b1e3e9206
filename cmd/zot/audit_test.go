package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	. "github.com/smartystreets/goconvey/convey"
)

// auditedCommands are the lines of an audit log that are of commands, without what differs each time.
func (p *process) auditedCommands(t *testing.T) []string {
	t.Helper()

	text, err := os.ReadFile(filepath.Join(p.cmd.Dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}

	var commands []string

	for line := range strings.Lines(string(text)) {
		var e struct {
			Time, User, Remote, Method, Path, Repository, Reference, From, Error string
			Status                                                               int
		}

		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}

		if e.Method != "COMMAND" {
			continue
		}

		So([]string{e.User, e.Remote}, ShouldResemble, []string{"zot admin", "this machine"})
		So(e.Time, ShouldNotBeEmpty)

		from := filepath.Base(e.From)
		commands = append(commands, strings.TrimRight(fmt.Sprint(
			e.Path, "|", e.Repository, "|", e.Reference, "|", from, "|", e.Status, "|", e.Error), "|"))
	}

	return commands
}

func TestAuditOfCommands(t *testing.T) {
	Convey("What commands change is in the audit log", t, func() {
		zot := mustServe(t, t.TempDir(),
			`{"storage": {"rootDirectory": "data"}, "log": {"audit": "audit.log"}, "http": {"port": "0"}}`)

		zot.mustPush(t, "a", "v1", "one")
		_, blob := zot.mustPush(t, "a", "v1", "two")
		zot.mustRun(t, "tag", "undo", "a:v1")
		zot.mustRun(t, "tag", "history", "a:v1")
		zot.mustRun(t, "backup", "backup")
		zot.mustRun(t, "repo", "delete", "a")
		zot.mustRun(t, "undelete", "a")
		zot.mustRun(t, "restore", "backup", "a", "--exact")
		zot.mustRun(t, "purge", "a@"+blob.String(), "--force")
		zot.mustRun(t, "fsck", "--repair")
		zot.mustRun(t, "fsck")

		_, status := zot.run(t, "tag", "undo", "none:v1")
		So(status, ShouldEqual, 1)

		served := []string{
			"tag undo|a|v1|.|200",
			"repo delete|a||.|200",
			"undelete|a||.|200",
			"restore --exact|a||backup|200",
			"purge --force|a|" + blob.String() + "|.|200",
			"fsck --repair|||.|200",
			"tag undo|none|v1|.|500|repository not known",
		}
		So(zot.auditedCommands(t), ShouldResemble, served)

		zot.mustSignal(t, syscall.SIGTERM)
		So(zot.wait(), ShouldEqual, 0)

		Convey("where no zot serves, too", func() {
			zot.mustRun(t, "repo", "delete", "a")
			zot.mustRun(t, "tag", "history", "a:v1")
			So(zot.auditedCommands(t), ShouldResemble, append(served, "repo delete|a||.|200"))
		})

		Convey("and without it nothing is changed", func() {
			So(os.Remove(filepath.Join(zot.cmd.Dir, "audit.log")), ShouldBeNil)
			So(os.Mkdir(filepath.Join(zot.cmd.Dir, "audit.log"), 0o700), ShouldBeNil)

			out, status := zot.run(t, "repo", "delete", "a")
			So(status, ShouldEqual, 1)
			So(out, ShouldContainSubstring, "log.audit: ")

			again := zot.mustServeAgain(t, `{"storage": {"rootDirectory": "data"}, "http": {"port": "0"}}`)
			So(again.has(t, "a", "v1"), ShouldBeTrue)
			again.mustSignal(t, syscall.SIGTERM)
			So(again.wait(), ShouldEqual, 0)
		})
	})
}

package api

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/pkg/storage"
)

// events are those of an answer.
func (a answer) events(t *testing.T) []storage.TagEvent {
	t.Helper()

	var body struct {
		Name   string
		Tag    string
		Events []storage.TagEvent
	}

	if err := json.Unmarshal([]byte(a.expect(t, http.StatusOK).body), &body); err != nil {
		t.Fatal(err)
	}

	So(body.Name+":"+body.Tag, ShouldEqual, "team/app:v1")

	return body.Events
}

func TestTagHistory(t *testing.T) {
	const path = "/v2/team/app/_oci/tag-history/v1"

	Convey("The history of a tag", t, func() {
		c := dial(t)
		_, one := c.image("team/app", "v1", "one")
		_, two := c.image("team/app", "v1", "two")
		c.send(http.MethodDelete, "/v2/team/app/manifests/v1", "").expect(t, http.StatusAccepted)

		Convey("has all that happened to it, the newest first", func() {
			events := c.get(path).events(t)
			So(events, ShouldHaveLength, 3)

			for i, want := range []struct {
				action         storage.TagAction
				digest, before digest.Digest
			}{{storage.TagDeleted, "", two}, {storage.TagSet, two, one}, {storage.TagSet, one, ""}} {
				So(events[i].Action, ShouldEqual, want.action)
				So(events[i].Digest, ShouldEqual, want.digest)
				So(events[i].Before, ShouldEqual, want.before)
				So(events[i].Time.IsZero(), ShouldBeFalse)
			}
		})

		Convey("comes in pages, which a later change does not shift", func() {
			first := c.get(path + "?n=2")
			all := first.events(t)
			So(all, ShouldHaveLength, 2)
			c.image("team/app", "v1", "three")

			last := c.get(first.next())
			all = append(all, last.events(t)...)
			So(all, ShouldHaveLength, 3)
			So(all[2].Digest, ShouldEqual, one)
			So(last.next(), ShouldBeEmpty)
		})

		Convey("is not known of a tag or a repository that never was", func() {
			c.get("/v2/team/app/_oci/tag-history/v2").refused(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
			c.get("/v2/team/none/_oci/tag-history/v1").refused(t, http.StatusNotFound, "NAME_UNKNOWN")
			c.get(path+"?last=x").refused(t, http.StatusBadRequest, "UNSUPPORTED")
			c.send(http.MethodDelete, path, "").refused(t, http.StatusMethodNotAllowed, "UNSUPPORTED")
		})
	})
}

package cli

import (
	"path/filepath"
	"regexp"
	"testing"
	"time"

	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/pkg/storage"
)

func TestRetentionOfConfiguration(t *testing.T) {
	example := func(name string) storage.GC {
		return gcOf(mustLoad(t, filepath.Join("..", "..", "examples", "config", name)).Storage.Store)
	}

	Convey("What a file says of retention is what the store gets", t, func() {
		const day = 24 * time.Hour

		delay := day

		So(example("retention.json").Retention, ShouldResemble, storage.Retention{
			Delay: &delay,
			Policies: []storage.Policy{
				{
					Repositories: []string{"infra/**", "prod/*"}, DeleteReferrers: true, DeleteUntagged: true,
					KeepTags: []storage.KeepTags{
						{Patterns: []*regexp.Regexp{regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+$`), regexp.MustCompile("^latest$")}},
						{
							Patterns: []*regexp.Regexp{regexp.MustCompile("^main-")},
							Keep:     storage.Keep{MostRecentlyPushed: 20, PulledWithin: 30 * day},
						},
					},
					KeepUntagged: []storage.Keep{{PulledWithin: 7 * day}},
				},
				{Repositories: []string{"**"}},
			},
		})
		So(example("retention-dry-run.json").Retention, ShouldResemble, storage.Retention{
			DryRun: true,
			Policies: []storage.Policy{{
				Repositories: []string{"ci/**"}, DeleteUntagged: true,
				KeepTags: []storage.KeepTags{{Keep: storage.Keep{PushedWithin: 14 * day, MostRecentlyPulled: 10}}},
			}},
		})
	})

	Convey("Without it there are no policies", t, func() {
		So(example("minimal.json").Retention, ShouldResemble, storage.Retention{})
	})
}

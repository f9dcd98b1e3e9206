//go:build remote

package main

import (
	"slices"
	"testing"

	. "github.com/smartystreets/goconvey/convey"

	"zotregistry.io/zot/internal/servers"
)

// TestOthers runs zb against registries of others: no operation fails, and what is left out is
// what they do not have.
func TestOthers(t *testing.T) {
	noReferrers := []string{"cold-start", "push-referrer", "get-referrers"}

	for _, other := range []struct {
		name    string
		start   func(testing.TB) string
		without []string
	}{
		{"distribution", servers.StartDistribution, noReferrers},
		{"crane's registry", servers.StartCraneRegistry, append([]string{"mount"}, noReferrers...)},
	} {
		Convey("Against "+other.name+" no operation fails", t, func() {
			report := mustReport(t, "-n", "3", "--tags", "20", "http://"+other.start(t))

			for _, res := range report.Results {
				So(res.Errors, ShouldBeEmpty)

				if slices.Contains(other.without, res.Name) {
					So(res.Skipped, ShouldNotBeEmpty)
				} else {
					So(res.Skipped, ShouldBeEmpty)
					So(res.Operations, ShouldEqual, 3)
				}
			}
		})
	}
}

package main

import "slices"

// Names of what is measured beside each other.
const (
	zotName          = "zot"
	loginName        = "zot, htpasswd"
	uncommittedName  = "zot, commit: false"
	distributionName = "distribution"
	bareName         = "bare"
	bareSyncedName   = "bare, flushed"
)

// aim is how many times as much work of a test one registry should do as another.
type aim struct {
	test, of, to string
	least        float64 // 0 = the ratio is told
}

// aims are how fast zot is to be.
var aims = []aim{
	{"push-small", zotName, distributionName, 8},
	{"pull-small", zotName, distributionName, 14},
	{"manifest-get", zotName, distributionName, 4},
	{"blob-head", zotName, distributionName, 5.3},
	{"push-monolith-1mb", zotName, distributionName, 4},
	{"pull-1mb", zotName, distributionName, 6},
	{"push-small", uncommittedName, distributionName, 11},
	{"push-monolith-1mb", uncommittedName, distributionName, 5.5},
	{"push-small", loginName, zotName, 0}, // before pulls as with zot: a process that has just begun is slower
	{"pull-small", loginName, zotName, 0.95},
	{"manifest-get", zotName, bareName, 0.7},
	{"blob-head", zotName, bareName, 0.7},
	{"blob-put-512mb", zotName, bareName, 0.8},
	{"blob-patch-512mb", zotName, bareName, 0.8},
	{"blob-get-512mb", zotName, bareName, 0.95},

	{"blob-put-512mb", zotName, bareSyncedName, 0},
	{"blob-patch-512mb", zotName, bareSyncedName, 0},
	{"blob-put-512mb", uncommittedName, bareName, 0},
	{"blob-patch-512mb", uncommittedName, bareName, 0},
	{"blob-put-512mb", zotName, distributionName, 0},
	{"blob-get-512mb", zotName, distributionName, 0},
}

// bucketAims are those on an S3 server.
var bucketAims = []aim{
	{"push-small", zotName, distributionName, 4},
	{"pull-small", zotName, distributionName, 6},
	{"push-monolith-1mb", zotName, distributionName, 2},
	{"pull-1mb", zotName, distributionName, 2},
}

// testsOf lists the tests that aims need of a registry, in the order of aims.
func testsOf(aims []aim, name string) []string {
	var tests []string

	for _, a := range aims {
		if (a.of == name || a.to == name) && !slices.Contains(tests, a.test) {
			tests = append(tests, a.test)
		}
	}

	return tests
}

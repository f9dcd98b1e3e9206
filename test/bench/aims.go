package main

import "slices"

// Names of what is measured beside each other.
const (
	zotName          = "zot"
	uncommittedName  = "zot, commit: false"
	distributionName = "distribution"
	bareName         = "bare"
	bareSyncedName   = "bare, flushed"
)

// aim is how many times as much work of a test one registry should do as another.
type aim struct {
	test, of, to string
	least        float64
	told         bool // no aim: the ratio is told
}

// aims are those of the issue that asked for speed.
var aims = []aim{
	{"push-small", zotName, distributionName, 8, false},
	{"pull-small", zotName, distributionName, 14, false},
	{"manifest-get", zotName, distributionName, 4, false},
	{"blob-head", zotName, distributionName, 5.3, false},
	{"push-monolith-1mb", zotName, distributionName, 4, false},
	{"pull-1mb", zotName, distributionName, 6, false},
	{"push-small", uncommittedName, distributionName, 11, false},
	{"push-monolith-1mb", uncommittedName, distributionName, 5.5, false},
	{"manifest-get", zotName, bareName, 0.7, false},
	{"blob-head", zotName, bareName, 0.7, false},
	{"blob-put-512mb", zotName, bareName, 0.8, false},
	{"blob-patch-512mb", zotName, bareName, 0.8, false},
	{"blob-get-512mb", zotName, bareName, 0.95, false},

	{"blob-put-512mb", zotName, bareSyncedName, 0, true},
	{"blob-patch-512mb", zotName, bareSyncedName, 0, true},
	{"blob-put-512mb", uncommittedName, bareName, 0, true},
	{"blob-patch-512mb", uncommittedName, bareName, 0, true},
	{"blob-put-512mb", zotName, distributionName, 0, true},
	{"blob-get-512mb", zotName, distributionName, 0, true},
}

// bucketAims are those on an S3 server.
var bucketAims = []aim{
	{"push-small", zotName, distributionName, 4, false},
	{"pull-small", zotName, distributionName, 6, false},
	{"push-monolith-1mb", zotName, distributionName, 2, false},
	{"pull-1mb", zotName, distributionName, 2, false},
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

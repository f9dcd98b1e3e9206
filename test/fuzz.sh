#!/usr/bin/env bash
# fuzz.sh TIME: run each fuzz target in the module for TIME, one after the other. An
# input that fails is kept under the package's testdata and belongs into the commit
# that fixes it.
set -euo pipefail

go=${GO:-go}
time=${1:-20s}
count=0

# "go test -list" prints the targets of a package and then a line "ok PACKAGE".
list() {
	"$go" test -list '^Fuzz' ./... | awk '/^Fuzz/ { target[++n] = $1 } /^ok/ { for (i = 1; i <= n; i++) print $2, target[i]; n = 0 }'
}

targets=$(list)
while read -r package target; do
	[[ -n $package ]] || continue
	echo "--- $target in $package"
	"$go" test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package"
	count=$((count + 1))
done <<<"$targets"

echo "$count fuzz targets, $time each"
if ((count == 0)); then
	echo "no fuzz target found" >&2
	exit 1
fi

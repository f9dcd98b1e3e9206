#!/usr/bin/env bash
# fuzz.sh TIME: run each fuzz target in the module for TIME, as many at once as there are
# processors, with one worker each. An input that fails is kept under the package's
# testdata and belongs into the commit that fixes it.
set -euo pipefail

go=${GO:-go}
time=${1:-10s}
jobs=$(getconf _NPROCESSORS_ONLN)
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# one PACKAGE TARGET runs one target and shows what it said once it is over. A good one
# leaves a mark; what leaves none has failed, however it came to an end.
one() {
	local log="$logs/${1//\//_}.$2.log"

	if "$go" test -run '^$' -fuzz "^$2\$" -fuzztime "$time" -parallel 1 "$1" >"$log" 2>&1 || ran_out "$log"; then
		echo "ok    $2 in $1: $(grep -o 'execs: [0-9]*' "$log" | tail -1)"
		: >"$logs/${1//\//_}.$2.ok"
	else
		echo "FAIL  $2 in $1:"
		cat "$log"
	fi
}

# ran_out LOG: did the time end while the fuzzer was busy with an input, and nothing else
# happen? "go test" calls that a failure, although no input has failed.
ran_out() {
	grep -qx '    context deadline exceeded' "$1" &&
		! grep -qE 'Failing input|panic:|hung or terminated' "$1"
}

# "go test -list" prints the targets of a package and then a line "ok PACKAGE".
list() {
	"$go" test -list '^Fuzz' ./... |
		awk '/^Fuzz/ { t[++n] = $1 } /^ok/ { for (i = 1; i <= n; i++) print $2, t[i]; n = 0 }'
}

targets=$(list)
if [[ -z $targets ]]; then
	echo "no fuzz target found" >&2
	exit 1
fi

while read -r package target; do
	while (($(jobs -pr | wc -l) >= jobs)); do
		wait -n || true
	done
	one "$package" "$target" &
done <<<"$targets"
wait

all=$(wc -l <<<"$targets")
good=$(find "$logs" -name '*.ok' | wc -l)
echo "$all fuzz targets, $time each, $((all - good)) failed"
((good == all))

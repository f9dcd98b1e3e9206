#!/bin/sh
# Benchmarks of packages, as they are and as they were at a commit, in turns, told apart by
# benchstat: parts.sh <benchstat> <base> <rounds> <package>...
set -eu

benchstat=$1 base=$2 rounds=$3
shift 3

work=$(mktemp -d)
trap 'git worktree remove --force "$work/base" 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

git worktree add --quiet --detach "$work/base" "$base"

# build PACKAGE DIRECTORY FILE
build() { (cd "$2" && "${GO:-go}" test -c -o "$3" "$1"); }

n=0
for package in "$@"; do
	n=$((n + 1))
	build "$package" . "$work/now.$n"
	build "$package" "$work/base" "$work/before.$n"
done

round=0
while [ $round -lt "$rounds" ]; do
	round=$((round + 1))
	echo "round $round of $rounds" >&2

	for which in before now; do
		for program in "$work/$which".[0-9]*; do
			"$program" -test.run '^$' -test.bench . -test.benchmem -test.benchtime 500ms >>"$work/$which.txt"
		done
	done
done

"$benchstat" "$base=$work/before.txt" "now=$work/now.txt"

#!/usr/bin/env bash
# suite.sh NAME COMMAND...: run a suite and print its verdict and how long it took.
set -euo pipefail

name=$1
shift

echo "=== $name"
started=$SECONDS
status=0
"$@" || status=$?

verdict=ok
if ((status != 0)); then
	verdict="FAILED (status $status)"
fi

echo "=== $name: $verdict in $((SECONDS - started))s"
exit "$status"

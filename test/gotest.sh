#!/usr/bin/env bash
# gotest.sh ARGUMENTS...: go test with these arguments; a skipped test is a failure.
set -euo pipefail

"${GO:-go}" test -json "$@" | bin/strict

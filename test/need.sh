#!/usr/bin/env bash
# need.sh COMMAND=PACKAGE[,PACKAGE]...: see to it that these commands are there. As root
# on Debian the packages of what is missing are installed; elsewhere it names them and
# fails, since a suite that cannot run must not look as if it had passed.
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin
missing=()
packages=()

for need in "$@"; do
	if ! command -v "${need%%=*}" >/dev/null; then
		missing+=("${need%%=*}")
		IFS=, read -ra names <<<"${need#*=}"
		packages+=("${names[@]}")
	fi
done

if ((${#missing[@]} == 0)); then
	exit 0
fi

if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
	echo "missing: ${missing[*]} (Debian packages: ${packages[*]})" >&2
	exit 1
fi

echo "installing ${packages[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

if ! {
	apt-get update &&
		DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"
} >"$log" 2>&1; then
	tail -20 "$log" >&2
	exit 1
fi

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that are missing: `build` (what make needs), `test` (and what make test
# needs), `all` (and what make check and make bench need). Nothing missing: nothing happens, no root needed.
set -eu

build='gcc libc6-dev make binutils pkg-config protobuf-c-compiler libprotobuf-c-dev libsnappy-dev liblz4-dev
       libzstd-dev zlib1g-dev libisal-dev libsqlite3-dev uthash-dev libmicrohttpd-dev'
test="$build libcmocka-dev protobuf-compiler python3 python3-pytest python3-protobuf"
all="$test clang-14 libclang-rt-14-dev llvm-14 clang-format-14 git gdb"

case ${1:-all} in
build) wanted=$build ;;
test) wanted=$test ;;
all) wanted=$all ;;
*)
    echo "usage: deps.sh [build|test|all]" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "deps: this is not Debian; what the Debian packages hold must be there already:" $wanted >&2
    exit 0
fi

missing=
for package in $wanted; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "deps: these packages are missing, and neither root nor sudo is at hand:$missing" >&2
        exit 1
    fi
    root=sudo
fi

echo "installing Debian packages:$missing"
record=$(mktemp)
trap 'rm -f "$record"' EXIT
if ! { $root apt-get -q update &&
    $root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $missing; } \
    >"$record" 2>&1; then
    tail -n 30 "$record" >&2
    echo "deps: apt-get failed; its last lines are above" >&2
    exit 1
fi

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what was built: install.sh BUILD_DIRECTORY DESTDIR PREFIX VERSION
set -eu
from=$1
to=$2$3
prefix=$3
version=$4
docs=$(dirname "$0")

fill() { sed -e "s|@PREFIX@|$prefix|g" -e "s|@VERSION@|$version|g" "$1"; }

install -d "$to/bin" "$to/lib/pkgconfig" "$to/lib/systemd/system" "$to/include/sluice" "$to/share/sluice/schema" "$to/share/doc/sluice/docs"
install -m 755 "$from/bin/sluice" "$from/bin/sluice-broker" "$from/bin/sluice-metad" "$to/bin/"
install -m 644 "$from/lib/libsluice.a" "$to/lib/"
install -m 755 "$from/lib/libsluice.so.0" "$to/lib/"
ln -sf libsluice.so.0 "$to/lib/libsluice.so"
install -m 644 clients/include/sluice/sluice.h "$to/include/sluice/"
install -m 644 proto/schema/*.proto "$to/share/sluice/schema/"
install -m 644 LICENSE README.md CHANGELOG.md "$to/share/doc/sluice/"
install -m 644 docs/*.md "$to/share/doc/sluice/docs/"
for page in "$docs"/man/*.[1-8]; do
    section=${page##*.}
    install -d "$to/share/man/man$section"
    install -m 644 "$page" "$to/share/man/man$section/"
done
fill "$docs/packaging/sluice.pc.in" >"$to/lib/pkgconfig/sluice.pc"
fill "$docs/packaging/sluice-broker.service.in" >"$to/lib/systemd/system/sluice-broker.service"

# Configuration is the administrator's: never replaced. Under a prefix of its own only as an example.
install -m 644 "$docs/packaging/broker.properties" "$to/share/doc/sluice/broker.properties"
case $prefix in
/usr | /usr/local)
    if [ ! -e "$2/etc/sluice/broker.properties" ]; then
        install -d "$2/etc/sluice"
        install -m 644 "$docs/packaging/broker.properties" "$2/etc/sluice/broker.properties"
    fi
    ;;
esac
# A library in a standard place is found once the cache knows it.
if [ -z "$2" ] && [ "$(id -u)" -eq 0 ]; then ldconfig 2>/dev/null || true; fi
echo "installed below $to"

#!/bin/sh
# `ninja install`: the two libraries, the header, attune.pc and the command, from the build folder named by the argument, to
# $PREFIX (default /usr/local), staged below $DESTDIR if that is set.
set -eu
build=$1
prefix=${PREFIX:-/usr/local}
to=${DESTDIR:-}$prefix

install -d "$to/bin" "$to/include" "$to/lib/pkgconfig"
install -m 755 "$build/attune" "$to/bin/attune"
install -m 644 runtime/attune.h "$to/include/attune.h"
install -m 644 "$build/libattune.a" "$to/lib/libattune.a"
install -m 755 "$build/libattune.so" "$to/lib/libattune.so.0"
ln -sf libattune.so.0 "$to/lib/libattune.so"

version=$(awk '/^#define ATTUNE_VERSION_/ { printf "%s%s", dot, $3; dot = "." }' runtime/attune.h)
sed -e "s|@PREFIX@|$prefix|" -e "s|@VERSION@|$version|" runtime/attune.pc.in >"$to/lib/pkgconfig/attune.pc"
chmod 644 "$to/lib/pkgconfig/attune.pc"

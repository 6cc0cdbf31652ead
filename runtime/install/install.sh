#!/bin/sh
# `ninja install` and `ninja uninstall`: the two libraries, the header, the command with its man page and bash completion,
# and what pkg-config and CMake read. Arguments: install or uninstall, and the build folder. They go to $PREFIX (default /usr/local), staged below $DESTDIR if that is set.
# share/attune/installed lists what was put there, folders with a slash at the end: uninstall removes that and nothing else.
set -eu
verb=$1 build=$2
prefix=$(realpath -ms "${PREFIX:-/usr/local}")
to=${DESTDIR:-}$prefix
list=share/attune/installed

# ---- install ----

# Makes the folder below $to, and notes those that were not there. "." is $to itself; what is above it is never removed.
make_folder() {
  case $1 in */*) make_folder "${1%/*}" ;; esac
  if [ ! -d "$to/$1" ]; then
    mkdir -p "$to/$1"
    echo "$1/" >>"$new_list"
  fi
}

put() { # mode, file, where below $to
  make_folder "${3%/*}"
  install -m "$1" "$2" "$to/$3"
  echo "$3" >>"$new_list"
}

# A template's text with its @WORDS@; what means something to sed is escaped.
put_text() { # file, where
  sed -e "s|@PREFIX@|$(printf '%s\n' "$prefix" | sed 's/[\\&|]/\\&/g')|" -e "s|@VERSION@|$version|" "$1" >"$new_list.text"
  put 644 "$new_list.text" "$2"
}

# What the command prints. Arguments: where, words.
put_printed() {
  where=$1
  shift
  "$build/attune" "$@" >"$new_list.text"
  put 644 "$new_list.text" "$where"
}

# The loader finds the library by itself in folders of its cache; for others it has to be told.
refresh_loader() {
  if [ -n "${DESTDIR:-}" ]; then return; fi
  PATH=$PATH:/sbin:/usr/sbin
  ldconfig 2>/dev/null || true
  if ldconfig -p 2>/dev/null | grep -qF "=> $prefix/lib/libattune.so.0"; then return; fi
  cat <<END
The loader does not search $prefix/lib, or its cache could not be refreshed (ldconfig, as root). To build and run programs:
  export PKG_CONFIG_PATH=$prefix/lib/pkgconfig\${PKG_CONFIG_PATH:+:\$PKG_CONFIG_PATH}
  export LD_LIBRARY_PATH=$prefix/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
  cmake -DCMAKE_PREFIX_PATH=$prefix
END
}

run_install() {
  new_list=$(mktemp)
  trap 'rm -f "$new_list" "$new_list.text"' EXIT
  version=$(awk '/^#define ATTUNE_VERSION_/ { printf "%s%s", dot, $3; dot = "." }' runtime/attune.h)
  if [ -f "$to/$list" ]; then grep '/$' "$to/$list" >"$new_list" || true; fi # folders of the install before
  make_folder .
  put 755 "$build/attune" bin/attune
  put 644 runtime/attune.h include/attune.h
  put 644 "$build/libattune.a" lib/libattune.a
  put 755 "$build/libattune.so" lib/libattune.so.0
  ln -sf libattune.so.0 "$to/lib/libattune.so"
  echo lib/libattune.so >>"$new_list"
  put_text runtime/install/attune.pc.in lib/pkgconfig/attune.pc
  put_text runtime/install/attuneConfig.cmake lib/cmake/attune/attuneConfig.cmake
  put_text runtime/install/attuneConfigVersion.cmake.in lib/cmake/attune/attuneConfigVersion.cmake
  put_printed share/man/man1/attune.1 help man
  put_printed share/bash-completion/completions/attune completion bash
  make_folder "${list%/*}"
  echo "$list" >>"$new_list"
  install -m 644 "$new_list" "$to/$list"
  echo "installed below $to"
  refresh_loader
}

# ---- uninstall ----

run_uninstall() {
  if [ ! -f "$to/$list" ]; then
    echo "$to/$list is missing: nothing was installed below $to; set PREFIX and DESTDIR as for ninja install" >&2
    exit 1
  fi
  listed=$(cat "$to/$list")
  printf '%s\n' "$listed" | grep -v '/$' | while read -r file; do rm -f "$to/$file"; done
  # The deepest first; a folder that holds something else stays.
  printf '%s\n' "$listed" | grep '/$' | LC_ALL=C sort -r | while read -r folder; do
    rmdir "$(realpath -ms "$to/$folder")" 2>/dev/null || true # rmdir refuses a path that ends in "."
  done
  echo "removed what ninja install had put below $to"
  if [ -z "${DESTDIR:-}" ]; then PATH=$PATH:/sbin:/usr/sbin ldconfig 2>/dev/null || true; fi
}

case $verb in
  install) run_install ;;
  uninstall) run_uninstall ;;
esac

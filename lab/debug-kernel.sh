#!/usr/bin/env bash
# Builds the kernel of the series "debug": Debian's 6.1, small, with what finds a driver's mistakes
# built in (debug-kernel.config). It lies in the cache like the unpacked ones, under kernel/debug/, and
# is built again when the configuration changes. Ten minutes and 2.5 GB.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$lab/packages.sh"

folder=$cache/kernel/debug
config=$lab/debug-kernel.config
source_package=linux-source-6.1
compiler=gcc-12

# What builds a kernel and is not on this machine; libelf-dev always, for its place is named below.
fetch_sources() {
  set_up_apt
  refresh_apt
  # shellcheck disable=SC2046
  unpack "$folder.tools" libelf-dev libelf1 $(missing flex bison bc)
  unpack "$folder.package" "$source_package"
  mkdir -p "$folder/source"
  tar -C "$folder/source" --strip-components=1 -xJf "$folder.package/usr/src/$source_package.tar.xz"
  rm -r "$folder.package"
  mv "$folder.tools" "$folder/tools"
}

# Of the tools that it was given, the kernel's Makefile tells objtool's nothing.
kernel_make() {
  local tools=$folder/tools/usr libraries=$folder/tools/usr/lib/x86_64-linux-gnu
  PATH=$PATH:$tools/bin BISON_PKGDATADIR=$tools/share/bison M4=$(PATH=$PATH:$tools/bin command -v m4) \
    LD_LIBRARY_PATH=$libraries LIBRARY_PATH=$libraries CPATH=$tools/include nice -n 5 \
    make -s -C "$folder/source" O="$folder/build" CC="$compiler" HOSTCC="$compiler" "$@"
}

# The smallest configuration, and what ours asks for over it; a wish that was not granted is an error.
configure() {
  local wish
  mkdir -p "$folder/build"
  kernel_make tinyconfig
  (cd "$folder/source" && scripts/kconfig/merge_config.sh -m -O "$folder/build" \
    "$folder/build/.config" "$config")
  kernel_make olddefconfig
  grep '^CONFIG_' "$config" | while IFS= read -r wish; do
    grep -qx -- "$wish" "$folder/build/.config" || [[ $wish == *=n ]] ||
      die "the kernel's configuration did not take $wish"
  done
}

build_kernel() {
  local release
  configure
  kernel_make "-j${TMEM_LAB_JOBS:-$(nproc)}" vmlinux modules
  kernel_make INSTALL_MOD_PATH="$folder" modules_install
  release=$(cat "$folder/build/include/config/kernel.release")
  run_kmod depmod -b "$folder" "$release"
  mkdir -p "$folder/usr/src" "$cache/vmlinux"
  ln -sfn "$folder/build" "$folder/usr/src/linux-headers-$release"
  echo "$release" >"$folder/release"
  strip -s -o "$cache/vmlinux/debug.new" "$folder/build/vmlinux"
  mv "$cache/vmlinux/debug.new" "$cache/vmlinux/debug"
  cp "$config" "$folder/config"
}

build() {
  ! cmp -s "$config" "$folder/config" || return 0
  [[ -d $folder/tools ]] || rm -rf "$folder"
  if [[ ! -d $folder ]]; then
    echo "fetching the source of a kernel"
    quietly "$cache/log/debug-kernel-fetch.log" fetch_sources
  fi
  rm -f "$cache/vmlinux/debug"
  echo "building a kernel with lockdep and kmemleak"
  quietly "$cache/log/debug-kernel.log" build_kernel
}

with_lock debug-kernel build

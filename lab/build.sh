#!/usr/bin/env bash
# Builds what scenarios share: the module for each kernel, tmemd, and the images of dom0 and of a
# guest of each series. Quick when nothing changed.
#
#   lab/build.sh [SERIES...]    for guests of these series only
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$lab/image.sh"

# The daemon and its tool as they are released.
build_tmemd() {
  "$repo/tools/build" release tmemd tmemctl evil_backend echo_ring && return
  echo "tmemd does not build; what it needs is installed by: tools/deps check"
  echo "(a build/release that is older than libxen-dev on this machine has to be removed first)"
  return 1
}

build_dom0_image() {
  local image=$cache/image/dom0 program xen_programs
  # The folder's name has Xen's version; libxl looks for its helper just there.
  xen_programs=$(dirname "$cache"/tools/usr/lib/xen-[0-9]*/bin/xl)
  new_image "$image"
  mkdir -p "$image"/{etc/xen,var/lib/xenstored,var/lib/xen,var/log/xen/console,var/lock}
  : >"$image/etc/xen/xl.conf"
  for program in xl xenstored xenconsoled xen-init-dom0 libxl-save-helper; do
    add_program "$image" "$xen_programs/$program" "${xen_programs#"$cache/tools"}/$program"
    ln -s "${xen_programs#"$cache/tools"}/$program" "$image/usr/sbin/$program"
  done
  # libxl cancels threads, for which the C library loads this one by name.
  cp -L "$(tool "$library_folder/libgcc_s.so.1")" "$image$library_folder/"
  add_xenstore_client "$image"
  for program in src/daemon/tmemd src/ctl/tmemctl lab/evil-backend/evil_backend \
    lab/echo-ring/echo_ring; do
    add_program "$image" "$repo/build/release/$program"
    strip -g "$image/usr/bin/${program##*/}"
  done
  add_kernel_modules "$image" "$dom0_series" \
    xen-privcmd xenfs xen-evtchn xen-gntdev xen-gntalloc xen-blkback loop virtio_pci virtio_blk
  install -m 755 "$lab/dom0/init" "$image/init"
  install -m 755 "$lab/dom0/block-lab" -D "$image/etc/xen/scripts/block-lab"
  install -m 644 "$lab/dom0/lib.sh" "$lab/both.sh" "$image/lab/"
  pack "$image" "$cache/image/dom0.cpio"
}

build_guest_image() {
  local series=$1 image=$cache/image/guest-$1 module
  new_image "$image"
  add_xenstore_client "$image"
  add_kernel_modules "$image" "$series" xen-blkfront squashfs
  find "$cache/module/$series/guest-driver" -name '*.ko' | while IFS= read -r module; do
    install -m 644 "$module" "$image/lab/"
    strip -g "$image/lab/${module##*/}"
  done
  install -m 755 "$cache/image/swap_verify" "$repo/guest-driver/tmem-guest-setup" "$image/usr/bin/"
  install -m 755 "$lab/guest/init" "$image/init"
  install -m 644 "$lab/guest/lib.sh" "$lab/both.sh" "$image/lab/"
  pack "$image" "$cache/image/guest-$series.cpio"
}

# One program with many names.
add_xenstore_client() {
  local name
  add_program "$1" "$(tool /usr/bin/xenstore)"
  for name in read write ls list rm exists watch chmod; do
    ln -s xenstore "$1/usr/bin/xenstore-$name"
  done
}

build() {
  local one
  mkdir -p "$cache/image"
  quietly "$cache/log/build-tmemd.log" build_tmemd
  build_dom0_image
  quietly "$cache/log/build-swap_verify.log" \
    gcc -O2 -Wall -Werror -static -o "$cache/image/swap_verify" "$repo/guest-driver/test/swap_verify.c"
  for one in "${series[@]}"; do
    build_guest_image "$one"
  done
}

series=("$@")
((${#series[@]})) || series=("${all_series[@]}")
"$lab/fetch.sh"
"$lab/module.sh" "${series[@]}" >/dev/null
with_lock build build

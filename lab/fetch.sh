#!/usr/bin/env bash
# Downloads and unpacks what the lab needs: an emulator, Xen, programs for the images, and the
# current kernel of each series with its headers. Nothing is installed on this machine.
#
#   lab/fetch.sh            what is not there yet
#   lab/fetch.sh --again    newest versions of everything
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$lab/packages.sh"

[[ ${1:-} != --again ]] || rm -rf "$cache"/{tools,kernel,vmlinux,module,image}

# Programs for the images come as packages too: what the lab's scripts call, and what its guests
# run to be sure that memory holds what was written.
tool_packages=(
  qemu-system-x86 busybox-static cpio kmod zstd
  xenstore-utils stress-ng sqlite3 libxen-dev mmdebstrap squashfs-tools
)

# What was asked for when the tools were unpacked: others are fetched when the list changes.
tool_list=$cache/tools/.packages

fetch_tools() {
  local hypervisor asked="${tool_packages[*]}"
  hypervisor=$(apt-cache search --names-only '^xen-hypervisor-[0-9.]+-amd64$' | awk '{ print $1 }' |
    sort -V | tail -n 1)
  [[ $hypervisor ]] || die "the mirrors have no xen-hypervisor-*-amd64"
  tool_packages+=("${hypervisor/hypervisor/utils}")
  tool_packages[-1]=${tool_packages[-1]%-amd64}
  echo "fetching QEMU, Xen and test programs"
  # The hypervisor depends on a boot loader's hooks, which are of no use here.
  unpack "$cache/tools" $(missing "${tool_packages[@]}") "$hypervisor"
  echo "$asked" >"$tool_list"
}

# Header packages name /usr/src in their Makefile; unpacked elsewhere, they must name their place.
fetch_kernel() {
  local series=$1 folder=$cache/kernel/$1 packages release
  packages=$(kernel_packages "$series")
  release=$(awk '{ print $1 }' <<<"$packages")
  release=${release#linux-image-}
  echo "fetching Linux $release"
  unpack "$folder" $packages
  sed -i "s#^include /usr/src#include $folder/usr/src#" "$folder/usr/src/linux-headers-$release/Makefile"
  mkdir -p "$folder/usr/lib"
  run_kmod depmod -b "$folder" "$release"
  echo "$release" >"$folder/release"
}

extract_vmlinux() {
  local series=$1
  mkdir -p "$cache/vmlinux"
  python3 "$lab/vmlinux.py" "$cache/kernel/$series/boot/vmlinuz-$(kernel_release "$series")" \
    "$cache/vmlinux/$series.new" "$(tool /usr/bin/zstd)"
  mv "$cache/vmlinux/$series.new" "$cache/vmlinux/$series"
}

fetch() {
  local series ready=
  # Unpacked tools lean on the libraries of the machine that they were unpacked on.
  if [[ $(cat "$tool_list" 2>/dev/null) != "${tool_packages[*]}" ]] ||
    ! run_tool /usr/bin/qemu-system-x86_64 --version >/dev/null 2>&1; then
    rm -rf "$cache/tools"
  fi
  for series in "${all_series[@]}"; do
    [[ -e $cache/vmlinux/$series ]] || ready=no
  done
  [[ -d $cache/tools && -z $ready ]] && return
  mkdir -p "$cache/kernel"
  set_up_apt
  refresh_apt
  [[ -d $cache/tools ]] || fetch_tools
  for series in "${all_series[@]}"; do
    [[ -e $cache/kernel/$series/release ]] || fetch_kernel "$series"
    [[ -e $cache/vmlinux/$series ]] || extract_vmlinux "$series"
  done
}

with_lock fetch fetch

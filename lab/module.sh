#!/usr/bin/env bash
# Builds guest-driver/ for the unpacked kernels, with the compiler that Debian built modules of
# bookworm with. The modules are in the cache, under module/SERIES/guest-driver/.
#
#   lab/module.sh [SERIES...]    all series by default; prints one line a module
#
# The checkout is not written to: sources are copied first, and only changed ones are built again.
# MODULE_FLAGS goes to make (MODULE_FLAGS="C=2 W=1" runs sparse and warns more).
set -euo pipefail
. "$(dirname "$0")/common.sh"

compiler=gcc-12

# The same layout as in the checkout, so that relative include paths hold.
copy_sources() {
  local target=$1
  mkdir -p "$target/src/hypercall"
  update_tree "$repo/guest-driver" "$target/guest-driver"
  update_tree "$repo/src/hypercall/abi" "$target/src/hypercall/abi"
}

# Copies files that differ, removes sources that are gone, leaves what make put there.
update_tree() {
  local from=$1 to=$2 file
  mkdir -p "$to"
  (cd "$from" && find . -type f -print0) | while IFS= read -r -d '' file; do
    cmp -s "$from/$file" "$to/$file" || install -D -m 644 "$from/$file" "$to/$file"
  done
  (cd "$to" && find . -name '*.[ch]' ! -name '*.mod.c' -print0) | while IFS= read -r -d '' file; do
    [[ -e $from/$file ]] || rm "$to/$file"
  done
}

build() {
  local series=$1 folder=$cache/module/$1
  is_series "$series" || die "there is no kernel series '$series'; the series are ${all_series[*]}"
  [[ -e $repo/guest-driver/Kbuild || -e $repo/guest-driver/Makefile ]] ||
    die "guest-driver/ has neither Kbuild nor Makefile yet"
  copy_sources "$folder"
  # What is not built any more must not be loaded any more.
  find "$folder/guest-driver" -name '*.ko' -delete
  # Without pahole there can be no BTF for modules. kbuild tells of it, and that another patch
  # level of the compiler built the kernel; neither matters.
  # shellcheck disable=SC2086
  if ! make -C "$cache/kernel/$series/usr/src/linux-headers-$(kernel_release "$series")" \
    M="$folder/guest-driver" CC="$compiler" HOSTCC="$compiler" CONFIG_DEBUG_INFO_BTF_MODULES= \
    TMEM_TESTS=m ${MODULE_FLAGS:-} modules >"$folder/make.log" 2>&1; then
    grep -E -A6 'error|Error|undefined' "$folder/make.log" >&2 || tail -n 20 "$folder/make.log" >&2
    die "guest-driver/ does not build for $series; the whole log is $folder/make.log"
  fi
  # What the compiler and sparse complained about is shown, not hidden in the log.
  grep -E -A6 '(warning|error):' "$folder/make.log" >&2 || true
  find "$folder/guest-driver" -name '*.ko' | sed "s#^#$series $(kernel_release "$series") #"
}

series_to_build=("$@")
((${#series_to_build[@]})) || series_to_build=("${all_series[@]}")
"$lab/fetch.sh"
for series in "${series_to_build[@]}"; do
  [[ $series != debug ]] || "$lab/debug-kernel.sh"
  with_lock "module-$series" build "$series"
done

# Initramfs archives from single programs and kernel modules. Sourced after common.sh.

library_folder=/usr/lib/x86_64-linux-gnu
loader=/lib64/ld-linux-x86-64.so.2

# new_image FOLDER: an empty image with busybox for everything ordinary.
new_image() {
  local image=$1
  rm -rf "$image"
  mkdir -p "$image"/{bin,dev,etc,proc,run,sys,tmp,usr/bin,usr/sbin,var,lab} "$image$library_folder"
  ln -s usr/lib "$image/lib"
  ln -s usr/lib "$image/lib64"
  ln -s usr/sbin "$image/sbin"
  ln -s ../run "$image/var/run"
  cp "$(tool /usr/bin/busybox)" "$image/bin/busybox"
  cp -L "$loader" "$image$loader"
  printf 'root:x:0:0:root:/:/bin/sh\n' >"$image/etc/passwd"
  printf 'root:x:0:\n' >"$image/etc/group"
}

# libraries FILE: the shared libraries that a program needs, as paths on this machine.
libraries() {
  local listed
  listed=$(LD_LIBRARY_PATH=$(tool_libraries) ldd "$1" 2>/dev/null || true)
  ! grep -q 'not found' <<<"$listed" || die "$1 needs $(awk '/not found/ { print $1 }' <<<"$listed" | xargs)"
  awk '$2 == "=>" && $3 ~ /^\// { print $3 }' <<<"$listed"
}

# add_program IMAGE FILE [PATH]: a program with its libraries; PATH in the image, /usr/bin/NAME else.
add_program() {
  local image=$1 file=$2 path=${3:-/usr/bin/$(basename "$2")} library
  install -D -m 755 "$(readlink -f "$file")" "$image$path"
  libraries "$file" | while IFS= read -r library; do
    [[ -e $image$library_folder/${library##*/} ]] || cp -L "$library" "$image$library_folder/"
  done
}

# add_kernel_modules IMAGE SERIES NAME...: modules and those that they need, for modprobe.
add_kernel_modules() {
  local image=$1 root=$cache/kernel/$2 release file target
  release=$(kernel_release "$2")
  shift 2
  run_kmod modprobe -d "$root" -S "$release" --show-depends -a "$@" |
    awk '$1 == "insmod" { print $2 }' | sort -u | while IFS= read -r file; do
    target=$image/usr${file#"$root"}
    install -D -m 644 "$file" "$target"
    [[ $target != *.xz ]] || xz -d -f "$target"
  done
  cp "$root/lib/modules/$release"/modules.{builtin,builtin.modinfo,order} "$image/usr/lib/modules/$release/"
  run_kmod depmod -b "$image" "$release"
}

# pack FOLDER ARCHIVE: a cpio archive for the kernel; archives may be concatenated.
pack() {
  (cd "$1" && find . -print0 | LD_LIBRARY_PATH=$(tool_libraries) "$(tool /usr/bin/cpio)" \
    --null --create --quiet --format=newc --owner=0:0) >"$2"
}

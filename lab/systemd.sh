#!/usr/bin/env bash
# Builds the root disk of a dom0 or guest with systemd: a small Debian with Xen's own services, and an
# initramfs that puts a scenario's files on it and starts it. Made once; scenarios change a snapshot.
# Among those files are tmemd, or the guest's module, installed as they were built last.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$lab/packages.sh"
. "$lab/image.sh"

folder=$cache/systemd

# All that the root's kernel may load.
modules=(xen-privcmd xenfs xen-evtchn xen-gntdev xen-gntalloc xen-blkback xen-netback
  xen-acpi-processor loop ext4 virtio_blk virtio_pci xen-blkfront)

make_root() {
  local root=$1 hypervisor
  set_up_apt
  hypervisor=$(basename "$cache"/tools/boot/xen-*-amd64.gz .gz)
  unset APT_CONFIG
  # It hands descriptors to sh, which knows those of one digit: locks must not take them.
  grep ' bookworm\(-updates\|-security\)\? ' "$apt/etc/sources.list" >"$folder/sources.list"
  PATH=$PATH:$cache/tools/usr/bin perl "$(tool /usr/bin/mmdebstrap)" --variant=minbase \
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --include="systemd,systemd-sysv,udev,dbus,kmod,procps,xenstore-utils,xen-utils-common,xen-utils-$(cut -d- -f2 <<<"$hypervisor")" \
    bookworm "$root" "$folder/sources.list" 8>&- 9>&-
  add_kernel_modules "$root" "$dom0_series" "${modules[@]}"
  configure_root "$root"
}

# A machine that starts nothing but Xen's services and the scenario.
configure_root() {
  local root=$1 unit
  echo 'XENCONSOLED_ARGS="--log=guest --log-dir=/var/log/xen/console"' >>"$root/etc/default/xen"
  mkdir -p "$root/var/log/xen/console" "$root/etc/systemd/system/graphical.target.wants"
  install -m 755 "$lab/dom0/block-lab" "$root/etc/xen/scripts/"
  : >"$root/etc/fstab"
  echo lab >"$root/etc/hostname"
  for unit in serial-getty@hvc0.service getty@tty1.service apt-daily.timer apt-daily-upgrade.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer dpkg-db-backup.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
  done
  install -m 644 "$lab/lab.service" "$root/etc/systemd/system/"
  ln -s ../lab.service "$root/etc/systemd/system/graphical.target.wants/lab.service"
}

make_initramfs() {
  local image=$1
  new_image "$image"
  add_kernel_modules "$image" "$dom0_series" ext4 virtio_blk virtio_pci xen-blkfront
  mkdir "$image/root" "$image/payload"
  install -m 755 "$lab/switch-init" "$image/init"
  pack "$image" "$folder/initramfs.cpio"
}

# enable FOLDER UNIT: an installed unit starts at boot.
enable() {
  local unit=/usr/local/lib/systemd/system/$2 wants
  wants=$1/etc/systemd/system/$(sed -n 's/^WantedBy=//p' "$1$unit").wants
  mkdir -p "$wants"
  ln -s "$unit" "$wants/"
}

# As an administrator does it, and with the libraries that Debian's packages would bring.
install_tmemd() {
  local target=$cache/image/systemd program library
  "$repo/tools/build" release tmemd tmemctl tmemrun tmemrun_library tmem_client_shared \
    tmem_client_static man_tmemd man_tmemctl man_tmemrun
  rm -rf "$target"
  DESTDIR=$target cmake --install "$repo/build/release" --prefix /usr/local --strip
  enable "$target" tmemd.service
  mkdir -p "$target$library_folder"
  for program in "$target"/usr/local/{sbin/tmemd,bin/tmemctl}; do
    libraries "$program" | while IFS= read -r library; do
      [[ -e $folder/root$library_folder/${library##*/} ]] || cp -L "$library" "$target$library_folder/"
    done
  done
  install -D -m 644 -t "$target/lab" "$lab/dom0/lib.sh" "$lab/both.sh" "$lab/dom0/start.sh"
}

# The module and its unit, by their own Makefile.
install_guest() {
  local target=$cache/image/systemd-guest release
  release=$(kernel_release "$dom0_series")
  rm -rf "$target"
  mkdir -p "$target/usr/lib"
  ln -s usr/lib "$target/lib"
  add_kernel_modules "$target" "$dom0_series" "${modules[@]}"
  make -C "$cache/module/$dom0_series/guest-driver" install CC=gcc-12 CONFIG_DEBUG_INFO_BTF_MODULES= \
    KVERSION="$release" KDIR="$cache/kernel/$dom0_series/usr/src/linux-headers-$release" \
    DESTDIR="$target" INSTALL_MOD_PATH="$target/usr" INSTALL_MOD_STRIP=1
  run_kmod depmod -b "$target" "$release"
  rm "$target/lib" # the root has its own
  enable "$target" tmem-guest.service
  install -D -m 755 "$cache/image/swap_verify" "$target/usr/local/bin/swap_verify"
  install -D -m 644 -t "$target/lab" "$lab/guest/lib.sh" "$lab/both.sh" "$lab/guest/start.sh"
}

build_root() {
  [[ ! -e $folder/root.ext4 ]] || return 0
  ((EUID == 0)) || die "only root can make a Debian root: run this once as root"
  rm -rf "$folder"
  mkdir -p "$folder"
  quietly "$cache/log/systemd-root.log" make_root "$folder/root"
  make_initramfs "$folder/initramfs"
  truncate -s 800M "$folder/root.new"
  quietly "$cache/log/systemd-disk.log" \
    mke2fs -q -t ext4 -O ^has_journal -d "$folder/root" -L root "$folder/root.new"
  mv "$folder/root.new" "$folder/root.ext4"
}

with_lock systemd build_root
with_lock systemd quietly "$cache/log/systemd-install.log" install_tmemd
with_lock systemd quietly "$cache/log/systemd-guest.log" install_guest

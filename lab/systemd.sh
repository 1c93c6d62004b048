#!/usr/bin/env bash
# Builds the root disk of a dom0 with systemd: a small Debian with Xen's own services, and an
# initramfs that puts a scenario's files on it and starts it. Made once; scenarios change a snapshot.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$lab/packages.sh"
. "$lab/image.sh"

folder=$cache/systemd

make_root() {
  local root=$1 hypervisor
  set_up_apt
  hypervisor=$(basename "$cache"/tools/boot/xen-*-amd64.gz .gz)
  unset APT_CONFIG
  grep ' bookworm\(-updates\|-security\)\? ' "$apt/etc/sources.list" >"$folder/sources.list"
  PATH=$PATH:$cache/tools/usr/bin perl "$(tool /usr/bin/mmdebstrap)" --variant=minbase \
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --include="systemd,systemd-sysv,udev,dbus,kmod,procps,xenstore-utils,xen-utils-common,xen-utils-$(cut -d- -f2 <<<"$hypervisor")" \
    bookworm "$root" "$folder/sources.list"
  add_kernel_modules "$root" "$dom0_series" xen-privcmd xenfs xen-evtchn xen-gntdev xen-gntalloc \
    xen-blkback xen-netback xen-acpi-processor loop ext4 virtio_blk virtio_pci
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
  install -m 644 "$lab/dom0/lab.service" "$root/etc/systemd/system/"
  ln -s ../lab.service "$root/etc/systemd/system/graphical.target.wants/lab.service"
}

make_initramfs() {
  local image=$1
  new_image "$image"
  add_kernel_modules "$image" "$dom0_series" ext4 virtio_blk virtio_pci
  mkdir "$image/root" "$image/payload"
  install -m 755 "$lab/dom0/switch-init" "$image/init"
  pack "$image" "$folder/initramfs.cpio"
}

build() {
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

with_lock systemd build

# Boots Xen with the lab's dom0 in QEMU. Sourced after common.sh.
#
# Plain emulation, always: where /dev/kvm exists, it may still not run a nested hypervisor. qemu64,
# for dom0 crashes on CPU models with SMAP. QEMU ends with 0 even when dom0 panics: what ran is
# judged by what it printed.

# boot INITRD QEMU-MEMORY-MIB CPUS DOM0-ARGUMENTS SERIAL [DISK]: SERIAL is where the console goes
# (stdio); what is written to the disk is forgotten at the end. REQUIRES: load_scenario
boot() {
  local initrd=$1 memory=$2 cpus=$3 arguments=$4 serial=$5 disk=()
  [[ -z ${6:-} ]] || disk=(-drive "file=$6,format=raw,if=virtio,snapshot=on")
  local share=$cache/tools/usr/share xen=$cache/image/xen
  [[ -e $xen ]] || gzip -dc "$cache"/tools/boot/xen-*-amd64.gz >"$xen"
  # Commas separate the files of -initrd; in -append they stand for themselves.
  run_tool /usr/bin/qemu-system-x86_64 -L "$share/qemu" -L "$share/seabios" -L /usr/share/qemu \
    -L /usr/share/seabios -accel tcg,thread=multi,tb-size=512 -cpu qemu64 -smp "$cpus" -m "$memory" \
    -display none -serial "$serial" -nodefaults -no-user-config -no-reboot -kernel "$xen" \
    -append "console=com1 com1=115200,8n1 loglvl=info guest_loglvl=warning noreboot=0 dom0_mem=$dom0_memory dom0_max_vcpus=1 dom0_vcpus_pin gnttab_max_frames=256" \
    -initrd "$cache/vmlinux/$dom0_series console=hvc0 loglevel=5 panic=-1 $arguments,$initrd" "${disk[@]}"
}

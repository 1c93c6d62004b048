# What a guest's part of a scenario is written with. Sourced by busybox sh, after both.sh.

[ ! -e /sys/kernel/debug/kmemleak ] || patience=4

say() {
  set_now
  echo "GUEST-SAY $now $*"
}
figure() { echo "GUEST-FIGURE $*"; }
fail() {
  echo "GUEST-FAIL $*"
  sleep 2
  poweroff -f
  sleep 60
}

# check DESCRIPTION COMMAND...: the scenario fails if the command does.
check() {
  local what=$1
  shift
  "$@" >/tmp/check.out 2>&1 && return
  cat /tmp/check.out
  fail "$what: $(tail -n 1 /tmp/check.out)"
}

# wait_for_order SECONDS WORD: dom0 says so with order().
wait_for_order() { await_order "$1" order_is "$2" || fail "no order $2 within $1 s"; }

# await_order SECONDS COMMAND...: until the command, which looks at the order, succeeds; false if it
# did not in that time. Looks when the order changes; and now and then, for the first event of a
# watch is none, so that a change just before it is not seen.
await_order() { wait_by await_order_change "$@"; }
await_order_change() { timeout 5 xenstore-watch -n 2 data/order >/dev/null 2>&1 || true; }
order_is() { [ "$(xenstore-read data/order)" = "$1" ]; }

# expect_clean_kernel: what watches the debug kernel has found nothing; other kernels are not watched.
# Whatever else is found, the console has, and fails the scenario; but lockdep looks no further after
# its first finding, whoever's it was.
expect_clean_kernel() {
  [ -e /sys/kernel/debug/kmemleak ] || return 0
  grep -q 'debug_locks: *1$' /proc/lockdep_stats || fail "lockdep has given up"
  # Of allocations younger than five seconds kmemleak does not speak.
  sleep 6
  echo scan >/sys/kernel/debug/kmemleak
  echo scan >/sys/kernel/debug/kmemleak
  [ -z "$(cat /sys/kernel/debug/kmemleak)" ] || {
    cat /sys/kernel/debug/kmemleak
    fail "kmemleak: $(sed -n 's/^unreferenced //p' /sys/kernel/debug/kmemleak | head -n 1)"
  }
  figure "leaks=0"
  say "lockdep and kmemleak found nothing"
}

# ---- the module

# load_module [PARAMETER=VALUE...]: returns when it is connected.
load_module() {
  check "insmod tmem" insmod /lab/tmem.ko "$@"
  wait_for 30 is_connected || fail "the module did not connect: state $(counter state)"
  say "connected"
}

# load_module_before_disk [PARAMETER=VALUE...]: what the host refuses goes to the disk xvda.
load_module_before_disk() {
  modprobe xen-blkfront
  wait_for 10 test -b /dev/xvda || fail "no disk"
  if [ "$(uname -r | cut -d. -f1)" = 5 ]; then
    load_module "$@"
  else
    load_module backing=/dev/xvda "$@"
  fi
}

# unload_module: the kernel lets go of a module only after its devices did.
unload_module() {
  check "unbind" eval 'echo tmem-0 >/sys/bus/xen/drivers/tmem/unbind'
  check "rmmod" rmmod tmem
  say "unloaded"
}

# A file of the module's in debugfs: counter loads
counter() {
  cat "/sys/kernel/debug/tmem/frontswap/$1" 2>/dev/null || cat "/sys/kernel/debug/tmem/$1"
}

is_connected() { [ "$(counter state)" = 1 ]; }

# 5.10's frontswap takes pages on their way to another device; later kernels swap to a device of
# the module's.
has_frontswap() { [ ! -e /dev/tmemswap ]; }

# swap_on: to tmem alone, or in front of the disk xvda where the kernel needs another device.
swap_on() {
  local device=/dev/tmemswap
  if has_frontswap; then
    modprobe xen-blkfront
    wait_for 10 test -b /dev/xvda || fail "no disk for frontswap to stand in front of"
    device=/dev/xvda
  else
    check "blkdiscard $device" blkdiscard "$device"
  fi
  check "mkswap $device" mkswap "$device"
  check "swapon $device" swapon "$device"
  say "swaps to $device"
}

swap_off() { check "swapoff" swapoff $(awk 'NR > 1 { print $1 }' /proc/swaps); }

# The scenario's programs are on a disk, so that their pages can be dropped.
mount_programs() {
  modprobe -a xen-blkfront squashfs
  wait_for 10 test -b /dev/xvdb || fail "no disk with programs"
  mkdir -p /programs
  check "mount programs" mount -t squashfs -o ro /dev/xvdb /programs
  export PATH=/programs/bin:$PATH LD_LIBRARY_PATH=/programs/lib
}

# Pages that the disk was asked to write, since it is there.
disk_pages_written() { awk '{ print int($7 / 8) }' "/sys/block/$1/stat" 2>/dev/null || echo 0; }

# print_counters: for dom0's guest_figure.
print_counters() {
  local name
  for name in succ_stores failed_stores loads invalidates backing_writes backing_reads \
    lost_pages write_errors requests kicks interrupts spurious_interrupts spins sleeps; do
    figure "$name=$(counter "$name")"
  done
}

# tmem-guest.service was started at boot. The guest has another swap device, which has to come after.
priority_of() { awk -v device="$1" '$1 == device { print $5 }' /proc/swaps; }
swaps_first_to_tmem() {
  check "$1: the unit is active" systemctl is-active tmem-guest
  check "$1: tmem-guest-setup status" tmem-guest-setup status
  say "$1: $(grep swap: /tmp/check.out)"
  check "swap_verify" swap_verify 32 5
}

# Of a cycle systemd leaves out one unit or another.
! dmesg | grep -q "ordering cycle" || fail "the boot has an ordering cycle"
check "tmem-guest.service at boot" systemctl is-active tmem-guest
[ "$(priority_of /dev/tmemswap)" -ge 100 ] || fail "priority $(priority_of /dev/tmemswap) at boot"
swaps_first_to_tmem "at boot"

check "mkswap" mkswap /dev/xvdb
check "swapon" swapon -p 500 /dev/xvdb
check "stop" systemctl stop tmem-guest
[ ! -d /sys/module/tmem ] || fail "the module is there after its unit was stopped"
[ -z "$(priority_of /dev/tmemswap)" ] || fail "the device is in use after its unit was stopped"
! tmem-guest-setup status || fail "tmem-guest-setup says that pages go to the host"
say "stopped"
wait_for_order 120 go

check "start" systemctl start tmem-guest
[ "$(priority_of /dev/tmemswap)" -gt 500 ] || fail "priority $(priority_of /dev/tmemswap) beside a disk of 500"
before=$(disk_pages_written xvdb)
swaps_first_to_tmem "started again"
figure "disk_writes=$(($(disk_pages_written xvdb) - before))"
print_counters
say "finished"
wait_for_order 120 leave
check "stop" systemctl stop tmem-guest

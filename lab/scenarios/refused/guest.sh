modprobe xen-blkfront
wait_for 10 test -b /dev/xvda || fail "no disk"
if [ "$(uname -r | cut -d. -f1)" = 5 ]; then load_module; else load_module backing=/dev/xvda; fi
swap_on

round() {
  local before
  before=$(disk_pages_written xvda)
  check "swap_verify" swap_verify 100 15
  say "$(cat /tmp/check.out)"
  figure "disk_writes=$(($(disk_pages_written xvda) - before))"
  say "$1"
}

round "first round"
wait_for_order 120 again
round "second round"
print_counters
wait_for_order 120 leave

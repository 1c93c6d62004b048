load_module_before_disk
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

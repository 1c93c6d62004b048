load_module
swap_on

# All of it fits into memory: what cannot be pushed out stays.
round() {
  check "swap_verify" swap_verify 50 15
  say "$(cat /tmp/check.out)"
  figure "write_errors=$(counter write_errors)"
  say "$1"
}

round "first round"
wait_for_order 120 again
round "second round"
print_counters
wait_for_order 120 leave

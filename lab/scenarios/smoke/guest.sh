load_module
swap_on
check "swap_verify" swap_verify 16 5
say "$(cat /tmp/check.out)"
swap_off
sleep 1
print_counters
say "swapped"
wait_for_order 60 leave
has_frontswap || unload_module

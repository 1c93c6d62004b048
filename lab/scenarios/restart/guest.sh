modprobe xen-blkfront
load_module
swap_on
until order_is leave; do
  check "swap_verify" swap_verify 90 15
  say "$(cat /tmp/check.out)"
  rounds=$((rounds + 1))
  figure "rounds=$rounds"
done
print_counters
say "finished"
wait_for_order 120 end

modprobe xen-blkfront
load_module
swap_on
wait_for_order 300 go
# Contents follow from the pages' addresses, which no two programs have in common.
check "swap_verify" swap_verify 90 30 2
say "$(cat /tmp/check.out)"
print_counters
say "finished"
wait_for_order 300 leave

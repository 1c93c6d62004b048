modprobe xen-blkfront
# Frontswap cannot be left; the swap device can, on all kernels.
mode=
[ "$(uname -r | cut -d. -f1)" = 6 ] || mode=mode=blkdev
load_module $mode
swap_on
swap_verify 90 3600 >/tmp/verify.out 2>&1 &
verifier=$!
say "under load"
wait_for_order 600 off
kill -TERM "$verifier"
wait "$verifier" || fail "swap_verify: $(tail -n 1 /tmp/verify.out)"
say "verified across checkpoints: $(tail -n 1 /tmp/verify.out)"
swap_off
say "swap is off"
wait_for_order 600 on
wait_for 60 is_connected || fail "not connected after it was restored: state $(counter state)"
swap_on
check "swap_verify" swap_verify 90 15
say "verified after it was restored: $(cat /tmp/check.out)"
print_counters
wait_for_order 120 leave

modprobe xen-blkfront
ordered() { case $(xenstore-read data/order) in unload\ $1 | reboot) true ;; *) false ;; esac }

# Frontswap cannot be unloaded; the swap device can, on all kernels.
mode=
[ "$(uname -r | cut -d. -f1)" = 6 ] || mode=mode=blkdev
for round in 1 2 3; do
  load_module $mode
  swap_on
  check "swap_verify" swap_verify 8 2
  say "round $round connected"
  await_order 120 ordered $round || fail "no order in round $round"
  if order_is reboot; then
    reboot -f
    sleep 60
  fi
  swap_off
  unload_module
  [ $round != 3 ] || expect_clean_kernel
  say "round $round unloaded"
done
load_module $mode
swap_on
say "under load"
swap_verify 100 600
fail "still alive"

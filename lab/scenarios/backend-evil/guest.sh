# Not 5.10's frontswap: there, a kernel that was promised a page waits for it for ever.
mode=
[ "$(uname -r | cut -d. -f1)" = 6 ] || mode=mode=blkdev
check "insmod tmem" insmod /lab/tmem.ko $mode put_timeout_ms=2000 reconnect_timeout_s=5 dead_after_s=15

free_memory() { awk '/MemAvailable/ { print $2 }' /proc/meminfo; }
ordered() { case $(xenstore-read data/order) in "suffer $last" | '') false ;; suffer* | enjoy) true ;; *) false ;; esac }

# Whatever becomes of the program, it must not have read wrong data.
swap_a_while() {
  timeout 60 swap_verify 24 10 >/tmp/verify.out 2>&1
  say "swap_verify ended with $?: $(tail -n 1 /tmp/verify.out)"
  ! grep -q 'swap_verify: FAIL page' /tmp/verify.out || fail "$(cat /tmp/verify.out)"
}

suffer() {
  wait_for 10 is_connected || say "not connected: state $(counter state)"
  if is_connected && [ -b /dev/tmemswap ] && mkswap /dev/tmemswap >/dev/null && swapon /dev/tmemswap; then
    swap_a_while
    timeout 90 swapoff /dev/tmemswap || say "swapoff ended with $?"
  fi
}

last=none
say "ready"
while :; do
  await_order 300 ordered || fail "no order"
  order_is enjoy && break
  last=$(xenstore-read data/order)
  last=${last#suffer }
  suffer
  say "survived $last"
  [ -n "$before" ] || before=$(free_memory)
done

wait_for 60 is_connected || fail "no connection to an honest backend: state $(counter state)"
check "mkswap" mkswap /dev/tmemswap
check "swapon" swapon /dev/tmemswap
check "swap_verify" swap_verify 24 5
swap_off
figure "memory_lost=$((before - $(free_memory)))"
say "finished"
sleep 600

# Swaps as much as it is ordered to, all the time, and verifies it.
load_module_before_disk
swap_on

verifiers='' last=none
swap_set() {
  swap_verify "$1" 100000 >"/run/set-$1" 2>&1 &
  verifiers="$verifiers $!"
  say "swaps a set of $1 MiB"
}
is_new_order() {
  order=$(xenstore-read data/order) && [ "$order" != "$last" ]
}

until [ "$last" = leave ]; do
  await_order 900 is_new_order || fail "no order"
  last=$order
  case $order in set-*) swap_set "${order#set-}" ;; esac
done
kill -TERM $verifiers
for verifier in $verifiers; do
  wait "$verifier" || fail "$(cat /run/set-*)"
done
say "$(cat /run/set-*)"
say "finished"
wait_for_order 300 end

# g1 writes pieces to the swap device, whose pages do not compress, and reads them again; the others
# only are there.
if [ "$guest_name" != g1 ]; then
  say "is up"
  wait_for_order 900 leave
  exit
fi

piece=8 # MiB
load_module_before_disk
check "a piece" dd if=/dev/urandom of=/run/piece bs=1M count=$piece
size=$(($(blockdev --getsize64 /dev/tmemswap) / 1048576))

write_piece() {
  check "writing piece $1" \
    dd if=/run/piece of=/dev/tmemswap bs=1M count=$piece seek=$(($1 * piece)) oflag=direct conv=notrunc
}
# verify_pieces FROM TO, discard FROM TO: those from FROM on, and before TO.
verify_pieces() {
  local n=$1
  while [ "$n" -lt "$2" ]; do
    dd if=/dev/tmemswap bs=1M count=$piece skip=$((n * piece)) iflag=direct 2>/dev/null |
      cmp - /run/piece || fail "piece $n is not what was written"
    n=$((n + 1))
  done
}
discard() {
  check "discarding" blkdiscard -o $(($1 * piece * 1048576)) \
    -l $((($2 - $1) * piece * 1048576)) /dev/tmemswap
}

say "writes"
n=0
until order_is enough; do
  [ $(((n + 1) * piece)) -le "$size" ] || fail "the device is full"
  write_piece "$n"
  n=$((n + 1))
  sleep 1 # for the store to grow; what it has no room for goes to the disk
done
verify_pieces 0 "$n"
figure "pieces=$n"
say "wrote"

wait_for_order 600 third
discard 0 $((n * 2 / 3))
say "kept a third of it"
wait_for_order 600 none
verify_pieces $((n * 2 / 3)) "$n"
discard $((n * 2 / 3)) "$n"
say "let all of it go"
print_counters
wait_for_order 600 leave

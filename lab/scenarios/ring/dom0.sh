# Both on the same two processors, by turns, and on both nobody sleeps: the ratio is what protocol,
# module and daemon add to two words in memory. How long anything took is asserted of nothing.
start_tmemd --capacity 64M --set spin-us=10000
create_guest g1
await_guest 120 g1 "offers the echo"
echo_ring "$(domid_of g1)" >/var/log/echo.log 2>&1 &
await_guest 480 g1 "measured"
wait $! || fail "echo_ring: $(tail -n 1 /var/log/echo.log)"
ring=$(guest_figure g1 ring_ns) polled=$(guest_figure g1 polled_ns)
figure "$(awk -v ring="$ring" -v polled="$polled" \
  'BEGIN { printf "ring_us=%.2f polled_us=%.2f ratio=%.1f", ring / 1000, polled / 1000, ring / polled }')"
stop_tmemd
pass

# A guest connects, swaps a little, and leaves; both sides count the same.
start_tmemd --capacity 128M
create_guest g1 "$(make_disk g1 128)"
await_guest 120 g1 "connected"
await 10 "both sides are Connected" is_connected g1
await_guest 400 g1 "swapped"
agree g1 succ_stores puts_stored
agree g1 loads gets_found
expect "pages put" "$(daemon_counter g1 puts_stored)" -gt 0
expect "corrupt pages" "$(daemon_counter g1 corrupt)" -eq 0
# A swap device keeps the page that mkswap wrote.
expect "pages that stay after swapoff" "$(daemon_stored g1 pages)" -le 1
order g1 leave
await_end 60 g1
await 10 "the daemon forgets the guest" eval '! tmemctl show g1'
expect "devices that stay in xenstore" \
  "$(xenstore-ls -f /local/domain/0/backend 2>/dev/null | grep -c tmem/)" -eq 0
figure "module_kib=$(guest_figure g1 module_kib)"
# Guests that swap through frontswap have no device to read.
[ -z "$(guest_figure g1 get_us)" ] ||
  figure "get_us=$(guest_figure g1 get_us) no_get_us=$(guest_figure g1 no_get_us)"
stop_tmemd
pass

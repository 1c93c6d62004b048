# A checkpoint is a pause: the domain stays, and so do its pages. A domain that is saved ends, and
# its pages with it; the guest brings them back before, and swaps to the host again after it was
# restored, under a new number.
image=/run/g1.save
start_tmemd --capacity 256M

create_guest g1 "memory = 128" "$(make_disk g1 256)"
await_guest 200 g1 "under load"
for round in 1 2 3; do
  await 120 "pages are stored and got before checkpoint $round" has_served g1 $((1000 * round))
  check "checkpoint $round" xl save -c g1 "$image"
  rm "$image"
  is_connected g1 || fail "not connected after checkpoint $round"
done
order g1 off
await_guest 300 g1 "verified across checkpoints"
expect "corrupt pages" "$(daemon_counter g1 corrupt)" -eq 0
expect "connections that the guest made" "$(connections_of g1)" -eq 1
figure "checkpoints=3 stored=$(daemon_counter g1 puts_stored) found=$(daemon_counter g1 gets_found)"

await_guest 200 g1 "swap is off"
saved=$(domid_of g1)
check "save" xl save g1 "$image"
await 20 "the daemon forgets the guest that was saved" eval '! tmemctl show g1'
check "restore" xl restore "$image"
rm "$image"
expect "domid" "$(domid_of g1)" -gt "$saved"
await 60 "connected after it was restored" is_connected g1
order g1 on
await_guest 300 g1 "verified after it was restored"
expect "pages put after it was restored" "$(daemon_counter g1 puts_stored)" -gt 0
expect "corrupt pages" "$(daemon_counter g1 corrupt)" -eq 0
expect "connections that the guest made" "$(connections_of g1)" -eq 2
expect "pages that the guest lost" "$(guest_figure g1 lost_pages)" -eq 0
figure "restored=1 then_stored=$(daemon_counter g1 puts_stored)"
figure "then_found=$(daemon_counter g1 gets_found) lost=0"
order g1 leave
await_end 60 g1
stop_tmemd
pass

# The backend follows a frontend that leaves and returns, a guest that is destroyed while it swaps,
# and one that reboots; each time all memory comes back.
free_memory() { xl info | awk '/free_memory/ { print $3 }'; }
memory_is_back() { [ "$(free_memory)" -ge $((free_before - 1)) ]; }
zombies() { xl list | grep -c '(null)'; }

start_tmemd --capacity 256M
free_before=$(free_memory)

create_guest g1 "memory = 128" "$(make_disk g1 256)"
first=$(domid_of g1)
for round in 1 2 3; do
  await_guest 200 g1 "round $round connected"
  await 10 "Connected in round $round" is_connected g1
  order g1 "unload $round"
  await_guest 60 g1 "round $round unloaded"
done

await_guest 200 g1 "under load"
await 60 "pages are stored" eval '[ "$(daemon_stored g1 pages)" -gt 500 ]'
check "destroy" xl destroy g1
await 20 "the daemon forgets the guest" eval '! tmemctl show g1'
await 20 "all memory is back" memory_is_back
expect "zombie domains" "$(zombies)" -eq 0
say "destroyed under load"

rm "$(console_of g1)"
create_guest g1 "memory = 128" "$(make_disk g1 256)"
second=$(domid_of g1)
expect "domid" "$second" -gt "$first"
await_guest 200 g1 "round 1 connected"
order g1 "reboot"
await 120 "the guest is there again" eval '[ "$(domid_of g1)" -gt '"$second"' ]'
await 120 "connected after the reboot" is_connected g1
check "destroy" xl destroy g1
await 20 "all memory is back" memory_is_back
expect "zombie domains" "$(zombies)" -eq 0
figure "free_memory=$(free_memory)MiB of ${free_before}MiB zombies=0"
stop_tmemd
pass

# The daemon dies by SIGKILL while requests are under way, and comes back on the store that it left
# on a tmpfs. The guest sees no state change, only a pause; each page that it gets back is right.
kills=12
mkdir -p /run/store
mount -t tmpfs -o size=384M store /run/store

serve() { start_tmemd --capacity 256M --set store.path=/run/store; }

serve
create_guest g1 "memory = 128" "$(make_disk g1 256)"
await_guest 200 g1 "swaps to"
found=0 stored=0 n=0
while [ "$n" -lt "$kills" ]; do
  # A different amount of traffic each time, so that death finds other work under way.
  await 120 "the guest is served after kill $n" has_served g1 $((200 + 37 * n))
  expect_no_failure g1
  stored=$((stored + $(daemon_counter g1 puts_stored)))
  found=$((found + $(daemon_counter g1 gets_found)))
  expect "corrupt pages" "$(daemon_counter g1 corrupt)" -eq 0
  kill -KILL "$tmemd_pid"
  wait "$tmemd_pid" 2>/dev/null
  n=$((n + 1))
  serve
done
await 120 "the guest is served after the last kill" has_served g1 200
is_connected g1 || fail "the guest is not connected after the last kill"

order g1 leave
await_guest 300 g1 "finished"
stored=$((stored + $(daemon_counter g1 puts_stored)))
found=$((found + $(daemon_counter g1 gets_found)))
figure "kills=$kills stored=$stored found=$found refused=$(guest_figure g1 failed_stores)"
figure "rounds_verified=$(guest_figure g1 rounds) connections=$(connections_of g1)"
expect "corrupt pages" "$(daemon_counter g1 corrupt)" -eq 0
expect "pages that the guest lost" "$(guest_figure g1 lost_pages)" -eq 0
expect "connections that the guest made" "$(connections_of g1)" -eq 1
order g1 end
await_end 60 g1
pass

# In tmemd's place stands a backend that serves the guest well for a while and then commits a deed.
# The guest may lose what it swapped there, as with any disk that breaks. Its kernel must not
# crash or hang, no program may read wrong data, and the module must work with the next backend.
create_guest g1 "memory = 160"
deeds=$(evil_backend list)
await_guest 120 g1 "ready"
domid=$(domid_of g1)
follow evil /var/log/evil.log
n=0
for deed in $deeds; do
  say "deed $deed"
  evil_backend "$domid" "$deed" >>/var/log/evil.log 2>&1 &
  backend=$!
  order g1 "suffer $deed"
  await_guest 240 g1 "survived $deed"
  kill "$backend"
  wait "$backend" 2>/dev/null
  n=$((n + 1))
done

# An honest one at last: nothing of what was is in the way.
xenstore-rm "/local/domain/$domid/device/tmem" "/local/domain/0/backend/tmem"
start_tmemd --capacity 128M
order g1 "enjoy"
await_guest 240 g1 "finished"
figure "deeds=$n memory_lost=$(guest_figure g1 memory_lost)KiB"
expect "memory that the guest lost, in KiB" "$(guest_figure g1 memory_lost)" -lt 4096
expect "corrupt pages" "$(daemon_counter g1 corrupt)" -eq 0
pass

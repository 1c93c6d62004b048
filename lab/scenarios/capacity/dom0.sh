# A guest fills the store, which borrows the host's free memory until only the reserve is left. Then a
# second guest starts, from the reserve, and a third that needs more than that. All figures are MiB.
#
# Pages of guests here are persistent: the store can give them back only when their guest lets go.
reserve=224 margin=28 # an eighth of the reserve
minimum=32 maximum=600 step=32

host() {
  local bytes
  bytes=$(tmemctl --json stats | tr -d ' \n' |
    sed -e 's/.*"following":{/,/' -e "s/.*,\"$1_bytes\":\([0-9]*\).*/\1/")
  echo $((bytes / 1048576))
}
capacity() {
  local bytes
  bytes=$(tmemctl --json stats | tr -d ' \n' | sed 's/.*"capacity_bytes":\([0-9]*\).*/\1/')
  echo $((bytes / 1048576))
}
xen_free() { xl info | awk '/^free_memory/ { print $3 }'; }
is_free() { [ "$(host host_free)" -ge "$1" ]; }
dom0_memory() { xl list 0 | awk 'END { print $3 }'; }

start_tmemd --capacity auto --set min-capacity=${minimum}M --set max-capacity=${maximum}M \
  --set host-reserve=${reserve}M --set dom0-reserve=96M --set guest-defaults.compress=off
create_guest g1 "memory = 128" "$(make_disk g1 512)"
await_guest 200 g1 "writes"
before=$(dom0_memory)
expect "memory that is free before the store grows" "$(xen_free)" -gt $((reserve + margin + 2 * step))

# ---- it grows into all but the reserve, and its margin

has_grown() { [ "$(host host_free)" -le $((reserve + margin + step)) ]; }
await 900 "the store has borrowed what it may" has_grown
order g1 enough
await_guest 400 g1 "wrote"
borrowed=$(host borrowed)
say "dom0 holds $(dom0_memory), it was $before; $borrowed borrowed, $(xen_free) free"
expect "what dom0's balloon has taken" "$(dom0_memory)" -gt "$before"
expect "the capacity" "$(capacity)" -gt $minimum
expect "what is free on the host" "$(xen_free)" -ge $((reserve - 8))
figure "borrowed=$borrowed free=$(xen_free) capacity=$(capacity) stored=$(daemon_stored g1 pages)"
figure "available_in_dom0=$(host dom0_available)"

# ---- a second guest starts, although the store holds nearly all of the rest

create_guest g2 "memory = 160"
await_guest 200 g2 "is up"
order g1 third
await_guest 300 g1 "kept a third of it"
await 60 "the reserve is free again" is_free $reserve
figure "after g2: borrowed=$(host borrowed) free=$(xen_free)"
expect "what is still borrowed" "$(host borrowed)" -lt "$borrowed"

# ---- a third that needs more than the reserve: the toolstack asks for it, and waits

order g1 none
await_guest 300 g1 "let all of it go"
wanted=$((reserve + 48))
check "write free-request" xenstore-write /tool/tmemd/free-request ${wanted}M
await 60 "what the toolstack asked for is free" is_free $wanted
create_guest g3 "memory = $((reserve + 16))"
await_guest 200 g3 "is up"
check "remove free-request" xenstore-rm /tool/tmemd/free-request
figure "after g3: borrowed=$(host borrowed) free=$(xen_free) dom0=$(dom0_memory)/$before"

order g1 leave
for g in g2 g3; do order $g leave; done
for g in g1 g2 g3; do await_end 120 $g; done
expect "corrupt gets" "$(tmemctl --json stats | grep -c '"corrupt": *[1-9]')" -eq 0

# ---- a fixed capacity returns what it does not need

check "set capacity" tmemctl set capacity=${minimum}M
await 60 "dom0 holds what it held" eval '[ "$(dom0_memory)" -le $((before + 8)) ]'
expect "xenstore's figure of what is borrowed" \
  "$(xenstore-read /tool/tmemd/stats/borrowed-bytes)" -eq 0
dmesg | grep -qi "out of memory" && fail "dom0 ran out of memory"
stop_tmemd
pass

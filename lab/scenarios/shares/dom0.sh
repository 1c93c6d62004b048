# Two guests swap all the time, with disks behind for what is refused, while weights and quotas are
# changed by keys of xenstore. What each is admitted follows docs/policies.md: max-min. All figures
# are MiB, and segments of the store; pages are not compressed.
capacity=48
slack=3 # a sixteenth too much need not be given back; nor is a segment divided
looks=3 # in a row, until memory counts as settled

start_tmemd --capacity ${capacity}M --set guest-defaults.compress=off
create_guest hog "memory = 112" "$(make_disk hog 160)"
create_guest modest "memory = 112" "$(make_disk modest 160)"
for g in hog modest; do await_guest 200 $g "swaps to"; done

within() { [ $(($1 - $2)) -le $slack ] && [ $(($2 - $1)) -le $slack ]; }
refused() { daemon_counter "$1" puts_no_memory; }

# admitted SECONDS WHAT PREDICT: PREDICT sets $hog and $modest from what is held now. Waits until
# both hold what is predicted, and go on doing so.
admitted() {
  local end settled=0 hog_held modest_held
  set_now
  end=$((now + $1))
  while [ "$settled" -lt "$looks" ]; do
    hog_held=$(share_of hog persistent_held) modest_held=$(share_of modest persistent_held)
    $3
    set_now
    [ "$now" -lt "$end" ] ||
      fail "$2: predicted hog $hog modest $modest, admitted hog $hog_held modest $modest_held"
    if within "$hog_held" "$hog" && within "$modest_held" "$modest"; then
      settled=$((settled + 1))
    else
      settled=0
    fi
    sleep 2
  done
  say "$2: predicted hog $hog modest $modest MiB, admitted hog $hog_held modest $modest_held MiB"
  figure "$2: hog $hog_held/$hog modest $modest_held/$modest,"
}

# Whoever wants less than its share gets all of it, and may add an eighth, or 4, before it has to ask.
one_is_modest() {
  local spare=$((modest_held / 8))
  [ $spare -ge 4 ] || spare=4
  modest=$modest_held hog=$((capacity - modest_held - spare))
}

# Of guests that want all there is: the reserve, and by weight what is left.
both_want_all() {
  local left=$((capacity - hog_reserve)) weights=$((hog_weight + modest_weight))
  hog=$((hog_reserve + left * hog_weight / weights)) modest=$((left * modest_weight / weights))
}
hog_weight=100 modest_weight=100 hog_reserve=0

order hog set-96
admitted 200 "one wants nothing" one_is_modest # but the page that mkswap wrote
order modest set-12
await 100 "the guest that behaves swaps" eval '[ "$(share_of modest persistent_held)" -ge 4 ]'
admitted 200 "one wants little" one_is_modest
order modest set-96
admitted 300 "both want all" both_want_all
set_key modest weight 300
modest_weight=300
admitted 300 "weights 100 and 300" both_want_all
set_key hog reserve 12M
hog_reserve=12
admitted 300 "the hog has a reserve of 12" both_want_all

for g in hog modest; do
  order $g leave
  await_guest 300 $g "finished"
  expect "corrupt pages of $g" "$(daemon_counter $g corrupt)" -eq 0
  order $g end
  await_end 60 $g
done
pass

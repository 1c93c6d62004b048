# g1 commits one violation after the other and judges what the daemon does about it; g2 swaps all
# the while and notices nothing.
start_tmemd --capacity 256M
create_guest g2 "memory = 112" "$(make_disk g2 256)"
await_guest 200 g2 "swaps to"
create_guest g1
await_guest 200 g1 "violations="
violations=$(guest_figure g1 violations)
n=0
while [ "$n" -lt "$violations" ]; do
  n=$((n + 1))
  order g1 "commit $n"
  await_guest 180 g1 "judged $n:"
  tmemctl forgive g1 >/dev/null 2>&1
  is_connected g2 || fail "g2 lost its connection after violation $n"
done
good=$(grep -ac 'GUEST-SAY.*judged [0-9]*: .*PASS' "$(console_of g1)")
grep -a 'GUEST-SAY.*judged' "$(console_of g1)" | grep -av PASS >/tmp/bad &&
  fail "$(head -n 1 /tmp/bad | tr -d '\r' | sed 's/.*judged/violation/')"
order g2 leave
await_guest 300 g2 "finished"
expect "corrupt pages of g2" "$(daemon_counter g2 corrupt)" -eq 0
figure "violations=$violations judged_right=$good"
figure "g2: stored=$(daemon_counter g2 puts_stored) found=$(daemon_counter g2 gets_found)"
stop_tmemd
pass

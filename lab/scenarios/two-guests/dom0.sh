# Both guests are short of memory at the same time, and each verifies every page it gets back.
start_tmemd --capacity 384M
create_guest g1 "memory = 112" "$(make_disk g1 256)"
create_guest g2 "memory = 112" "$(make_disk g2 256)"
for g in g1 g2; do await_guest 200 $g "swaps to"; done
for g in g1 g2; do order $g go; done
for g in g1 g2; do
  await_guest 500 $g "finished"
  figure "$g: stored=$(daemon_counter $g puts_stored) found=$(daemon_counter $g gets_found)"
  expect "pages that $g put" "$(daemon_counter $g puts_stored)" -gt 1000
  expect "pages that $g got" "$(daemon_counter $g gets_found)" -gt 1000
  expect "corrupt pages of $g" "$(daemon_counter $g corrupt)" -eq 0
  agree $g succ_stores puts_stored
done
for g in g1 g2; do order $g leave; done
for g in g1 g2; do await_end 60 $g; done
pass

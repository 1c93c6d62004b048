# The host takes a part of what the guest pushes out, and there is no disk for the rest: the module
# fails such a write, and the kernel keeps the page. When the cap is raised, no write fails any more.
start_tmemd --capacity 256M --set guest-defaults.cap=8M
create_guest g1 "memory = 160"
await_guest 600 g1 "first round"
stored=$(daemon_counter g1 puts_stored) refused=$(daemon_counter g1 puts_no_memory)
errors=$(guest_figure g1 write_errors)
figure "stored=$stored refused=$refused write_errors=$errors"
expect "pages stored under the cap" "$stored" -gt 0
expect "pages refused above the cap" "$refused" -gt 0
expect "writes that failed" "$errors" -gt 0

set_key g1 cap 200M
order g1 again
await_guest 600 g1 "second round"
figure "then_stored=$(($(daemon_counter g1 puts_stored) - stored))"
figure "then_write_errors=$(($(guest_figure g1 write_errors) - errors))"
expect "pages stored later" "$(daemon_counter g1 puts_stored)" -gt "$stored"
expect "writes that failed later" "$(guest_figure g1 write_errors)" -eq "$errors"
expect "corrupt pages" "$(daemon_counter g1 corrupt)" -eq 0
expect "pages lost" "$(guest_figure g1 lost_pages)" -eq 0
order g1 leave
await_end 60 g1
pass

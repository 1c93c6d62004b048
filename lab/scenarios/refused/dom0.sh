# The host takes a part of what the guest swaps; the rest goes to the guest's disk, and nothing is
# lost. When the cap is raised, all goes to the host.
start_tmemd --capacity 256M --set guest-defaults.cap=8M
create_guest g1 "memory = 128" "$(make_disk g1 256)"
await_guest 600 g1 "first round"
stored=$(daemon_counter g1 puts_stored) refused=$(daemon_counter g1 puts_no_memory)
figure "stored=$stored refused=$refused disk_writes=$(guest_figure g1 disk_writes)"
expect "pages stored under the cap" "$stored" -gt 0
expect "pages refused above the cap" "$refused" -gt 0
expect "refused pages on the disk" "$(guest_figure g1 disk_writes)" -gt 0

set_key g1 cap 200M
order g1 again
await_guest 600 g1 "second round"
figure "then_stored=$(($(daemon_counter g1 puts_stored) - stored))"
figure "then_refused=$(($(daemon_counter g1 puts_no_memory) - refused))"
expect "pages stored later" "$(daemon_counter g1 puts_stored)" -gt "$stored"
expect "pages refused later" "$(daemon_counter g1 puts_no_memory)" -eq "$refused"
expect "corrupt pages" "$(daemon_counter g1 corrupt)" -eq 0
order g1 leave
await_end 60 g1
pass

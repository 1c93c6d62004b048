# A guest runs real programs whose memory is mostly tmem swap. All results are right, and no page
# goes to the disk.
start_tmemd --capacity 384M
create_guest g1 "memory = 100" "$(make_disk g1 512)"
await_guest 120 g1 "swaps to"
await_guest 1000 g1 "finished"
for name in puts_stored gets_found puts_no_memory corrupt; do
  figure "$name=$(daemon_counter g1 $name)"
done
figure "free=$(guest_figure g1 free_mib)MiB verified=$(guest_figure g1 verified_mib)MiB"
figure "disk_writes=$(guest_figure g1 disk_writes)"
expect "pages put" "$(daemon_counter g1 puts_stored)" -gt 4000
expect "pages got" "$(daemon_counter g1 gets_found)" -gt 4000
expect "pages refused" "$(daemon_counter g1 puts_no_memory)" -eq 0
expect "corrupt pages" "$(daemon_counter g1 corrupt)" -eq 0
expect "pages written to the disk" "$(guest_figure g1 disk_writes)" -eq 0
order g1 leave
await_end 60 g1
pass

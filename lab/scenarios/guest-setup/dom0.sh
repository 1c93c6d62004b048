# The guest's root is a Debian with systemd, util-linux and kmod, as guests have.
modprobe -a virtio_pci virtio_blk xen-blkback loop
await 20 "the guest's root disk" test -b /dev/vda
truncate -s 256M /run/g1.swap
start_tmemd --capacity 256M
create_guest g1 "memory = 240" "disk = [ $(disk xvda w /dev/vda), $(disk xvdb w /run/g1.swap) ]"
await_guest 400 g1 "systemd is up"
await_guest 200 g1 "stopped"
expect "pages put since boot" "$(daemon_counter g1 puts_stored)" -gt 1000
expect "pages that stay after the unit was stopped" "$(daemon_stored g1 pages)" -eq 0
order g1 go
await_guest 200 g1 "finished"
for name in puts_stored gets_found corrupt; do
  figure "$name=$(daemon_counter g1 $name)"
done
figure "disk_writes=$(guest_figure g1 disk_writes)"
expect "corrupt pages" "$(daemon_counter g1 corrupt)" -eq 0
expect "pages written to the disk" "$(guest_figure g1 disk_writes)" -eq 0
order g1 leave
await_end 120 g1
pass

# What the module takes of the guest's memory: all that was free before it was there and is not
# after.
free_kib() {
  echo 3 >/proc/sys/vm/drop_caches
  awk '/^MemFree/ { print $2 }' /proc/meminfo
}

# What a page costs that is read alone, by one process that waits for each; and how much of it is
# not the ring: pages that were never written are not asked for.
read_us() {
  local before after pages=2000
  before=$(awk '{ print int($1 * 100) }' /proc/uptime)
  check "reading pages" dd if=/dev/tmemswap of=/dev/null bs=4096 iflag=direct skip="$1" count=$pages
  after=$(awk '{ print int($1 * 100) }' /proc/uptime)
  echo $(((after - before) * 10000 / pages))
}

before=$(free_kib)
load_module
figure "module_kib=$((before - $(free_kib)))"
if ! has_frontswap; then
  check "writing pages" dd if=/dev/urandom of=/dev/tmemswap bs=4096 oflag=direct count=2000
  figure "get_us=$(read_us 0)"
  figure "no_get_us=$(read_us 2000)"
  check "discarding them" blkdiscard /dev/tmemswap
fi
swap_on
check "swap_verify" swap_verify 16 5
say "$(cat /tmp/check.out)"
check "tmem-guest-setup status" tmem-guest-setup status
swap_off
sleep 1
print_counters
say "swapped"
wait_for_order 60 leave
has_frontswap || check "tmem-guest-setup stop" tmem-guest-setup stop

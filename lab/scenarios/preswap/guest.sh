# Each program needs more memory than the guest has, and knows what has to come out.
modprobe xen-blkfront
mount_programs
load_module size_mb=256
swap_on
before=$(disk_pages_written xvda)
figure "free_mib=$(awk '/MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)"

# done_with PROGRAM MIB: it was right, and swapped while it was at it.
swapped=0 verified=0
done_with() {
  local now
  now=$(awk '/^pswpin/ { print $2 }' /proc/vmstat)
  [ "$now" -gt "$swapped" ] || fail "$1 did not need to swap"
  say "$1 verified $2 MiB, pages read from swap: $((now - swapped))"
  swapped=$now verified=$((verified + $2))
}

check "swap_verify" swap_verify 20 1
say "$(cat /tmp/check.out)"
done_with swap_verify 20

# Fills it all from a seed, 8 bytes at a time, 4096 times to an operation; the one operation more is
# for going through it again and comparing.
check "stress-ng" stress-ng --vm 1 --vm-bytes 20M --vm-method rand-set --vm-ops $((20 * 32 + 1)) --verify \
  --temp-path /tmp
done_with stress-ng 20

# A table of one row a page, in a file in memory, and sums that must come out.
answer=$(sqlite3 -batch /tmp/table "
  PRAGMA journal_mode = OFF;
  PRAGMA synchronous = OFF;
  CREATE TABLE t(id INTEGER PRIMARY KEY, word TEXT);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
    INSERT INTO t SELECT i, hex(zeroblob(1500)) || i FROM n;
  SELECT count(*), sum(id), sum(length(word)), sum(substr(word, 3001)) FROM t;")
[ "$(echo $answer)" = "off 5000|12502500|15018893|12502500" ] || fail "sqlite3 answered $answer"
rm /tmp/table
done_with sqlite3 20

# By path, since busybox has a sort of its own: a file in memory, as much again for the runs that are merged, and again for the result.
seq 1 12000 | awk '{ printf "%0511d\n", ($1 * 7368787) % 12000 }' >/tmp/numbers
check "sort" /programs/bin/sort -S 4M -T /tmp -o /tmp/numbers /tmp/numbers
check "order" /programs/bin/sort -c /tmp/numbers
[ "$(/programs/bin/uniq /tmp/numbers | wc -lc | xargs)" = "12000 6144000" ] || fail "sort lost lines"
done_with sort 6
rm /tmp/numbers

figure "verified_mib=$verified"
figure "disk_writes=$(($(disk_pages_written xvda) - before))"
print_counters
say "finished"
wait_for_order 60 leave

# Each program needs twice the memory that the guest has free, and knows what has to come out.
mount_programs
load_module_before_disk
swap_on
disk_writes=$(disk_pages_written xvda)
free=$(awk '/MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
figure "free_mib=$free"

# done_with PROGRAM MIB: it was right, and could not be without what it had swapped out.
swapped=0 verified=0
done_with() {
  local before=$swapped
  swapped=$(counter loads)
  say "$1 verified $2 MiB, pages read back: $((swapped - before))"
  [ $((swapped - before)) -ge $((($2 - free) * 256)) ] || fail "$1 fits into memory"
  verified=$((verified + $2))
}

check "swap_verify" swap_verify 40 1
say "$(cat /tmp/check.out)"
done_with swap_verify 40

# Fills it all from a seed, 8 bytes at a time, 4096 times to an operation; the one operation more is
# for going through it again and comparing.
check "stress-ng" stress-ng --vm 1 --vm-bytes 40M --vm-method rand-set --vm-ops $((40 * 32 + 1)) --verify \
  --temp-path /tmp
done_with stress-ng 40

# A table of one row a page, in a file in memory, and sums that must come out. Nobody shares the file,
# and not every kernel here has locks for files.
answer=$(sqlite3 -batch -vfs unix-none /tmp/table "
  PRAGMA journal_mode = OFF;
  PRAGMA synchronous = OFF;
  CREATE TABLE t(id INTEGER PRIMARY KEY, word TEXT);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
    INSERT INTO t SELECT i, hex(zeroblob(1500)) || i FROM n;
  SELECT count(*), sum(id), sum(length(word)), sum(substr(word, 3001)) FROM t;")
[ "$(echo $answer)" = "off 10000|50005000|30038894|50005000" ] || fail "sqlite3 answered $answer"
rm /tmp/table
done_with sqlite3 40

# By path, since busybox has a sort of its own: a file in memory, as much again for the runs that are
# merged, and again for the result.
seq 1 24000 | awk '{ printf "%0511d\n", ($1 * 7368787) % 24000 }' >/tmp/numbers
check "sort" /programs/bin/sort -S 4M -T /tmp -o /tmp/numbers /tmp/numbers
check "order" /programs/bin/sort -c /tmp/numbers
[ "$(/programs/bin/uniq /tmp/numbers | wc -lc | xargs)" = "24000 12288000" ] || fail "sort lost lines"
done_with sort 24
rm /tmp/numbers

figure "verified_mib=$verified"
figure "disk_writes=$(($(disk_pages_written xvda) - disk_writes))"
print_counters
expect_clean_kernel
say "finished"
wait_for_order 60 leave

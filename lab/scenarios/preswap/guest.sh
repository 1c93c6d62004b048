modprobe xen-blkfront
load_module size_mb=400
swap_on
before=$(disk_pages_written xvda)

check "swap_verify" swap_verify 100 15
say "$(cat /tmp/check.out)"
check "stress-ng" stress-ng --vm 1 --vm-bytes 96M --vm-method walk-0d --vm-ops 1 --verify --temp-path /tmp
say "stress-ng verified 96 MiB"

# A table that is larger than memory, kept by sqlite in memory, and sums that must come out.
answer=$(sqlite3 :memory: "
  CREATE TABLE t(id INTEGER PRIMARY KEY, word TEXT);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
    INSERT INTO t SELECT i, hex(zeroblob(600)) || i FROM n;
  SELECT count(*), sum(id), sum(length(word)), count(DISTINCT substr(word, 1201)) FROM t;
  PRAGMA integrity_check;")
[ "$(echo $answer)" = "60000|1800030000|72288894|60000 ok" ] || fail "sqlite3 answered $answer"
say "sqlite3 is right"

# A file of 32 MiB in memory, and as much again while it is sorted.
seq 1 1000000 | awk '{ printf "%032d\n", ($1 * 7368787) % 1000000 }' >/tmp/numbers
check "sort" sort -S 8M -T /tmp -o /tmp/numbers /tmp/numbers
check "order" sort -c /tmp/numbers
[ "$(uniq /tmp/numbers | wc -l)" = 1000000 ] || fail "sort lost lines"
say "sort is right"
rm /tmp/numbers

figure "verified_mib=$((100 + 96 + 72 + 32))"
figure "disk_writes=$(($(disk_pages_written xvda) - before))"
say "finished"
wait_for_order 60 leave

check "insmod tmem_bench" insmod /lab/tmem_bench.ko
say "offers the echo"
result() { dmesg | grep -oE 'tmem_bench: (ring_ns|FAIL).*' | sed 's/tmem_bench: //'; }
has_result() { [ -n "$(result)" ]; }
wait_for 400 has_result || fail "tmem_bench says nothing"
case $(result) in FAIL*) fail "$(result)" ;; esac
for figure in $(result); do figure "$figure"; done
check "unbind" eval 'echo tmem-0 >/sys/bus/xen/drivers/tmem_bench/unbind'
check "rmmod" rmmod tmem_bench
say "measured"
sleep 600

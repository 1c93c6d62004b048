well_behaved() {
  modprobe xen-blkfront
  load_module
  swap_on
  until order_is leave; do
    check "swap_verify" swap_verify 90 10
  done
  say "finished"
  sleep 600
}

commit() {
  local name=$1
  check "insmod tmem_evil" insmod /lab/tmem_evil.ko violation="$name"
  wait_for 150 verdict_on "$name"
  echo tmem-0 >/sys/bus/xen/drivers/tmem_evil/unbind 2>/dev/null
  check "rmmod tmem_evil" rmmod tmem_evil
}
verdict_on() { dmesg | grep -qE "tmem_evil: $1: (PASS|FAIL)"; }

[ "$guest_name" = g2 ] && well_behaved

insmod /lab/tmem_evil.ko violation=list && rmmod tmem_evil
names=$(dmesg | sed -n 's/.*tmem_evil: list //p')
figure "violations=$(echo "$names" | wc -l)"
n=0
for name in $names; do
  n=$((n + 1))
  wait_for_order 300 "commit $n"
  commit "$name"
  say "judged $n: $(dmesg | sed -n "s/.*tmem_evil: \($name: [PF].*\)/\1/p" | tail -n 1)"
done
sleep 600

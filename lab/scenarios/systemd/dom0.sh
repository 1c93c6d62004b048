# tmemd as Debian's systemd runs it: started at boot, then killed, restarted, stopped, hung and
# configured anew by systemctl while a guest swaps. Its pages lie on the tmpfs of the mount unit.
kills=5 restarts=3
config=/usr/local/etc/tmemd/tmemd.toml

main_pid() { systemctl show -P MainPID tmemd; }
is_another() { [ "$(main_pid)" != "$1" ] && systemctl is-active tmemd; }
store_is_mounted() { [ "$(stat -f -c %T /var/lib/tmemd)" = tmpfs ] && [ -e /var/lib/tmemd/store ]; }

# run_on WHAT: the guest has been served by a daemon; what it counted is added to the sums.
stored=0 found=0
run_on() {
  await 120 "the guest is served $1" has_served g1 300
  expect_no_failure g1
  stored=$((stored + $(daemon_counter g1 puts_stored)))
  found=$((found + $(daemon_counter g1 gets_found)))
  expect "corrupt pages" "$(daemon_counter g1 corrupt)" -eq 0
}

# comes_back PID: by itself; systemd is told to forget how often lately.
comes_back() {
  await 120 "systemd starts tmemd again" is_another "$1"
  systemctl reset-failed tmemd
}

journalctl -f -n all -o cat -u tmemd >/var/log/tmemd.log 2>&1 &
follow tmemd /var/log/tmemd.log
check "oxenstored runs" pgrep oxenstored
check "tmemd was started at boot" systemctl is-active tmemd
check "the store is on its mount" store_is_mounted
pid=$(main_pid)
for line in 'CapBnd: *0000000000000000$' 'CapEff: *0000000000000000$' 'NoNewPrivs: *1$' 'Seccomp: *2$'; do
  tr '\t' ' ' <"/proc/$pid/status" | grep -q "^$line" || fail "not so in its sandbox: $line"
done
systemd-analyze verify --man=no tmemd.service var-lib-tmemd.mount 2>&1 | grep tmemd >/tmp/verify &&
  fail "systemd-analyze verify: $(head -n 1 /tmp/verify)"
exposure=$(systemd-analyze security --no-pager tmemd.service |
  sed -n 's/.*exposure level for tmemd.service: \([0-9.]*\).*/\1/p')

create_guest g1 "memory = 128" "$(make_disk g1 256)"
await_guest 200 g1 "swaps to"

n=0
while [ "$n" -lt "$kills" ]; do
  run_on "after kill $n"
  pid=$(main_pid)
  check "kill" systemctl kill -s KILL tmemd
  comes_back "$pid"
  n=$((n + 1))
done
n=0
while [ "$n" -lt "$restarts" ]; do
  run_on "after restart $n"
  check "restart" systemctl restart tmemd
  n=$((n + 1))
done
say "killed and restarted"

run_on "before it hangs"
pid=$(main_pid)
kill -STOP "$pid"
comes_back "$pid"
say "the watchdog found that it hung"

# Stopped for a while, in which its configuration changes: metrics, which its sandbox must allow.
run_on "before it is stopped"
check "stop" systemctl stop tmemd
! systemctl is-active tmemd || fail "tmemd is active although it was stopped"
check "the mount outlives tmemd" store_is_mounted
! systemctl stop var-lib-tmemd.mount || fail "systemctl stops the mount and loses all pages"
mkdir -p /etc/systemd/system/tmemd.service.d
cp /usr/local/share/tmemd/prometheus/metrics.conf /etc/systemd/system/tmemd.service.d/
sed -i 's/^#address = ""/address = "127.0.0.1:9641"/' "$config"
check "daemon-reload" systemctl daemon-reload
check "start" systemctl start tmemd
run_on "after it was stopped"
metrics() (exec 5<>/dev/tcp/127.0.0.1/9641 && printf 'GET /metrics HTTP/1.0\r\n\r\n' >&5 && cat <&5)
check "metrics of the guest" eval 'metrics | grep "^tmemd_guest_.*guest=\"g1\""'

sed -i 's/^#capacity = .*/capacity = "300M"/' "$config"
check "reload" systemctl reload tmemd
await 20 "the capacity after a reload" eval 'metrics | grep "^tmemd_capacity_bytes 314572800$"'

order g1 leave
await_guest 300 g1 "finished"
figure "kills=$kills restarts=$restarts stored=$stored found=$found refused=$(guest_figure g1 failed_stores)"
figure "rounds_verified=$(guest_figure g1 rounds) connections=$(connections_of g1) exposure=$exposure"
expect "pages that the guest lost" "$(guest_figure g1 lost_pages)" -eq 0
expect "connections that the guest made" "$(connections_of g1)" -eq 1
expect "units that failed" "$(systemctl --failed --no-legend | wc -l)" -eq 0
order g1 end
await_end 60 g1
pass

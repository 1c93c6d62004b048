# For scripts inside of dom0 and of guests. Sourced by busybox sh.

uptime_s() { cut -d' ' -f1 /proc/uptime; }

# wait_for SECONDS COMMAND...: until the command succeeds; false if it did not in that time.
wait_for() {
  local limit=$1 passed=0
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$passed" -lt $((limit * 5)) ] || return 1
    sleep 0.2
    passed=$((passed + 1))
  done
}

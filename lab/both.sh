# For scripts inside of dom0 and of guests. Sourced by busybox sh.

uptime_s() { cut -d. -f1 /proc/uptime; }

# wait_for SECONDS COMMAND...: until the command succeeds; false if it did not in that time.
wait_for() {
  local end
  end=$(($(uptime_s) + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$(uptime_s)" -lt "$end" ] || return 1
    sleep 0.3
  done
}

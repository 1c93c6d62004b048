# For scripts inside of dom0 and of guests. Sourced by busybox sh.
#
# Of one emulated processor, whatever a waiting script does is taken from those that it waits for,
# and each program that is started takes 10 ms and more: waiting starts as few as it can.

# All waiting is so many times as patient: slow kernels set it.
patience=1

# set_now: the seconds since the start, in $now, which is for that alone.
set_now() {
  read -r now _ </proc/uptime
  now=${now%%.*}
}

# wait_for SECONDS COMMAND...: until the command succeeds; false if it did not in that time.
wait_for() { wait_by nap "$@"; }

# wait_by PAUSE SECONDS COMMAND...: the same, with PAUSE SECONDS-LEFT between two tries.
wait_by() {
  local pause=$1 end nap=1
  set_now
  end=$((now + $2 * patience))
  shift 2
  until "$@" >/dev/null 2>&1; do
    set_now
    [ "$now" -lt "$end" ] || return 1
    $pause $((end - now))
  done
}

# Shortly at first, and longer each time.
nap() {
  sleep 0.$nap
  [ "$nap" -ge 8 ] || nap=$((nap * 2))
}

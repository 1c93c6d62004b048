# What a guest's part of a scenario is written with. Sourced by busybox sh, after both.sh.

say() { echo "GUEST-SAY $(uptime_s) $*"; }
figure() { echo "GUEST-FIGURE $*"; }
fail() {
  echo "GUEST-FAIL $*"
  sleep 2
  poweroff -f
  sleep 60
}

# check DESCRIPTION COMMAND...: the scenario fails if the command does.
check() {
  local what=$1
  shift
  "$@" >/tmp/check.out 2>&1 || fail "$what: $(tail -n 1 /tmp/check.out)"
}

# wait_for_order SECONDS WORD: dom0 says so with order().
wait_for_order() { wait_for "$1" order_is "$2" || fail "no order $2 within $1 s"; }
order_is() { [ "$(xenstore-read data/order)" = "$1" ]; }

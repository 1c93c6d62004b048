# What dom0's part of a scenario is written with. Sourced by busybox sh, after both.sh.
#
# The scenario's verdict is what it prints: LAB-PASS or LAB-FAIL with a reason, LAB-FIGURE for what
# was measured. Consoles of guests and the daemon's log appear on the same console, with a prefix.

say() { echo "LAB-SAY $(uptime_s) $*"; }
figure() { echo "LAB-FIGURE $*"; }
pass() { echo "LAB-PASS"; }
fail() {
  echo "LAB-FAIL $*"
  epilogue
  poweroff -f
  sleep 60
}

# check DESCRIPTION COMMAND...: the scenario fails if the command does.
check() {
  local what=$1
  shift
  "$@" >/tmp/check.out 2>&1 || fail "$what: $(tail -n 1 /tmp/check.out)"
}

# await SECONDS DESCRIPTION COMMAND...: the scenario fails if it does not come true in time.
await() {
  local limit=$1 what=$2
  shift 2
  wait_for "$limit" "$@" || fail "not within $limit s: $what"
}

# What a failure is understood from afterwards.
epilogue() {
  echo "LAB-EPILOGUE"
  xl list
  xenstore-ls -f /local/domain/0/backend/tmem
  free -m
  tail -n 5 /var/log/xen/xl-*.log 2>/dev/null
}

# follow PREFIX FILE: what is appended to the file appears on the console.
follow() {
  local prefix=$1 file=$2
  touch "$file"
  (tail -n +1 -F "$file" 2>/dev/null | while IFS= read -r line; do echo "$prefix| $line"; done) &
}

# ---- the daemon

# start_tmemd [OPTION...]: returns when it serves.
start_tmemd() {
  [ -e /var/log/tmemd.log ] || follow tmemd /var/log/tmemd.log
  tmemd --hypervisor xen "$@" >>/var/log/tmemd.log 2>&1 &
  tmemd_pid=$!
  await 20 "tmemd serves" tmemctl stats
}

stop_tmemd() {
  kill -TERM "$tmemd_pid"
  wait "$tmemd_pid" || fail "tmemd ended with status $?"
}

# ---- guests

# create_guest NAME [KEY=VALUE...]: keys are those of xl.cfg, over the defaults below. Its console
# is followed, and it runs /lab/guest.sh.
create_guest() {
  local name=$1
  shift
  cat >"/tmp/$name.cfg" <<END
name = "$name"
type = "pv"
kernel = "/lab/vmlinux"
ramdisk = "/lab/guest.cpio"
memory = 160
vcpus = 1
extra = "console=hvc0 loglevel=7 panic=-1 lab.name=$name"
on_poweroff = "destroy"
on_reboot = "restart"
on_crash = "destroy"
END
  for setting in "$@"; do echo "$setting" >>"/tmp/$name.cfg"; done
  [ -e "$(console_of "$name")" ] || follow "$name" "$(console_of "$name")"
  check "xl create $name" xl create -q "/tmp/$name.cfg"
  say "created guest $name"
}

console_of() { echo "/var/log/xen/console/guest-$1.log"; }
domid_of() { xl domid "$1"; }

# guest_said NAME TEXT: whether a line of its console has the text; fails if the guest gave up.
guest_said() {
  if grep -aq 'GUEST-FAIL' "$(console_of "$1")"; then
    fail "guest $1: $(grep -a 'GUEST-FAIL' "$(console_of "$1")" | tail -n 1 | tr -d '\r' | sed 's/.*GUEST-FAIL //')"
  fi
  grep -aqF -- "$2" "$(console_of "$1")"
}

# await_guest SECONDS NAME TEXT
await_guest() { await "$1" "guest $2 says \"$3\"" guest_said "$2" "$3"; }

# The last value that a guest printed with GUEST-FIGURE: guest_figure NAME KEY
guest_figure() {
  tr -d '\r' <"$(console_of "$1")" | sed -n "s/.*GUEST-FIGURE $2=//p" | tail -n 1
}

# order NAME WORD: what the guest's wait_for_order waits for.
order() { check "order $2 to $1" xenstore-write "/local/domain/$(domid_of "$1")/data/order" "$2"; }

guest_is_gone() { ! xl list "$1"; }

# A key of the guest's tmem device: backend_key NAME KEY, frontend_key NAME KEY
backend_key() { xenstore-read "/local/domain/0/backend/tmem/$(domid_of "$1")/0/$2"; }
frontend_key() { xenstore-read "/local/domain/$(domid_of "$1")/device/tmem/0/$2"; }

is_connected() {
  [ "$(backend_key "$1" state)" = 4 ] && [ "$(frontend_key "$1" state)" = 4 ]
}

# What dom0's part of a scenario is written with. Sourced by busybox sh, after both.sh.
#
# The scenario's verdict is what it prints: LAB-PASS or LAB-FAIL with a reason, LAB-FIGURE for what
# was measured. Consoles of guests and the daemon's log appear on the same console, with a prefix.

# Whether the guest's kernel is the one that watches everything, slowly.
is_debug() { grep -q 'lab.scenario=[^ ]*-debug' /proc/cmdline; }
! is_debug || patience=4

say() {
  set_now
  echo "LAB-SAY $now $*"
}
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
  "$@" >/tmp/check.out 2>&1 && return
  cat /tmp/check.out
  fail "$what: $(tail -n 1 /tmp/check.out)"
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

# follow PREFIX FILE: what is appended to the file appears on the console, and what a guest says
# wakes await_guest.
follow() {
  local prefix=$1 file=$2
  [ -p /run/news ] || mkfifo /run/news
  touch "$file"
  (
    exec 7<>/run/news
    tail -n +1 -F "$file" 2>/dev/null | while IFS= read -r line; do
      echo "$prefix| $line"
      case $line in *GUEST-* | *"Kernel panic"*) echo >&7 ;; esac
    done
  ) &
}

# await_news SECONDS: until a guest says something; it may have been a while ago.
await_news() { read -r -t "$1" _ <>/run/news; }

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

# What the daemon counted for a guest since it appeared: daemon_counter NAME puts_stored
daemon_counter() {
  tmemctl --json show "$1" | tr -d ' \n' |
    sed -e 's/"pools":.*//' -e 's/.*"counters":{\([^}]*\)}.*/,\1,/' \
      -e "s/.*,\"$2\":\([0-9]*\),.*/\1/"
}

# has_served NAME PAGES: whether this daemon, since it started, put and got more pages than that.
has_served() {
  local puts gets
  puts=$(daemon_counter "$1" puts_stored) gets=$(daemon_counter "$1" gets_found)
  [ "$((${puts:-0} + ${gets:-0}))" -gt "$2" ]
}

# daemon_stored NAME KEY: of the guest's persistent pages, now (keys: pages, payload_bytes, ...)
daemon_stored() {
  tmemctl --json show "$1" | tr -d ' \n' |
    sed -e 's/"pools":.*//' -e 's/.*"stored":{.*"persistent":{\([^}]*\)}.*/,\1,/' \
      -e "s/.*,\"$2\":\([0-9]*\),.*/\1/"
}

# set_key NAME KEY NUMBER[M]: a guest's key in xenstore, and waits until it holds.
set_key() {
  local path
  path=/tool/tmemd/guest/$(domid_of "$1")/$2
  check "write $2" xenstore-write "$path" "$3"
  case $3 in
    *M) await 20 "$2=$3 of $1" has_setting "$1" "$2" $((${3%M} * 1048576)) ;;
    *) await 20 "$2=$3 of $1" has_setting "$1" "$2" "$3" ;;
  esac
  ! xenstore-exists "$path-error" || fail "$2: $(xenstore-read "$path-error")"
}
has_setting() {
  tmemctl --json show "$1" | tr -d ' \n' | sed 's/"pools":.*//' | grep -q "[{,]\"$2\":$3[,}]"
}

# share_of NAME KEY: what explain tells of its share in bytes, in MiB (keys: persistent_held,
# entitled, reserve, ...)
share_of() {
  local bytes
  bytes=$(tmemctl --json explain "$1" | tr -d ' \n' |
    sed -e 's/.*"share":{/,/' -e "s/.*,\"$2_bytes\":\([0-9]*\).*/\1/")
  echo $((bytes / 1048576))
}

# expect WHAT LEFT OPERATOR RIGHT: a comparison of numbers, as test knows them.
expect() {
  [ "$2" "$3" "$4" ] 2>/dev/null || fail "$1: $2, expected $3 $4"
}

# agree NAME GUEST-COUNTER DAEMON-COUNTER: both sides counted the same.
agree() {
  local theirs ours
  theirs=$(guest_figure "$1" "$2") ours=$(daemon_counter "$1" "$3")
  [ -n "$ours" ] && [ "$theirs" = "$ours" ] ||
    fail "guest $1 counted $2=$theirs, the daemon $3=$ours"
  figure "$3=$ours"
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
$(guest_cpus)
extra = "console=hvc0 loglevel=7 panic=-1 rootfstype=ramfs lab.name=$name"
on_poweroff = "destroy"
on_reboot = "restart"
on_crash = "destroy"
END
  for setting in "$@"; do echo "$setting" >>"/tmp/$name.cfg"; done
  [ -e "$(console_of "$name")" ] || follow "$name" "$(console_of "$name")"
  check "xl create $name" xl create -q "/tmp/$name.cfg"
  say "created guest $name"
}

# The first processor is dom0's own, if there are more.
guest_cpus() {
  [ "$(xl info | awk '/^nr_cpus/ { print $3 }')" -eq 1 ] || echo 'cpus = "all,^0"'
}

# make_disk NAME MIB: a sparse disk for a guest; prints the setting for create_guest. If the
# scenario has programs, the guest gets their disk too.
make_disk() {
  modprobe -a loop xen-blkback
  truncate -s "$2M" "/run/$1.disk"
  echo "disk = [ $(disk xvda w "/run/$1.disk")$(programs_disk) ]"
}

disk() { echo "'format=raw,vdev=$1,access=$2,script=block-lab,target=$3'"; }
programs_disk() { [ ! -e /lab/programs.squashfs ] || echo ", $(disk xvdb r /lab/programs.squashfs)"; }

console_of() { echo "/var/log/xen/console/guest-$1.log"; }
domid_of() { xl domid "$1"; }

# guest_said NAME TEXT: whether a line of its console has the text.
guest_said() { grep -aqF -- "$2" "$(console_of "$1")"; }
guest_said_or_failed() { guest_said "$1" "$2" || guest_failed "$1"; }
guest_failed() { grep -aqE 'GUEST-FAIL|Kernel panic' "$(console_of "$1")"; }

# await_guest SECONDS NAME TEXT: the scenario also fails if the guest gives up.
await_guest() {
  wait_by await_news "$1" guest_said_or_failed "$2" "$3" ||
    fail "not within $1 s: guest $2 says \"$3\""
  expect_no_failure "$2"
}

expect_no_failure() {
  guest_failed "$1" || return 0
  fail "guest $1: $(tr -d '\r' <"$(console_of "$1")" |
    sed -n -e 's/.*GUEST-FAIL //p' -e 's/.*Kernel panic/kernel panic/p' | tail -n 1)"
}

# await_end SECONDS NAME: the guest powers off by itself, content, and did not have to wait for us.
await_end() {
  await "$1" "guest $2 powers off" guest_is_gone "$2"
  expect_no_failure "$2"
  ! guest_said "$2" "timeout closing device" || fail "guest $2 waited for its backend to close"
}

# The last value that a guest printed with GUEST-FIGURE: guest_figure NAME KEY
guest_figure() {
  tr -d '\r' <"$(console_of "$1")" | sed -n "s/.*GUEST-FIGURE $2=//p" | tail -n 1
}

# order NAME WORD: what the guest's wait_for_order waits for.
order() { check "order $2 to $1" xenstore-write "/local/domain/$(domid_of "$1")/data/order" "$2"; }

guest_is_gone() { ! xl list "$1"; }

# How often the guest's module connected, as it says itself.
connections_of() { grep -ac 'connected, [0-9]* queues' "$(console_of "$1")"; }

# A key of the guest's tmem device: backend_key NAME KEY, frontend_key NAME KEY
backend_key() { xenstore-read "/local/domain/0/backend/tmem/$(domid_of "$1")/0/$2"; }
frontend_key() { xenstore-read "/local/domain/$(domid_of "$1")/device/tmem/0/$2"; }

is_connected() {
  [ "$(backend_key "$1" state)" = 4 ] && [ "$(frontend_key "$1" state)" = 4 ]
}
